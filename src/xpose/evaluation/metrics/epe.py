"""EPE: how far points lie from their place, in pixels."""

from __future__ import annotations

import math

import numpy as np

from xpose.evaluation.metrics.points import PointRules, average
from xpose.records import Record
from xpose.results import Poses

PIXELS = PointRules(normaliser="pixel")


class EPE:
    """The mean distance of the labelled points that were found; lower is better, so look at "EPE/found" as well.

    `compute()` gives "EPE", "EPE/median", "EPE/found" (the share of points that were found), "EPE/set/NAME",
    "EPE/keypoint/NAME" and "points".

    Args:
        rules: which objects, points and poses count; with another normaliser than "pixel" the unit is another.
    """

    def __init__(self, *, rules: PointRules = PIXELS) -> None:
        self.rules = rules
        self._errors: dict[tuple[str, str], list[float]] = {}  # by set and keypoint

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        for one in self.rules.measure(truth, found):
            for column in one.counted.nonzero()[0]:
                key = (truth.source, one.aligned.names[column])
                self._errors.setdefault(key, []).append(float(one.errors[column]))

    def compute(self) -> dict[str, float]:
        """The numbers so far."""
        sets: dict[str, list[float]] = {}
        keypoints: dict[str, list[float]] = {}
        for (source, name), errors in sorted(self._errors.items()):
            near = [error for error in errors if math.isfinite(error)]
            sets.setdefault(source, []).extend(near)
            keypoints.setdefault(name, []).extend(near)
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
