"""Detect objects in photographs by words, with boxes and named points: `make demo`.

The photographs are in scikit-image and matplotlib, the weights in xpose; nothing is downloaded.
"""

import argparse
import sys
import time
from pathlib import Path

from PIL import Image

import xpose

WORDS = "face"  # what to find; its 68 points are from the vocabulary
HEIGHT = 480  # of the photographs when drawn, in pixels


def photographs() -> dict[str, Image.Image]:
    """Sample photographs of scikit-image and matplotlib."""
    try:
        from matplotlib import cbook
        from skimage import data
    except ImportError as error:
        sys.exit(f'The photographs come with {error.name}, which is missing: pip install "xpose[examples]"')
    found = {
        "astronaut": Image.fromarray(data.astronaut()),
        "admiral": Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB"),
    }
    return {name: one.resize((round(one.width * HEIGHT / one.height), HEIGHT)) for name, one in found.items()}


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """All pictures in one row."""
    whole = Image.new("RGB", (sum(one.width for one in pictures), max(one.height for one in pictures)), "white")
    left = 0
    for one in pictures:
        whole.paste(one, (left, 0))
        left += one.width
    return whole


def main() -> None:
    """Detect, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/quickstart.png"), help="where the drawing goes")
    parser.add_argument("--weights", help="others than those that come with xpose")
    given = parser.parse_args()

    start = time.perf_counter()
    detector = xpose.load(given.weights)
    print(f"{detector.name}, loaded in {time.perf_counter() - start:.1f} s")
    drawings = []
    for name, picture in photographs().items():
        start = time.perf_counter()
        poses = detector.detect(picture, WORDS)
        milliseconds = 1000 * (time.perf_counter() - start)
        print(f"{name}, asked for {WORDS}: {len(poses)} found in {milliseconds:.0f} ms")
        for pose in poses:
            seen = {point: at for point, at in pose.points.items() if at.v}
            shown = ", ".join(f"{point} ({at.x:.0f}, {at.y:.0f})" for point, at in list(seen.items())[:3])
            print(f"  {pose.category}, score {pose.score:.2f}, {len(seen)} points: {shown}, ...")
        drawings.append(poses.draw(picture))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    side_by_side(drawings).save(given.out)
    print(f"Wrote {given.out}")


if __name__ == "__main__":
    main()
