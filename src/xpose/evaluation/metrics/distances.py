"""Metrics of distances between labelled and found points: EPE, NME, left-right swaps, and predicted errors."""

from __future__ import annotations

import math

import numpy as np

from xpose.evaluation.matching import columns_of, mirror_names
from xpose.evaluation.metrics.points import PIXELS, Measured, PointRules, average, checked_thresholds
from xpose.records import Record
from xpose.results import Poses

FACES = PointRules(normaliser="interocular")


class EPE:
    """The mean distance in pixels of the points that were found.

    Points without a prediction are not in the mean, so also check "EPE/found", the share of points that were found.
    `compute()` also gives "EPE/median", "EPE/set/NAME", "EPE/keypoint/NAME" and "points".
    """

    def __init__(self, *, rules: PointRules = PIXELS) -> None:
        self.rules = rules
        self._errors: dict[tuple[str, str], list[float]] = {}  # by set and keypoint

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        for measured in self.rules.measure(truth, predicted):
            for column in measured.counted.nonzero()[0]:
                key = (truth.source, measured.aligned.names[column])
                self._errors.setdefault(key, []).append(float(measured.errors[column]))

    def compute(self) -> dict[str, float]:
        """Return the numbers so far."""
        sets: dict[str, list[float]] = {}
        keypoints: dict[str, list[float]] = {}
        for (source, name), errors in sorted(self._errors.items()):
            for table, key in ((sets, source), (keypoints, name)):
                table.setdefault(key, []).extend(filter(math.isfinite, errors))
        near = [error for errors in sets.values() for error in errors]
        points = sum(map(len, self._errors.values()))
        return {
            "EPE": average(near),
            "EPE/median": float(np.median(near)) if near else math.nan,
            "EPE/found": len(near) / points if points else math.nan,
            **{f"EPE/set/{name}": average(errors) for name, errors in sets.items()},
            **{f"EPE/keypoint/{name}": average(errors) for name, errors in keypoints.items()},
            "points": float(points),
        }


class NME:
    """The mean over objects of their points' mean error relative to object size; lower is better.

    An object fails if one of its labelled points was not found: it counts in "NME/failed" and as 0 in the area, but not
    in the mean. So read the mean together with "NME/found", the share of objects in it. "NME/AUC@0.08" is the
    normalised area under the curve of the share of objects below an error, up to the limit.
    """

    def __init__(self, limit: float = 0.08, *, rules: PointRules = FACES) -> None:
        (self.limit,) = checked_thresholds(limit)
        self.rules = rules
        self._errors: dict[str, list[float]] = {}  # by set

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        errors = self._errors.setdefault(truth.source, [])
        errors.extend(
            float(measured.errors[measured.counted].mean()) for measured in self.rules.measure(truth, predicted)
        )

    def compute(self) -> dict[str, float]:
        """ "NME", "NME/failed", "NME/found", "NME/AUC@limit", "NME/mean/sets", "NME/set/NAME", "objects"."""
        everything = [error for errors in self._errors.values() for error in errors]
        sets = {name: average(filter(math.isfinite, errors)) for name, errors in sorted(self._errors.items()) if errors}
        return {
            "NME": average(filter(math.isfinite, everything)),
            "NME/failed": average(error > self.limit for error in everything),
            "NME/found": average(math.isfinite(error) for error in everything),
            f"NME/AUC@{self.limit:g}": average(max(0.0, 1 - error / self.limit) for error in everything),
            "NME/mean/sets": average(sets.values()),
            **{f"NME/set/{name}": value for name, value in sets.items()},
            "objects": float(len(everything)),
        }


class Swaps:
    """The share of left-right pairs that fit their labels better when exchanged; 0.5 is chance level.

    Each set defines left as the object's or the viewer's (`Record.left_right`), so read the numbers by set.
    "swaps/objects" is the share of objects with more pairs swapped than not.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, list[bool]] = {}  # by set
        self._objects: list[bool] = []

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        for measured in PIXELS.measure(truth, predicted):
            if swapped := _swapped_pairs(measured):
                self._pairs.setdefault(truth.source, []).extend(swapped)
                self._objects.append(2 * sum(swapped) > len(swapped))

    def compute(self) -> dict[str, float]:
        """ "swaps", "swaps/objects", "swaps/set/NAME", and "pairs", their number."""
        every = [swapped for pairs in self._pairs.values() for swapped in pairs]
        return {
            "swaps": average(every),
            "swaps/objects": average(self._objects),
            **{f"swaps/set/{name}": average(pairs) for name, pairs in sorted(self._pairs.items())},
            "pairs": float(len(every)),
        }


def _swapped_pairs(measured: Measured) -> list[bool]:
    """Whether each labelled and found left-right pair is exchanged."""
    true, predicted, names = measured.aligned.true, measured.aligned.predicted, measured.aligned.names
    usable = measured.counted & np.isfinite(predicted).all(-1)
    partners = mirror_names(measured.instance.category.skeleton, names)
    swapped = []
    for a, name in enumerate(names):
        b = names.index(partners[name]) if partners[name] in names else -1
        if b > a and usable[a] and usable[b]:
            straight = np.linalg.norm(predicted[a] - true[a]) + np.linalg.norm(predicted[b] - true[b])
            crossed = np.linalg.norm(predicted[a] - true[b]) + np.linalg.norm(predicted[b] - true[a])
            swapped.append(bool(crossed < straight))
    return swapped


class ExpectedErrors:
    """Spearman's rank correlation between expected errors (`Poses.keypoint_errors`) and true ones, both in pixels."""

    def __init__(self) -> None:
        self._expected: list[np.ndarray] = [np.zeros(0)]
        self._true: list[np.ndarray] = [np.zeros(0)]

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        if predicted.keypoint_errors is None:
            return
        for measured in PIXELS.measure(truth, predicted):
            if (row := measured.row) is None:
                continue
            columns = columns_of(measured.aligned.names, predicted.keypoint_names[row], predicted.canonical_names[row])
            expected = np.where(columns >= 0, predicted.keypoint_errors[row][columns], np.nan)
            usable = measured.counted & np.isfinite(expected) & np.isfinite(measured.errors)
            self._expected.append(expected[usable])
            self._true.append(measured.errors[usable])

    def compute(self) -> dict[str, float]:
        """Return the numbers so far."""
        expected, true = np.concatenate(self._expected), np.concatenate(self._true)
        return {"error correlation": rank_correlation(expected, true), "error points": float(len(true))}


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value [n], counted from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two lists [n]; NaN for fewer than two pairs or if all values are equal."""
    if len(first) < 2:
        return math.nan
    a, b = (values - values.mean() for values in (ranks(first), ranks(second)))
    spread = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / spread if spread else math.nan
