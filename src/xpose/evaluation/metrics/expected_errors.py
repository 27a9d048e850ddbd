"""Expected errors: do the points that an answer calls uncertain lie farther from their place?"""

from __future__ import annotations

import math

import numpy as np

from xpose.evaluation.matching import columns_of
from xpose.evaluation.metrics.points import PointRules
from xpose.records import Record
from xpose.results import Poses

PIXELS = PointRules(normaliser="pixel")


class ExpectedErrors:
    """Spearman's rank correlation between expected errors (`Poses.keypoint_errors`) and true ones, both in pixels.

    `compute()` gives "error correlation", 1 where the order is the same, 0 where there is no relation, NaN for weights
    that predict no errors; and "error points", the number of labelled points with an expected error.

    Args:
        rules: which objects, points and poses count.
    """

    def __init__(self, *, rules: PointRules = PIXELS) -> None:
        self.rules = rules
        self._expected: list[np.ndarray] = [np.zeros(0)]
        self._true: list[np.ndarray] = [np.zeros(0)]

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        if found.keypoint_errors is None:
            return
        for measured in self.rules.measure(truth, found):
            row = measured.row
            if row is None:
                continue
            columns = columns_of(measured.aligned.names, found.keypoint_names[row], found.canonical_names[row])
            expected = np.where(columns >= 0, found.keypoint_errors[row][columns], np.nan)
            usable = measured.counted & np.isfinite(expected) & np.isfinite(measured.errors)
            self._expected.append(expected[usable])
            self._true.append(measured.errors[usable])

    def compute(self) -> dict[str, float]:
        """The numbers so far."""
        expected, true = np.concatenate(self._expected), np.concatenate(self._true)
        return {"error correlation": rank_correlation(expected, true), "error points": float(len(true))}


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value [n], counted from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two lists [n]; NaN for fewer than two pairs or where all values are equal."""
    if len(first) < 2:
        return math.nan
    one, other = (values - values.mean() for values in (ranks(first), ranks(second)))
    spread = math.sqrt(float((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / spread if spread else math.nan
