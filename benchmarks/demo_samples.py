"""Draw the pictures that the web demo offers to try, with their points: python benchmarks/demo_samples.py.

They are drawn by `xpose.data.synthetic`, so they cost no download and nobody's rights, and the points are exact. The
same seeds give the same pictures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from xpose.data.schema import VISIBLE
from xpose.data.synthetic import generate

FOLDER = Path(__file__).parents[1] / "src" / "xpose" / "demo" / "samples"
DRAWN, KEPT = (640, 480), (480, 360)
# name -> kind, seed, number of objects, words to try
SAMPLES = {
    "two-people": ("person", 1035, 2, "person"),
    "a-dog": ("quadruped", 1038, 1, "dog"),
    "a-fish": ("fish", 1006, 1, "fish"),
    "three-fish": ("fish", 1034, 3, "fish"),
    "two-fish": ("fish", 1015, 3, "fish"),
}


def main() -> None:
    """Write the pictures and `samples.json`."""
    rows: list[dict[str, Any]] = []
    scale = KEPT[0] / DRAWN[0]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (kind, seed, objects, words) in SAMPLES.items():
        ((pixels, record),) = generate(seed, 1, DRAWN, kinds=[kind], objects=(objects, objects))
        file = f"{name}.jpg"
        Image.fromarray(pixels).resize(KEPT, Image.Resampling.LANCZOS).save(FOLDER / file, quality=82)
        first = record.instances[0]
        points = {
            point: [round((x + 0.5) * scale, 1), round((y + 0.5) * scale, 1), v == VISIBLE]
            for point, (x, y, v) in first.keypoints.items()
        }
        rows.append({"file": file, "words": words, "points": points})
        print(f"{file}: {len(record.instances)} objects, {(FOLDER / file).stat().st_size / 1e3:.0f} kB")
    (FOLDER / "samples.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
