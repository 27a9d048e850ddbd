"""The quality of scores: AUROC, calibration error, and false alarms for classes that are not in the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError
from xpose.evaluation.matching import IGNORED, align, check_choice, judge, match, same_category
from xpose.evaluation.metrics.distances import ranks
from xpose.evaluation.metrics.points import PointRules
from xpose.records import HIDDEN, NOT_LABELLED, VISIBLE, Record
from xpose.results import Poses

PointLabel = Literal["visible", "hidden", "absent"]
LABEL_VALUES: dict[str, int] = {"visible": VISIBLE, "hidden": HIDDEN, "absent": NOT_LABELLED}
BINS = 15

Judged = Callable[[Record, Poses], tuple[np.ndarray, np.ndarray]]
Classes = Sequence[str] | Callable[[Record], Sequence[str]]


class Confidence:
    """AUROC and expected calibration error of scores with right or wrong outcomes.

    The constructors `of_visibility`, `of_places` and `of_objects` define what is scored: `judged` returns the scores
    [n] of a picture and whether each was right [n].
    """

    def __init__(self, judged: Judged) -> None:
        self._judged = judged
        self._pictures: list[tuple[np.ndarray, np.ndarray]] = []

    @classmethod
    def of_visibility(
        cls, right: Sequence[PointLabel] = ("visible",), wrong: Sequence[PointLabel] = ("absent",)
    ) -> Confidence:
        """Points' confidences: right if the point's label is in `right`, wrong if it is in `wrong`.

        Other labels do not count, nor do objects without any label. An "absent" keypoint is labelled on other objects
        of the category, but not on this one.
        """
        for label in (*right, *wrong):
            check_choice("label", label, get_args(PointLabel))
        yes, no = ([LABEL_VALUES[label] for label in labels] for labels in (right, wrong))
        if not yes or not no or set(yes) & set(no):
            raise ConfigError(f"{list(right)} count as right and {list(wrong)} as wrong. Each needs labels of its own.")

        def judged(truth: Record, predicted: Poses) -> tuple[np.ndarray, np.ndarray]:
            scores, labels = confidences_and_labels(truth, predicted)
            keep = np.isin(labels, yes + no)
            return scores[keep], np.isin(labels[keep], yes)

        return cls(judged)

    @classmethod
    def of_places(cls, threshold: float = 0.2, *, rules: PointRules | None = None) -> Confidence:
        """Points' confidences: right if a point is within `threshold` of its label, as PCK counts."""
        rules = rules or PointRules()

        def judged(truth: Record, predicted: Poses) -> tuple[np.ndarray, np.ndarray]:
            scores, right = [np.zeros(0)], [np.zeros(0, dtype=bool)]
            for measured in rules.measure(truth, predicted):
                keep = measured.counted & np.isfinite(measured.aligned.scores)
                scores.append(measured.aligned.scores[keep])
                right.append(measured.errors[keep] <= threshold)
            return np.concatenate(scores), np.concatenate(right)

        return cls(judged)

    @classmethod
    def of_objects(cls) -> Confidence:
        """Objects' scores: right if the pose is an object (see `matching.judge`)."""

        def judged(truth: Record, predicted: Poses) -> tuple[np.ndarray, np.ndarray]:
            verdicts, _ = judge(truth, predicted)
            keep = verdicts != IGNORED
            return predicted.scores[keep].astype(np.float64), verdicts[keep] > 0

        return cls(judged)

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        self._pictures.append(self._judged(truth, predicted))

    def compute(self) -> dict[str, float]:
        """Return the numbers so far."""
        scores, right = map(np.concatenate, zip((np.zeros(0), np.zeros(0, dtype=bool)), *self._pictures, strict=True))
        counts = {"right": float(right.sum()), "wrong": float((~right).sum())}
        return {"AUROC": auroc(scores, right), "ECE": calibration_error(scores, right), **counts}


class FalseAlarms:
    """Poses of absent classes per picture, and the recall of present ones, above a threshold.

    Only meaningful if the set labels every object of the queried classes: a person without a label in a set of animals
    would count as a false alarm. `asked` contains the classes for all pictures, or is a function of the record.
    """

    def __init__(self, asked: Classes, threshold: float = 0.1) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold is {threshold!r}. It must be a number from 0 to 1.")
        if isinstance(asked, str):
            raise ConfigError(f'asked is the text "{asked}". It must be a list of classes: ["{asked}"].')
        self._asked, self.threshold = asked, threshold
        self._pictures = self._alarms = self._absent = self._answered = self._objects = self._missed = 0

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        poses = predicted.filter(threshold=self.threshold)
        asked = self._asked(truth) if callable(self._asked) else self._asked
        present = [instance.category.name for instance in truth.instances]
        absent = [name for name in asked if not any(same_category(name, other) for other in present)]
        self._pictures += 1
        self._absent += len(absent)
        alarms = [sum(same_category(name, category) for category in poses.categories) for name in absent]
        self._alarms += sum(alarms)
        self._answered += sum(map(bool, alarms))
        _, missed = judge(truth, poses)
        self._objects += sum(not instance.iscrowd for instance in truth.instances)
        self._missed += int(missed.sum())

    def compute(self) -> dict[str, float]:
        """Return the numbers so far."""
        return {
            "false alarms": self._alarms / self._pictures if self._pictures else math.nan,
            "false alarms/asked": self._answered / self._absent if self._absent else math.nan,
            "recall": 1 - self._missed / self._objects if self._objects else math.nan,
            "absent": float(self._absent),
            "objects": float(self._objects),
            "pictures": float(self._pictures),
        }


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    """The chance that a right score exceeds a wrong one, ties counting half; NaN without both kinds."""
    many, few = int(right.sum()), int((~right).sum())
    if not many or not few:
        return math.nan
    return float((ranks(scores)[right].sum() - many * (many + 1) / 2) / (many * few))


def calibration_error(scores: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error of scores [n] from 0 to 1; NaN if none."""
    if not len(scores):
        return math.nan
    place = np.clip(np.ceil(scores * bins).astype(int) - 1, 0, bins - 1)  # an edge belongs to the lower bin
    sums, hits = np.bincount(place, scores, bins), np.bincount(place, right.astype(np.float64), bins)
    return float(np.abs(sums - hits).sum() / len(scores))


def confidences_and_labels(truth: Record, predicted: Poses) -> tuple[np.ndarray, np.ndarray]:
    """Confidences and labels (2, 1, 0) of the points of matched poses, for all objects with any label."""
    scores, labels = [np.zeros(0)], [np.zeros(0, dtype=int)]
    for instance, row in zip(truth.instances, match(truth, predicted), strict=True):
        if row is None or instance.iscrowd or not any(v for *_, v in instance.keypoints.values()):
            continue
        aligned = align(instance, predicted, row)
        keep = np.isfinite(aligned.scores)
        scores.append(aligned.scores[keep])
        labels.append(aligned.visibility[keep])
    return np.concatenate(scores), np.concatenate(labels)
