"""Metrics of actual use: how many objects are right in box and points, and how many answers are wrong.

Letters: N answers, M labelled objects.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xpose.evaluation.matching import align, columns_of, overlaps
from xpose.records import Record
from xpose.results import Poses

LEAST_IOU, WITHIN, LEAST_SHARE = 0.5, 0.2, 0.7
COUNTED = ("asked", "right", "shown", "boxed", "found")  # of a `Judgement`
_ROUNDING = 1e-9  # 7 of 10 points are 70 %


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on every object and every answer of a picture."""

    answer: np.ndarray  # [M] the row of an object's answer; -1 for none
    asked: np.ndarray  # [M] bool: objects judged by their points: not crowds, with a labelled point
    boxed: np.ndarray  # [M] bool: objects judged by their boxes: all except crowds
    right: np.ndarray  # [M] bool: box and points of one answer are right
    shown: np.ndarray  # [M] bool: right even if points called absent (not drawn) count as missed
    wrong: np.ndarray  # [N] bool: answers without an object (including second ones) outside crowds

    @property
    def found(self) -> np.ndarray:
        """[M] bool: objects with a found box, whatever the points."""
        return self.answer >= 0


def judge_answers(truth: Record, predicted: Poses) -> Judgement:
    """Judge the answers about one picture; `truth` holds all objects of the queried categories.

    An answer is *right* for an object of its category if the IoU of their boxes is at least `LEAST_IOU` and at least
    `LEAST_SHARE` of the object's labelled points (hidden too) are within `WITHIN` of the longer side of its box.
    Answers and objects are matched one to one in two rounds: the first considers only answers that are right for the
    object, the second matches the rest by their boxes alone. In each round, answers are processed in order of
    descending score, and each takes the free object with the highest box IoU. The remaining answers are wrong, unless
    at least half of their box is inside a crowd of their category.
    """
    crowd = np.array([instance.iscrowd for instance in truth.instances], dtype=bool)
    labelled = np.array([any(v for *_, v in instance.keypoints.values()) for instance in truth.instances], dtype=bool)
    overlap, inside = overlaps(truth, predicted)  # [N, M], [N]
    fits = (overlap >= LEAST_IOU) & ~crowd
    good, plain = np.zeros_like(fits), np.zeros_like(fits)
    for row, number in np.argwhere(fits & labelled):
        shares = _shares(truth, predicted, int(row), int(number))
        good[row, number], plain[row, number] = (share >= LEAST_SHARE - _ROUNDING for share in shares)
    answer = np.full(len(crowd), -1)
    used = np.zeros(len(predicted), dtype=bool)
    for allowed in (good, fits):
        for row in np.argsort(-predicted.scores, kind="stable"):
            free = np.where(allowed[row] & (answer < 0), overlap[row], -1.0)
            if not used[row] and free.max(initial=-1.0) > 0:
                answer[free.argmax()], used[row] = row, True
    there, numbers = answer >= 0, np.arange(len(crowd))
    right, shown = np.zeros_like(crowd), np.zeros_like(crowd)
    right[there] = good[answer[there], numbers[there]]
    shown[there] = plain[answer[there], numbers[there]]
    return Judgement(answer, labelled & ~crowd, ~crowd, right, shown, ~used & ~(inside >= LEAST_IOU))


def _shares(truth: Record, predicted: Poses, row: int, number: int) -> tuple[float, float]:
    """The share of labelled points with a predicted point nearby, and the share with a visible one nearby."""
    instance = truth.instances[number]
    aligned = align(instance, predicted, row)
    counted = aligned.counted("labelled")
    near = aligned.distances[counted] <= WITHIN * max(instance.box[2:])
    if not near.any():
        return 0.0, 0.0
    columns = columns_of(aligned.names, predicted.keypoint_names[row], predicted.canonical_names[row])[counted]
    visible = (columns >= 0) & (predicted.visibility[row][columns] > 0)
    return float(near.mean()), float((near & visible).mean())


class AsUsed:
    """Shares of right objects and numbers of wrong answers; docs/evaluation.md defines them.

    Several questions about one picture count as one picture. `complete` states whether a picture has labels for every
    object of the queried categories; otherwise answers without a label are not wrong.
    """

    def __init__(self, complete: Callable[[Record], bool] = lambda record: True) -> None:
        self._complete = complete
        self._counts: Counter[str] = Counter()
        self._pictures: set[tuple[str, str]] = set()

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add the answers to one question about a picture."""
        judged = judge_answers(truth, predicted)
        self._counts.update({name: int(getattr(judged, name).sum()) for name in COUNTED})
        if self._complete(truth):
            self._pictures.add((truth.source, truth.picture.file))
            self._counts["wrong"] += int(judged.wrong.sum())

    def compute(self) -> dict[str, float]:
        """Return the numbers so far."""
        counts, pictures = self._counts, len(self._pictures)
        return {
            "right": counts["right"] / counts["asked"] if counts["asked"] else math.nan,
            "right/shown points": counts["shown"] / counts["asked"] if counts["asked"] else math.nan,
            "found": counts["found"] / counts["boxed"] if counts["boxed"] else math.nan,
            "wrong answers per picture": counts["wrong"] / pictures if pictures else math.nan,
            "objects": float(counts["asked"]),
            "boxes": float(counts["boxed"]),
            "pictures": float(pictures),
        }
