"""The similarity of a region and its words, for right and for wrong words, on instance and keypoint level.

The papers print such a score without a formula. Ours (docs/evaluation.md) is the cosine between the embeddings of the
region and of the words, mapped to 0..1. For our networks these are the last layer's query of the answer that fits the
labelled box best and the prompt token that it is compared with. A single mean says little, so each object is also asked
for by a wrong class, and the table shows how well the two are separated.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import match
from xpose.evaluation.metrics.confidence import auroc
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.protocols import Cell, Findings, Table, percent, stated
from xpose.evaluation.questions import (
    AskedClass,
    Question,
    Settings,
    Task,
    ask,
    categories_of,
    find_examples,
    key_of,
    known_categories,
    present,
    tasks_about,
)
from xpose.evaluation.scores import Scores, mean
from xpose.evaluation.sources import DetectorSource, in_records_words, open_detector, options_of
from xpose.records import Category, Record
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.inference import EncodedImage

RIGHT, WRONG = "right words", "wrong class"
LEVELS = ("instance", "keypoint")


class Likeness:
    """The similarities of the answers that fit labelled boxes best, by level."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {level: [] for level in LEVELS}

    def update(self, truth: Record, found: Poses) -> None:
        """Add one picture."""
        for instance, row in zip(truth.instances, match(truth, found, any_category=True), strict=True):
            if instance.iscrowd or row is None:
                continue
            points = found.keypoint_scores[row]
            self.values["instance"].append(float(found.scores[row]))
            self.values["keypoint"] += points[np.isfinite(points)].tolist()

    def compute(self) -> dict[str, float]:
        """The means."""
        return {level: mean(values) for level, values in self.values.items()}


class SimilaritySource(DetectorSource):
    """A detector whose answers have similarities in place of scores, mapped from -1..1 to 0..1."""

    together = False

    def _one(self, image: EncodedImage, question: Question, settings: Settings) -> Poses:
        options = options_of(settings, question.most).changed(threshold=0.0, rivals=())
        found = self.detector.similarity(image, question.prompts(), options=options)
        poses = found.poses
        points = np.full(poses.keypoint_scores.shape, np.nan)
        points[:, : found.keypoints.shape[1]] = found.keypoints
        objects, points = (np.clip((cosine + 1) / 2, 0, 1) for cosine in (found.objects, points))
        alike = replace(poses, scores=objects, keypoint_scores=points)
        return in_records_words(alike, question, settings)


def open_similarity(weights: str | None = None, **options: Any) -> SimilaritySource:
    """A detector as a source of similarities; options as for `open_detector`."""
    source = open_detector(weights, **options)
    return SimilaritySource(source.detector, source.batch)


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    by_name: dict[str, Category] = {}
    for categories in known_categories(data.records()).values():
        by_name = categories | by_name  # of one name the first
    known = [by_name[name] for name in sorted(by_name)]
    shots = find_examples(data, settings)

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            asked = ask(record, category, settings, shots)
            if asked is None:
                continue
            yield Question((asked,), truth, count, record.source, RIGHT)
            here = {shown.name for shown in categories_of(record)}
            if others := [other for other in known if other.name not in here and other.keypoints]:
                other = random.Random(f"{settings.seed}/{key_of(record)}/{category.name}").choice(others)
                yield Question((AskedClass.of(other),), truth, count, record.source, WRONG)

    return tasks_about(data, settings, questions)


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    rows: list[Sequence[Cell]] = []
    pooled: dict[tuple[str, str], list[float]] = {(level, kind): [] for level in LEVELS for kind in (RIGHT, WRONG)}
    for group in scores.groups():
        lists = {key: _values(scores, group, *key) for key in pooled}
        for key, numbers in lists.items():
            pooled[key] += numbers
        rows.append((group, *map(percent, _numbers(lists).values())))
    values = _numbers(pooled)
    rows.append(("all", *map(percent, values.values())))
    columns = [f"{level}: {what}" for level in LEVELS for what in (RIGHT, WRONG, "AUROC")]
    note = (
        "Similarity is (1 + cosine) / 2 in percent; AUROC says how often a right pair is more alike than a wrong one."
    )
    return Findings(values, (Table("Similarity of regions and words", ("set", *columns), rows, (note,)),))


def _values(scores: Scores, group: str, level: str, variant: str) -> list[float]:
    metric = scores.metrics.get((group, variant), {}).get("likeness")
    return metric.values[level] if isinstance(metric, Likeness) else []


def _numbers(lists: dict[tuple[str, str], list[float]]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for level in LEVELS:
        right, wrong = lists[level, RIGHT], lists[level, WRONG]
        numbers |= {f"{level}/{RIGHT}": mean(right), f"{level}/{WRONG}": mean(wrong)}
        numbers[f"{level}/AUROC"] = auroc(np.array(right + wrong), np.arange(len(right) + len(wrong)) < len(right))
    return numbers


PROTOCOL = stated(
    "similarity",
    thresholds=(),
    tasks=_tasks,
    scores=lambda data, settings: Scores(PointRules(any_category=True), lambda key: {"likeness": Likeness()}),
    conclude=_conclude,
    open=open_similarity,
)
