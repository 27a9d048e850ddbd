"""Compares the results of an exported network with those of PyTorch, on real pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xpose.geometry import pairwise_iou
from xpose.results import Poses

_SAME = 0.5  # least IoU of the same object in both results


@dataclass(frozen=True)
class Tolerance:
    """The largest differences at which an export is written.

    Attributes:
        place: of boxes and keypoints, as a share of the object's longer side.
        score: of objects and keypoints.
        missing: share of PyTorch's objects that the export does not find.
    """

    place: float
    score: float
    missing: float = 0.0


TOLERANCES = {
    "float32": Tolerance(place=0.002, score=0.002),
    "float16": Tolerance(place=0.02, score=0.02),
    "int8": Tolerance(place=0.02, score=0.05, missing=0.02),  # means instead of maxima
}


@dataclass(frozen=True)
class Differences:
    """Differences between two lists of results for the same pictures; NaN if there was nothing to compare."""

    objects: int
    missing: int
    boxes: np.ndarray  # [n], as a share of the object's longer side
    keypoints: np.ndarray  # [n]
    scores: np.ndarray  # [n], of objects and keypoints

    def summary(self, *, worst: bool) -> tuple[float, float]:
        """The largest or the mean difference of places and of scores."""
        of = np.max if worst else np.mean
        places = np.concatenate((self.boxes, self.keypoints))
        return tuple(float(of(values)) if values.size else np.nan for values in (places, self.scores))  # type: ignore[return-value]

    def faults(self, tolerance: Tolerance, *, worst: bool) -> list[str]:
        """What exceeds the tolerance, in words."""
        if not self.objects:
            return ["PyTorch found no object in the pictures, so that nothing could be compared"]
        place, score = self.summary(worst=worst)
        kind = "largest" if worst else "mean"
        faults = []
        if self.missing > tolerance.missing * self.objects:
            faults.append(f"{self.missing} of {self.objects} objects are missing")
        if not place <= tolerance.place:
            faults.append(f"the {kind} shift of a place is {place:.4f} of the object's longer side")
        if not score <= tolerance.score:
            faults.append(f"the {kind} difference of a score is {score:.4f}")
        return faults


def compare(reference: Sequence[Poses], candidate: Sequence[Poses]) -> Differences:
    """Compare results by matching each object of the reference with the candidate's best overlapping one."""
    pairs = [pair for a, b in zip(reference, candidate, strict=True) for pair in _pairs(a, b)]
    found = [pair for pair in pairs if pair is not None]

    def joined(number: int) -> np.ndarray:
        return np.concatenate([pair[number] for pair in found]) if found else np.zeros(0)

    return Differences(len(pairs), len(pairs) - len(found), joined(0), joined(1), joined(2))


def _pairs(reference: Poses, candidate: Poses) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
    overlaps = pairwise_iou(reference.boxes, candidate.boxes)
    for row in range(len(reference.boxes)):
        same = np.array([category == reference.categories[row] for category in candidate.categories], bool)
        usable = np.where(same, overlaps[row], -1)
        if not len(usable) or usable.max() < _SAME:
            yield None
            continue
        match = int(usable.argmax())
        box = reference.boxes[row]
        side = max(float((box[2:] - box[:2]).max()), 1.0)
        points = np.abs(reference.xy[row] - candidate.xy[match]).max(-1)
        scores = np.append(
            np.abs(reference.keypoint_scores[row] - candidate.keypoint_scores[match]),
            abs(reference.scores[row] - candidate.scores[match]),
        )
        boxes = np.abs(box - candidate.boxes[match]) / side
        yield boxes, points[~np.isnan(points)] / side, scores[~np.isnan(scores)]
