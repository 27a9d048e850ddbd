"""Several objects asked together or one at a time: `python benchmarks/together.py --data DIR`.

    python benchmarks/together.py --data DIR --only animal_pose --only livestock --words person,dog,cat,horse

Of each set up to `--limit` pictures of the validation split (drawn by seed 0), at the shipped thresholds. Three ways to
ask:

    alone      each word by itself, all answers put together
    likeliest  all words together, a place goes to the likeliest, thresholds come after that
    margin     all words together, as `Detector.detect` does it: a place goes to the word farthest above its threshold

and for each of them: objects whose own word answers with a box that overlaps theirs by half, answers at an object that
is something else or has one already, and answers at nothing labelled.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from typing import Any

import numpy as np
from rich.progress import track

import xpose
from xpose.evaluation.data import Data
from xpose.evaluation.questions import Task
from xpose.geometry import pairwise_iou
from xpose.inference import Detector
from xpose.inference.postprocess import thresholds_for
from xpose.poses import Poses

SAME = {"cattle": "cow"}  # what a word means in the sets
COLUMNS = ("objects", "found", "wrong name or twice", "nothing there")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the sets")
    parser.add_argument("--only", action="append", help="a set; left out: five of shared kinds")
    parser.add_argument("--weights", help="others than those that come with xpose")
    parser.add_argument("--words", default="person,dog,cat,sheep,horse,cow,bird")
    parser.add_argument("--limit", type=int, default=80, help="pictures a set")
    given = parser.parse_args()
    detector, words = xpose.load(given.weights), given.words.split(",")
    print(f"{'set':<16} {'asked':<10}" + "".join(f"{column:>21}" for column in COLUMNS))
    for name in given.only or ["animal_pose", "livestock", "coco_person", "lspet", "cub_birds"]:
        for way, counts in measured(detector, given.data, name, words, given.limit).items():
            print(f"{name:<16} {way:<10}" + "".join(f"{counts[column]:>21}" for column in COLUMNS))


def measured(detector: Detector, data: str, name: str, words: list[str], limit: int) -> dict[str, Counter[str]]:
    """Counts of one set, by the way of asking."""
    records = list(Data.at([data], "val", [name]).records())
    drawn = np.random.default_rng(0).permutation(len(records))[:limit]
    counts: dict[str, Counter[str]] = {"alone": Counter(), "likeliest": Counter(), "margin": Counter()}
    for number in track(drawn, name, transient=True):
        record, place = records[number]
        pixels = Task(name, record, place, ()).pixels()
        real = [
            (SAME.get(one.category.name, one.category.name), np.array(one.box)) for one in record.instances if one.box
        ]
        encoded = detector.encode_image(pixels)
        answers = {
            "alone": [pair for word in words for pair in _pairs(detector.detect(encoded, word))],
            "likeliest": _likeliest(detector, encoded, words),
            "margin": _pairs(detector.detect(encoded, words)),
        }
        for way, found in answers.items():
            _count(counts[way], real, found)
    return counts


def _pairs(poses: Poses) -> list[tuple[str, np.ndarray]]:
    return list(zip(poses.categories, poses.boxes, strict=True))


def _likeliest(detector: Detector, encoded: Any, words: list[str]) -> list[tuple[str, np.ndarray]]:
    usual = detector.model.config
    limits = dict(zip(words, thresholds_for(words, None, usual.thresholds), strict=True))
    detector.model.config = dataclasses.replace(usual, thresholds={})  # which leaves nothing to compare by but scores
    try:
        everything = detector.detect(encoded, words, threshold=0.0)
    finally:
        detector.model.config = usual
    passed = zip(everything.categories, everything.scores, everything.boxes, strict=True)
    return [(word, box) for word, score, box in passed if score > limits[word]]


def _count(counts: Counter[str], real: list[tuple[str, np.ndarray]], found: list[tuple[str, np.ndarray]]) -> None:
    counts["objects"] += len(real)
    if not found:
        return
    true = np.array([[x, y, x + width, y + height] for _, (x, y, width, height) in real]).reshape(-1, 4)
    overlap = pairwise_iou(true, np.array([box for _, box in found]))
    used: set[int] = set()
    for row, (name, _) in zip(overlap, real, strict=True):
        own = [n for n, (word, _) in enumerate(found) if word == name and row[n] >= 0.5 and n not in used]
        if own:
            used.add(max(own, key=lambda n: row[n]))
    counts["found"] += len(used)
    for n in set(range(len(found))) - used:
        there = len(real) and overlap[:, n].max() >= 0.5
        counts["wrong name or twice" if there else "nothing there"] += 1


if __name__ == "__main__":
    main()
