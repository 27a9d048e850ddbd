"""NME: the mean error of an object's points, as a share of its size; faces are measured so."""

from __future__ import annotations

import math

import numpy as np

from xpose.evaluation.metrics.points import PointRules, average, checked_thresholds
from xpose.records import Record
from xpose.results import Poses

FACES = PointRules(normaliser="interocular")


class NME:
    """The mean over objects of the mean error of their points; lower is better.

    An object of which a labelled point was not found has failed: it counts in "NME/failed" and with 0 in the area, but
    not in the mean. So the mean never stands alone: `compute()` also gives "NME/found", the share of objects in it.
    "NME/AUC@0.08" is the area under the curve of the share of objects below an error, up to the limit, as a share.

    Args:
        limit: from where an object counts as failed, and up to where the area goes.
        rules: which objects, points and poses count; the default divides by the distance of the eye corners.
    """

    def __init__(self, limit: float = 0.08, *, rules: PointRules = FACES) -> None:
        (self.limit,) = checked_thresholds(limit)
        self.rules = rules
        self._errors: dict[str, list[float]] = {}  # by set

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        errors = self._errors.setdefault(truth.source, [])
        errors.extend(float(one.errors[one.counted].mean()) for one in self.rules.measure(truth, found))

    def compute(self) -> dict[str, float]:
        """ "NME", "NME/failed", "NME/found", "NME/AUC@limit", "NME/mean/sets", "NME/set/NAME", "objects"."""
        everything = [error for errors in self._errors.values() for error in errors]
        sets = {name: _mean(errors) for name, errors in sorted(self._errors.items()) if errors}
        return {
            "NME": _mean(everything),
            "NME/failed": average(error > self.limit for error in everything),
            "NME/found": average(math.isfinite(error) for error in everything),
            f"NME/AUC@{self.limit:g}": average(max(0.0, 1 - error / self.limit) for error in everything),
            "NME/mean/sets": average(sets.values()),
            **{f"NME/set/{name}": value for name, value in sets.items()},
            "objects": float(len(everything)),
        }


def _mean(errors: list[float]) -> float:
    return average(np.array(errors)[np.isfinite(errors)].tolist())
