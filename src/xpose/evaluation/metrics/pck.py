"""PCK and the area under its curve, averaged in every usual way.

Letters: T numbers per point (one for each threshold), K keypoints of a category.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError
from xpose.evaluation.matching import check_choice
from xpose.evaluation.metrics.points import PIXELS, Measured, PointRules, average, checked_thresholds
from xpose.records import Record
from xpose.results import Poses

Mean = Literal["points", "objects", "keypoints", "categories", "sets"]
CategoryKey = tuple[str, str, tuple[str, ...]]  # set, category, its keypoints


class PointMeans(ABC):
    """Sums of what `_values` gives for each point, by set, category and keypoint.

    `mean` is over what the headlines in `names` are averaged: all points; objects (each the mean of its points);
    keypoint names; categories or sets (each the mean over its objects). `compute()` gives all of them.
    """

    def __init__(self, names: list[str], mean: Mean, rules: PointRules) -> None:
        check_choice("mean", mean, get_args(Mean))
        self.names, self.mean, self.rules = names, mean, rules
        self._points: dict[CategoryKey, np.ndarray] = {}  # [K, T + 1], sums over points, and how many
        self._objects: dict[CategoryKey, np.ndarray] = {}  # [T + 1], sums of each object's mean, and how many

    @abstractmethod
    def _values(self, one: Measured) -> np.ndarray:
        """[K, T] from 0 to 1; 0 where a point does not count."""

    def update(self, truth: Record, found: Poses) -> None:
        """Add one picture."""
        for one in self.rules.measure(truth, found):
            values = np.column_stack((self._values(one), one.counted)).astype(np.float64)
            category = one.instance.category
            key = (truth.source, category.name, category.keypoints)
            shares = values.sum(0) / one.counted.sum()  # the last is 1
            if key in self._points:
                values, shares = self._points[key] + values, self._objects[key] + shares
            self._points[key], self._objects[key] = values, shares

    def compute(self) -> dict[str, float]:
        """The headlines, their other means, the numbers of every keypoint, category and set; "objects", "points"."""
        numbers: dict[str, float] = {}
        tables = self._tables()
        for column, name in enumerate(self.names):
            means = {mean: average(row[column] for row in rows.values()) for mean, rows in tables.items()}
            numbers[name] = means[self.mean]
            numbers |= {f"{name}/mean/{mean}": value for mean, value in means.items()}
            for mean, word in (("keypoints", "keypoint"), ("categories", "category"), ("sets", "set")):
                numbers |= {f"{name}/{word}/{key}": float(row[column]) for key, row in sorted(tables[mean].items())}
        numbers["objects"] = float(sum(sums[-1] for sums in self._objects.values()))
        numbers["points"] = float(sum(sums[:, -1].sum() for sums in self._points.values()))
        return numbers

    def _tables(self) -> dict[str, dict[str, np.ndarray]]:
        """For each kind of mean: name to means [T]."""
        tables: dict[str, dict[str, list[np.ndarray]]] = {mean: {} for mean in get_args(Mean)}
        for (source, category, names), sums in self._points.items():
            of_objects = self._objects[source, category, names]
            tables["points"].setdefault("", []).append(sums.sum(0))
            for mean, name in (("objects", ""), ("categories", category), ("sets", source)):
                tables[mean].setdefault(name, []).append(of_objects)
            for name, row in zip(names, sums, strict=True):
                tables["keypoints"].setdefault(name, []).append(row)
        return {
            mean: {name: _ratio(parts) for name, parts in table.items() if any(part[-1] for part in parts)}
            for mean, table in tables.items()
        }


def _ratio(parts: list[np.ndarray]) -> np.ndarray:
    """Sums over the sum of the counts, which are in the last place."""
    total = np.array([math.fsum(column) for column in zip(*parts, strict=True)])
    return total[:-1] / total[-1]


class PCK(PointMeans):
    """The share of labelled points within `threshold` times the object's size of their place (edge included).

    `compute()` gives "PCK@0.2" and, behind it, "/mean/points", "/mean/objects", "/mean/keypoints", "/mean/categories",
    "/mean/sets", "/keypoint/NAME", "/category/NAME" and "/set/NAME"; also "objects" and "points", how many counted.
    """

    def __init__(
        self, thresholds: float | Sequence[float] = 0.2, *, mean: Mean = "objects", rules: PointRules | None = None
    ) -> None:
        self.thresholds = checked_thresholds(thresholds)
        super().__init__([f"PCK@{threshold:g}" for threshold in self.thresholds], mean, rules or PointRules())

    def _values(self, one: Measured) -> np.ndarray:
        return (one.errors[:, None] <= np.array(self.thresholds)) & one.counted[:, None]


class AUC(PointMeans):
    """The mean of PCK over all thresholds up to `limit`; "AUC@30" and the means behind it as in `PCK`.

    With `steps` it is the mean of PCK at 0, 1/steps, 2/steps ... of the limit, the limit itself excluded, as in the
    common toolboxes; None takes the exact area.
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
