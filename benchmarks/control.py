"""A control test that fails for a lookup table or a network that ignores the picture or the words.

    python benchmarks/control.py WEIGHTS SET.json --pictures FOLDER --limit 100

Measures the share of labelled points found within 0.2 of the box's longer side (threshold 0, as many poses as the
picture holds, the one with the best box counts) in three cases:

* with the correct prompt;
* with the names in another order, but judged in the original one: weights that answer by position in the list, or
  ignore the words, lose nothing;
* with the picture replaced by another one of the set.

Weights that understand words and pictures lose most of the first figure in the other two. The last line prints
the losses; the exit code is 1 if either is below `--least`.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

import xpose
from xpose.geometry import pairwise_iou


def shown(poses: xpose.Poses, boxes: np.ndarray, points: list[np.ndarray]) -> tuple[int, int]:
    """The numbers of found and of labelled points."""
    hits = total = 0
    overlap = pairwise_iou(boxes, poses.boxes.astype(np.float64)) if len(poses) else None
    for row, labelled in enumerate(points):
        seen = labelled[:, 2] > 0
        total += int(seen.sum())
        if overlap is None:
            continue
        found = poses.xy[int(overlap[row].argmax())]
        reach = 0.2 * max(boxes[row, 2] - boxes[row, 0], boxes[row, 3] - boxes[row, 1])
        distance = np.linalg.norm(found - labelled[:, :2], axis=1)
        hits += int((distance[seen] <= reach).sum())
    return hits, total


def control(
    detector: xpose.Detector, content: dict[str, Any], folder: Path, limit: int, seed: int = 0
) -> dict[str, float]:
    """The three shares."""
    rng = random.Random(seed)
    categories = {c["id"]: c for c in content["categories"]}
    by_picture: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        if annotation.get("num_keypoints", 1) and not annotation.get("iscrowd"):
            by_picture.setdefault((annotation["image_id"], annotation["category_id"]), []).append(annotation)
    files = {i["id"]: folder / i["file_name"] for i in content["images"]}
    cases = rng.sample(sorted(by_picture), min(limit, len(by_picture)))
    sums = {"as asked": [0, 0], "names exchanged": [0, 0], "another picture": [0, 0]}
    for image, kind in cases:
        names = categories[kind]["keypoints"]
        rows = by_picture[image, kind]
        points = [np.asarray(a["keypoints"], float).reshape(-1, 3) for a in rows]
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in rows)], float)
        other = files[rng.choice([i for i in files if i != image] or [image])]
        asked, exchanged = (
            xpose.TextPrompt(categories[kind]["name"], keypoints=order) for order in (names, [*names[1:], names[0]])
        )
        for name, (path, prompt) in {
            "as asked": (files[image], asked),
            "names exchanged": (files[image], exchanged),
            "another picture": (other, asked),
        }.items():
            hits, total = shown(detector.detect(path, prompt, threshold=0.0, max_instances=len(rows)), boxes, points)
            sums[name][0] += hits
            sums[name][1] += total
    return {name: 100 * hits / max(1, total) for name, (hits, total) in sums.items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--least", type=float, default=30.0)
    options = parser.parse_args(arguments)
    content = json.loads(options.annotations.read_text(encoding="utf-8"))
    folder = options.pictures or options.annotations.parent / "images"
    shares = control(xpose.load(options.weights), content, folder, options.limit)
    for name, value in shares.items():
        print(f"{name:16} {value:5.1f}")
    losses = [shares["as asked"] - shares[name] for name in ("names exchanged", "another picture")]
    print("lost by exchanging names {:.1f}, by another picture {:.1f}".format(*losses))
    return int(min(losses) < options.least)


if __name__ == "__main__":
    raise SystemExit(main())
