"""Keypoints with and without known boxes: `python benchmarks/known_boxes.py DATA`.

    python benchmarks/known_boxes.py DATA --limit 12 --only coco_person --only lspet

Three ways to find the keypoints of labelled objects, with text prompts: free detection with as many poses as the
picture has objects, of which the one with the best box counts (as in the protocol `nano-real`); the labelled boxes in
the whole picture; and each labelled box in its own square region, 1.5 times as large. Prints PCK@0.2 and PCK@0.1 of
each set and the mean over sets, and the seconds of each way.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from rich.progress import track

import xpose
from xpose.evaluation import PCK
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import boxes_of
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.protocols import load_protocol
from xpose.evaluation.questions import Question, Settings
from xpose.evaluation.sources import in_records_words, options_of
from xpose.inference import Detector
from xpose.records import Record
from xpose.results import Poses

MARGIN = 1.5
THRESHOLDS = (0.2, 0.1)
SETTINGS = Settings(prompts="text")
Judged = Iterator[tuple[Record, Poses]]  # a record, and the poses that are compared with it


def main() -> None:
    """Detect in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders with the sets")
    parser.add_argument("--only", action="append", default=[], help="a set; left out: all")
    parser.add_argument("--limit", type=int, default=12, help="pictures of each set")
    parser.add_argument("--weights", help="others than those that come with xpose")
    given = parser.parse_args()
    detector = xpose.load(given.weights)
    ways: dict[str, Callable[[Detector, np.ndarray, Question], Judged]] = {
        "detected": detected,
        "known boxes": in_picture,
        "cropped": in_regions,
    }
    rules = {name: PointRules(match="best box" if name == "detected" else "given") for name in ways}
    metrics = {name: PCK(THRESHOLDS, rules=rules[name]) for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    tasks = load_protocol("nano-real").tasks(
        EvaluationData.at(given.data, only=given.only), replace(SETTINGS, limit=given.limit)
    )
    for task in track(list(tasks), "detecting", transient=True):
        pixels = task.pixels()
        for question in task.questions:
            for name, way in ways.items():
                start = time.perf_counter()
                for record, poses in way(detector, pixels, without_crowds(question)):
                    metrics[name].update(record, in_records_words(poses, question, SETTINGS))
                seconds[name] += time.perf_counter() - start
    table = {name: metric.compute() for name, metric in metrics.items()}
    sets = sorted(key.partition("/set/")[2] for key in table["detected"] if key.startswith("PCK@0.2/set/"))
    print(f"{'PCK@0.2 / PCK@0.1':24}", *(f"{name:>14}" for name in ways))
    for label, suffix in [(name, f"/set/{name}") for name in sets] + [(f"mean of {len(sets)} sets", "/mean/sets")]:
        cells = (
            "{:.1f} / {:.1f}".format(*(100 * table[name][f"PCK@{t:g}{suffix}"] for t in THRESHOLDS)) for name in ways
        )
        print(f"{label:24}", *(f"{cell:>14}" for cell in cells))
    print(f"{'seconds':24}", *(f"{seconds[name]:14.1f}" for name in ways))


def without_crowds(question: Question) -> Question:
    """The question about single objects only."""
    objects = tuple(instance for instance in question.truth.instances if not instance.iscrowd)
    return replace(question, truth=replace(question.truth, instances=objects))


def detected(detector: Detector, pixels: np.ndarray, question: Question) -> Judged:
    """As many poses as objects, at any place."""
    count = len(question.truth.instances)
    yield question.truth, detector.detect(pixels, question.prompts(), options=options_of(SETTINGS, count))


def in_picture(detector: Detector, pixels: np.ndarray, question: Question) -> Judged:
    """All labelled boxes in the whole picture."""
    yield question.truth, detector.detect(pixels, question.prompts(), boxes=boxes_of(question.truth))


def in_regions(detector: Detector, pixels: np.ndarray, question: Question) -> Judged:
    """Each labelled box in a square region of its own."""
    size = np.array(pixels.shape[1::-1])
    for instance, box in zip(question.truth.instances, boxes_of(question.truth), strict=True):
        centre, half = (box[:2] + box[2:]) / 2, MARGIN / 2 * (box[2:] - box[:2]).max()
        low, high = (centre - half).clip(0, size).round(), (centre + half).clip(0, size).round()
        poses = detector.detect(pixels, question.prompts(), boxes=[box], region=(*low, *(high - low)))
        yield replace(question.truth, instances=(instance,)), poses


if __name__ == "__main__":
    main()
