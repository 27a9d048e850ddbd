"""The scores of all answers: one row per labelled object, and the metrics of every group.

A group is a row of a table (usually a set), a variant one of its columns (a kind of prompt, an option).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xpose.evaluation.matching import boxes_of
from xpose.evaluation.metrics.average_precision import AveragePrecision
from xpose.evaluation.metrics.confidence import FalseAlarms
from xpose.evaluation.metrics.points import Metric, PointRules, average
from xpose.evaluation.questions import Question, Task
from xpose.geometry import box_iou
from xpose.records import Record
from xpose.results import Poses

Key = tuple[str, str]  # group, variant
# Metrics that use all answers; the others use only as many as there are objects.
WHOLE = (AveragePrecision, FalseAlarms)
Metrics = Callable[[Key], Mapping[str, Metric]]
Further = Callable[[Record, Poses], Sequence[Mapping[str, float]]]
Modes = Callable[[Task, Question], Iterable[tuple[str, PointRules]]]


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """One labelled object and its assigned answer."""

    task: str  # the picture's key
    group: str
    variant: str
    category: str  # the object's
    number: int  # of the object in the question's truth
    names: tuple[str, ...]  # of every point that counts
    values: np.ndarray = field(compare=False)  # [k] its distance as a share of the object's size; infinite if missing
    hidden: frozenset[str]  # names of the points that are labelled but hidden
    size: float  # square root of the box's area, in pixels
    iou: float  # of the answer's box with the true one; 0 without an answer
    score: float | None  # of the answer, if there is one
    called: str | None = None  # the answer's category
    style: str | None = None  # of the picture, if the set states it
    further: Mapping[str, float] = field(default_factory=dict, compare=False)  # the protocol's own numbers

    @property
    def errors(self) -> dict[str, float]:
        """Distances as shares of the object's size by name."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    def share(self, threshold: float) -> float:
        """The share of its points within the threshold (edge included)."""
        return float((self.values <= threshold).mean())


class Scores:
    """Accumulates answers.

    Args:
        rules: which objects and points count, and which answer is assigned to an object.
        metrics: further metrics of a group.
        modes: for protocols that judge one answer by several rules: the variants and their rules.
        further: returns further numbers for the row of every object of a record.
    """

    def __init__(
        self,
        rules: PointRules | None = None,
        metrics: Metrics | None = None,
        modes: Modes | None = None,
        further: Further | None = None,
    ) -> None:
        self.rules, self._make, self._modes, self._further = rules or PointRules(), metrics, modes, further
        self.objects: list[ObjectScore] = []
        self.metrics: dict[Key, Mapping[str, Metric]] = {}
        self.pictures: Counter[Key] = Counter()
        self.unasked: Counter[str] = Counter()  # skipped questions

    def add(self, task: Task, question: Question, predicted: Poses) -> None:
        """Add the answer to one question."""
        modes = [(question.variant, self.rules)] if self._modes is None else self._modes(task, question)
        matched = predicted[: question.matched]
        for variant, rules in modes:
            key = (question.group, variant)
            self.pictures[key] += 1
            self.objects += self._scored(task, question, matched, variant, rules)
            if self._make is not None and key not in self.metrics:
                self.metrics[key] = self._make(key)
            for metric in self.metrics.get(key, {}).values():
                metric.update(question.truth, predicted if isinstance(metric, WHOLE) else matched)

    def _scored(
        self, task: Task, question: Question, predicted: Poses, variant: str, rules: PointRules
    ) -> Iterable[ObjectScore]:
        truth = question.truth
        corners = boxes_of(truth)
        further = self._further(truth, predicted) if self._further else ()
        for measured in rules.measure(truth, predicted):
            row, (_, _, width, height) = measured.row, measured.instance.box
            aligned, counted = measured.aligned, np.flatnonzero(measured.counted)
            iou = (
                0.0
                if row is None
                else float(box_iou(corners[measured.number], predicted.boxes[row].astype(np.float64)))
            )
            yield ObjectScore(
                task=task.key,
                group=question.group,
                variant=variant,
                category=measured.instance.category.name,
                number=measured.number,
                names=aligned.names if measured.counted.all() else tuple(aligned.names[k] for k in counted),
                values=measured.errors[counted],
                hidden=frozenset(aligned.names[k] for k in counted if aligned.visibility[k] == 1),
                size=math.sqrt(width * height),
                iou=iou,
                score=None if row is None else float(predicted.scores[row]),
                called=None if row is None else predicted.categories[row],
                style=task.record.style,
                further=further[measured.number] if further else {},
            )

    def of(self, group: str | None = None, variant: str | None = None) -> list[ObjectScore]:
        """The objects of a group and a variant; None takes all."""
        chosen = self.objects if group is None else [score for score in self.objects if score.group == group]
        return [score for score in chosen if variant is None or score.variant == variant]

    def numbers(self, group: str, variant: str = "") -> dict[str, float]:
        """The numbers of all metrics of a group and a variant."""
        metrics = self.metrics.get((group, variant), {})
        return {name: value for metric in metrics.values() for name, value in metric.compute().items()}

    def groups(self) -> list[str]:
        """The groups so far, in order of their names."""
        return sorted({group for group, _ in self.pictures})


def pck(objects: Sequence[ObjectScore], threshold: float) -> float:
    """The mean share over objects; NaN if none."""
    return mean(score.share(threshold) for score in objects)


def mean(values: Iterable[float]) -> float:
    """The mean without NaN values, summed exactly (independent of the order); NaN if empty."""
    return average(value for value in values if not math.isnan(value))
