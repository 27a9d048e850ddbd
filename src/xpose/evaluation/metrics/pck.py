"""PCK: the share of labelled points that lie within a share of the object's size of their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xpose.evaluation.metrics.means import Mean, PointMeans
from xpose.evaluation.metrics.points import Measured, PointRules, checked_thresholds

__all__ = ["PCK", "Mean", "PointRules"]


class PCK(PointMeans):
    """The share of points within `threshold` times the object's size of their labelled place (edge included).

    `compute()` gives "PCK@0.2" and, behind it, "/mean/points", "/mean/objects", "/mean/keypoints", "/mean/categories",
    "/mean/sets", "/keypoint/NAME", "/category/NAME" and "/set/NAME"; also "objects" and "points", how many counted.

    Args:
        thresholds: one or several shares of the object's size.
        mean: which of the means "PCK@0.2" itself is.
        rules: which objects, points and poses count.
    """

    def __init__(
        self, thresholds: float | Sequence[float] = 0.2, *, mean: Mean = "objects", rules: PointRules | None = None
    ) -> None:
        self.thresholds = checked_thresholds(thresholds)
        super().__init__([f"PCK@{threshold:g}" for threshold in self.thresholds], mean, rules or PointRules())

    def _values(self, one: Measured) -> np.ndarray:
        return (one.errors[:, None] <= np.array(self.thresholds)) & one.counted[:, None]
