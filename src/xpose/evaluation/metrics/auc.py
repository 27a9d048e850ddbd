"""AUC: the area under the PCK curve from threshold 0 to a limit, as a share of the limit."""

from __future__ import annotations

import numpy as np

from xpose.errors import ConfigError
from xpose.evaluation.metrics.means import Mean, PointMeans
from xpose.evaluation.metrics.points import Measured, PointRules, checked_thresholds

PIXELS = PointRules(normaliser="pixel")


class AUC(PointMeans):
    """The mean of PCK over all thresholds up to `limit`; "AUC@30" and the means behind it as in `PCK`.

    Args:
        limit: the largest threshold, in the unit of the normaliser.
        steps: None for the exact area. A number takes the mean of PCK at 0, 1/steps, 2/steps ... of the limit, the
            limit itself left out, as the common toolboxes do (20 steps).
        mean: which of the means "AUC@30" itself is.
        rules: which objects, points and poses count; the default measures in pixels.
    """

    def __init__(
        self, limit: float = 30.0, *, steps: int | None = 20, mean: Mean = "points", rules: PointRules = PIXELS
    ) -> None:
        (self.limit,) = checked_thresholds(limit)
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
            raise ConfigError(f"steps is {steps!r}. It must be a whole number of at least 1, or None for the area.")
        self.steps = steps
        super().__init__([f"AUC@{self.limit:g}"], mean, rules)

    def _values(self, one: Measured) -> np.ndarray:
        share = one.errors / self.limit
        if self.steps is None:
            under = np.clip(1 - share, 0, None)
        else:
            under = (share[:, None] <= np.arange(self.steps) / self.steps).mean(1)
        return np.where(one.counted, under, 0.0)[:, None]
