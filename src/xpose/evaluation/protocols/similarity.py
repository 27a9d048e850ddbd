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
from xpose.evaluation.protocols.base import Findings, Protocol
from xpose.evaluation.protocols.making_questions import (
    ask,
    categories_of,
    find_examples,
    known_categories,
    present,
    tasks_about,
)
from xpose.evaluation.questions import AskedClass, Question, Task, key_of
from xpose.evaluation.scores import Scores, mean
from xpose.evaluation.settings import Settings
from xpose.evaluation.sources import DetectorSource, in_records_words, open_detector, options_of, prompts_of
from xpose.evaluation.tables import Table, percent
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
        found = self.detector.similarity(image, prompts_of(question), options=options)
        poses = found.poses
        points = np.full(poses.keypoint_scores.shape, np.nan)
        points[:, : found.keypoints.shape[1]] = found.keypoints
        alike = replace(poses, scores=_share(found.objects), keypoint_scores=_share(points))
        return in_records_words(alike, question, settings)


def _share(cosine: np.ndarray) -> np.ndarray:
    return np.clip((cosine + 1) / 2, 0, 1)


def open_similarity(weights: str | None = None, **options: Any) -> SimilaritySource:
    """A detector as a source of similarities; options as for `open_detector`."""
    source = open_detector(weights, **options)
    return SimilaritySource(source.detector, source.batch)


def wrong_class(record: Record, category: Category, known: Sequence[Category], seed: int) -> Category | None:
    """Another class than those in the picture, drawn by the seed and the picture's name; None if there is none."""
    here = {one.name for one in categories_of(record)}
    others = [one for one in known if one.name not in here and one.keypoints]
    if not others:
        return None
    return random.Random(f"{seed}/{key_of(record)}/{category.name}").choice(others)


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
            other = wrong_class(record, category, known, settings.seed)
            if other is not None:
                yield Question((AskedClass.of(other),), truth, count, record.source, WRONG)

    return tasks_about(data, settings, questions)


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    rows, values = [], {}
    pooled: dict[tuple[str, str], list[float]] = {(level, kind): [] for level in LEVELS for kind in (RIGHT, WRONG)}
    for group in scores.groups():
        lists = {key: _values(scores, group, *key) for key in pooled}
        for key, numbers in lists.items():
            pooled[key] += numbers
        rows.append((group, *_cells(lists)))
    rows.append(("all", *_cells(pooled)))
    for level in LEVELS:
        right, wrong = pooled[level, RIGHT], pooled[level, WRONG]
        values[f"{level}/{RIGHT}"], values[f"{level}/{WRONG}"] = mean(right), mean(wrong)
        values[f"{level}/AUROC"] = _parted(right, wrong)
    columns = [f"{level}: {what}" for level in LEVELS for what in (RIGHT, WRONG, "AUROC")]
    note = (
        "Similarity is (1 + cosine) / 2 in percent; AUROC says how often a right pair is more alike than a wrong one."
    )
    return Findings(values, (Table("Similarity of regions and words", ("set", *columns), tuple(rows), (note,)),))


def _values(scores: Scores, group: str, level: str, variant: str) -> list[float]:
    metric = scores.metrics.get((group, variant), {}).get("likeness")
    return metric.values[level] if isinstance(metric, Likeness) else []


def _cells(lists: dict[tuple[str, str], list[float]]) -> list[float | None]:
    cells: list[float | None] = []
    for level in LEVELS:
        right, wrong = lists[level, RIGHT], lists[level, WRONG]
        cells += [percent(mean(right)), percent(mean(wrong)), percent(_parted(right, wrong))]
    return cells


def _parted(right: list[float], wrong: list[float]) -> float:
    return auroc(np.array(right + wrong), np.arange(len(right) + len(wrong)) < len(right))


PROTOCOL = Protocol(
    name="similarity",
    title="similarity of regions and words, instance and keypoint level, right words against wrong ones",
    source="ECCV paper, table 7, which gives no formula; ours is in docs/evaluation.md",
    data="every set under the folder",
    boxes="of as many answers as there are objects the one whose box fits the labelled box best; CLIP gets the labels",
    prompts="the category's name and its set's keypoint names; for the wrong class another category of the data that "
    "the picture does not show, drawn by the seed",
    pck="not measured",
    metrics=("mean similarity", "AUROC of right against wrong"),
    headline="instance/AUROC",
    thresholds=(),
    tasks=_tasks,
    scores=lambda data, settings: Scores(PointRules(any_category=True), lambda key: {"likeness": Likeness()}),
    conclude=_conclude,
    open=open_similarity,
)
