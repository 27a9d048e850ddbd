"""Compare words prompted together or one at a time: `python benchmarks/together.py --data DIR`.

    python benchmarks/together.py --data DIR --only animal_pose --only livestock --words person,dog,cat,horse

Uses up to `--limit` pictures of each validation split (drawn with seed 0) and the shipped thresholds. Three ways to
prompt:

    alone      each word by itself, all answers combined
    likeliest  all words together, a place goes to the likeliest word before thresholds are applied
    margin     all words together, as in `Detector.detect`: a place goes to the word farthest above its threshold

With `--narrower` the objects of each kind are prompted alone, by the usual word ("dog") and by a narrower one that no
set uses ("puppy"), at the threshold for words unknown to the weights and at that of the rival with the same
meaning.

Counts for each way: objects found under their own word with a box overlap of half, answers on an object that is
something else or already has one, and answers on nothing labelled.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.progress import track

import xpose
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.questions import Task
from xpose.geometry import pairwise_iou
from xpose.inference import Detector
from xpose.inference.postprocess import thresholds_for
from xpose.results import Poses

SAME = {"cattle": "cow"}  # words with the same meaning in the sets
NARROWER = {"dog": "puppy", "cat": "kitten", "horse": "pony", "cow": "calf", "sheep": "lamb", "bird": "hen"}
COLUMNS = ("objects", "found", "wrong name or twice", "nothing there")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the sets")
    parser.add_argument("--only", action="append", help="a set; left out: five of shared kinds")
    parser.add_argument("--weights", help="others than those that come with xpose")
    parser.add_argument("--words", default="person,dog,cat,sheep,horse,cow,bird")
    parser.add_argument("--limit", type=int, default=80, help="pictures a set")
    parser.add_argument("--narrower", action="store_true", help="puppies instead of dogs; see above")
    given = parser.parse_args()
    detector, words = xpose.load(given.weights), given.words.split(",")
    ways = narrower if given.narrower else together
    print(f"{'set':<16} {'asked':<10}" + "".join(f"{column:>21}" for column in COLUMNS))
    for name in given.only or ["animal_pose", "livestock", "coco_person", "lspet", "cub_birds"]:
        for way, counts in measured(detector, given.data, name, words, given.limit, ways).items():
            print(f"{name:<16} {way:<10}" + "".join(f"{counts[column]:>21}" for column in COLUMNS))


Named = list[tuple[str, np.ndarray]]  # words with their boxes
Ways = dict[str, tuple[Named, Named]]  # by way: labelled objects, and detected ones


def measured(
    detector: Detector, data: str, name: str, words: list[str], limit: int, ways: Callable[..., Ways]
) -> dict[str, Counter[str]]:
    """Counts of one set, by way of prompting."""
    records = list(EvaluationData.at([data], "val", [name]).records())
    drawn = np.random.default_rng(0).permutation(len(records))[:limit]
    counts: dict[str, Counter[str]] = {}
    for number in track(drawn, name, transient=True):
        record, place = records[number]
        encoded = detector.encode_image(Task(name, record, place, ()).pixels())
        named = [(SAME.get(one.category.name, one.category.name), one.box) for one in record.instances if one.box]
        for way, (real, found) in ways(
            detector, encoded, [(word, np.array(box)) for word, box in named], words
        ).items():
            _count(counts.setdefault(way, Counter()), real, found)
    return counts


def together(detector: Detector, encoded: Any, real: Named, words: list[str]) -> Ways:
    """All words together, or one by one."""
    return {
        "alone": (real, [pair for word in words for pair in _pairs(detector.detect(encoded, word))]),
        "likeliest": (real, _likeliest(detector, encoded, words)),
        "margin": (real, _pairs(detector.detect(encoded, words))),
    }


def narrower(detector: Detector, encoded: Any, real: Named, words: list[str]) -> Ways:
    """Each kind present, by its own word and by a narrower one."""
    unknown = detector.calibration.threshold("")
    ways: Ways = {way: ([], []) for way in ("usual", "unknown", "narrower")}
    for word in {name for name, _ in real} & set(words) & set(NARROWER):
        less = NARROWER[word]
        answers = {
            "usual": detector.detect(encoded, word),
            "unknown": detector.detect(encoded, less, threshold={less: unknown}),
            "narrower": detector.detect(encoded, less),
        }
        for way, poses in answers.items():
            ways[way][0].extend(pair for pair in real if pair[0] == word)
            ways[way][1].extend((word, box) for box in poses.boxes)
    return ways


def _pairs(poses: Poses) -> Named:
    return list(zip(poses.categories, poses.boxes, strict=True))


def _likeliest(detector: Detector, encoded: Any, words: list[str]) -> Named:
    stored = detector.calibration
    limits = dict(zip(words, thresholds_for(words, None, stored.thresholds), strict=True))
    plain = detector.calibrated(dataclasses.replace(stored, thresholds={}))  # compare by scores only
    everything = plain.detect(encoded, words, threshold=0.0)
    passed = zip(everything.categories, everything.scores, everything.boxes, strict=True)
    return [(word, box) for word, score, box in passed if score > limits[word]]


def _count(counts: Counter[str], real: Named, found: Named) -> None:
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
