"""What scores are worth: do they tell right from wrong (AUROC), and do they mean what they say (calibration error)?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError
from xpose.evaluation.matching import IGNORED, Match, align, check_match, judge, match
from xpose.evaluation.metrics.expected_errors import ranks
from xpose.evaluation.metrics.points import PointRules, check_choice
from xpose.records import HIDDEN, NOT_LABELLED, VISIBLE, Record
from xpose.results import Poses

PointLabel = Literal["visible", "hidden", "absent"]
LABEL_VALUES: dict[str, int] = {"visible": VISIBLE, "hidden": HIDDEN, "absent": NOT_LABELLED}
BINS = 15

Judged = Callable[[Record, Poses], tuple[np.ndarray, np.ndarray]]


class Confidence:
    """AUROC and expected calibration error of scores of which each turns out right or wrong.

    `compute()` gives "AUROC", the chance that a right one has the higher score than a wrong one (ties count half);
    "ECE", the mean distance between score and share of right ones over `bins` equal ranges of scores, weighted by how
    many fall into each; "right" and "wrong", how many there were. The constructors `of_visibility`, `of_places` and
    `of_objects` say what is scored.

    Args:
        judged: the scores [n] of a picture and whether each came true [n].
        bins: ranges of scores for the calibration error.
    """

    def __init__(self, judged: Judged, *, bins: int = BINS) -> None:
        if type(bins) is not int or bins < 1:
            raise ConfigError(f"bins is {bins!r}. It must be a whole number of at least 1, such as {BINS}.")
        self._judged, self.bins = judged, bins
        self._scores: list[np.ndarray] = []
        self._right: list[np.ndarray] = []

    @classmethod
    def of_visibility(
        cls,
        right: Sequence[PointLabel] = ("visible",),
        wrong: Sequence[PointLabel] = ("absent",),
        *,
        match: Match = "best box",
        bins: int = BINS,
    ) -> Confidence:
        """Points' confidences: right where the point's label is one of `right`, wrong where it is one of `wrong`.

        Labels of neither kind do not count, nor do objects without any label. "absent" is a keypoint that the set
        labels on such objects but not on this one.
        """
        check_match(match)
        for label in (*right, *wrong):
            check_choice("which labels count", label, get_args(PointLabel))
        yes, no = ([LABEL_VALUES[label] for label in labels] for labels in (right, wrong))
        if not yes or not no or set(yes) & set(no):
            raise ConfigError(
                f"The labels {list(right)} count as right and {list(wrong)} as wrong. Each side needs at least one, "
                "and no label can be on both."
            )

        def judged(truth: Record, found: Poses) -> tuple[np.ndarray, np.ndarray]:
            scores, labels = confidences_and_labels(truth, found, match)
            keep = np.isin(labels, yes + no)
            return scores[keep], np.isin(labels[keep], yes)

        return cls(judged, bins=bins)

    @classmethod
    def of_places(cls, threshold: float = 0.2, *, rules: PointRules | None = None, bins: int = BINS) -> Confidence:
        """Points' confidences: right where a labelled point lies within `threshold` of its place, as PCK counts."""
        rules = rules or PointRules()

        def judged(truth: Record, found: Poses) -> tuple[np.ndarray, np.ndarray]:
            scores, right = [np.zeros(0)], [np.zeros(0, dtype=bool)]
            for one in rules.measure(truth, found):
                keep = one.counted & np.isfinite(one.aligned.scores)
                scores.append(one.aligned.scores[keep])
                right.append(one.errors[keep] <= threshold)
            return np.concatenate(scores), np.concatenate(right)

        return cls(judged, bins=bins)

    @classmethod
    def of_objects(cls, least_iou: float = 0.5, *, bins: int = BINS) -> Confidence:
        """Objects' scores: right where the pose is an object (see `matching.judge`)."""

        def judged(truth: Record, found: Poses) -> tuple[np.ndarray, np.ndarray]:
            verdicts, _ = judge(truth, found, least_iou)
            keep = verdicts != IGNORED
            return found.scores[keep].astype(np.float64), verdicts[keep] > 0

        return cls(judged, bins=bins)

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        scores, right = self._judged(truth, found)
        self._scores.append(np.asarray(scores, dtype=np.float64))
        self._right.append(np.asarray(right, dtype=bool))

    def compute(self) -> dict[str, float]:
        """The numbers so far."""
        scores = np.concatenate([np.zeros(0), *self._scores])
        right = np.concatenate([np.zeros(0, dtype=bool), *self._right])
        return {
            "AUROC": auroc(scores, right),
            "ECE": calibration_error(scores, right, self.bins),
            "right": float(right.sum()),
            "wrong": float((~right).sum()),
        }


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    """The chance that a right one [n] scores higher than a wrong one, ties counting half; NaN without both kinds."""
    many, few = int(right.sum()), int((~right).sum())
    if not many or not few:
        return math.nan
    return float((ranks(scores)[right].sum() - many * (many + 1) / 2) / (many * few))


def calibration_error(scores: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error of scores [n] from 0 to 1; NaN of none."""
    if not len(scores):
        return math.nan
    place = np.clip(np.ceil(scores * bins).astype(int) - 1, 0, bins - 1)  # a score on an edge belongs below it
    said = np.bincount(place, scores, bins)
    came = np.bincount(place, right.astype(np.float64), bins)
    return float(np.abs(said - came).sum() / len(scores))


def confidences_and_labels(truth: Record, found: Poses, how: Match) -> tuple[np.ndarray, np.ndarray]:
    """Confidences and labels (2, 1, 0) of the points of matched poses, over all objects that have any label."""
    scores, labels = [np.zeros(0)], [np.zeros(0, dtype=int)]
    for instance, row in zip(truth.instances, match(truth, found, how), strict=True):
        if row is None or instance.iscrowd or not any(v for *_, v in instance.keypoints.values()):
            continue
        aligned = align(instance, found, row)
        keep = np.isfinite(aligned.scores)
        scores.append(aligned.scores[keep])
        labels.append(aligned.visibility[keep])
    return np.concatenate(scores), np.concatenate(labels)
