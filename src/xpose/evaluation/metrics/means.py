"""Numbers that belong to points, averaged in every usual way: the base of PCK and AUC.

Letters: T numbers per point (one for each threshold), K keypoints of a category.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, get_args

import numpy as np

from xpose.evaluation.metrics.points import Measured, PointRules, average, check_choice
from xpose.records import Record
from xpose.results import Poses

Mean = Literal["points", "objects", "keypoints", "categories", "sets"]
Kind = tuple[str, str, tuple[str, ...]]  # set, category, its keypoints


class PointMeans(ABC):
    """Sums of what `_values` says about each point, by set, category and keypoint.

    Args:
        names: of the T numbers.
        mean: what the headline is the mean over: all points alike; objects (each the mean of its points); keypoint
            names; categories or sets (each the mean over its objects). All of them are given anyway.
        rules: which objects, points and poses count.
    """

    def __init__(self, names: list[str], mean: Mean, rules: PointRules) -> None:
        check_choice("what to average over", mean, get_args(Mean))
        self.names, self.mean, self.rules = names, mean, rules
        self._sums: dict[Kind, np.ndarray] = {}  # [K, T]
        self._seen: dict[Kind, np.ndarray] = {}  # [K]
        self._shares: dict[Kind, np.ndarray] = {}  # [T], each object's mean, summed
        self._objects: dict[Kind, int] = {}

    @abstractmethod
    def _values(self, one: Measured) -> np.ndarray:
        """[K, T] from 0 to 1; 0 where a point does not count."""

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        for one in self.rules.measure(truth, found):
            values = self._values(one)
            category = one.instance.category
            kind = (truth.source, category.name, category.keypoints)
            if kind not in self._objects:
                self._sums[kind], self._seen[kind] = np.zeros(values.shape), np.zeros(len(values))
                self._shares[kind], self._objects[kind] = np.zeros(len(self.names)), 0
            self._sums[kind] += values
            self._seen[kind] += one.counted
            self._shares[kind] += values.sum(0) / one.counted.sum()
            self._objects[kind] += 1

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
        numbers["objects"] = float(sum(self._objects.values()))
        numbers["points"] = float(sum(seen.sum() for seen in self._seen.values()))
        return numbers

    def _tables(self) -> dict[str, dict[str, np.ndarray]]:
        """For each kind of mean: name to means [T]."""
        keypoints: dict[str, list[np.ndarray]] = {}
        for kind, sums in self._sums.items():
            for name, row, seen in zip(kind[2], sums, self._seen[kind], strict=True):
                keypoints.setdefault(name, []).append(np.append(row, seen))
        every = {"": [np.append(sums.sum(0), self._seen[kind].sum()) for kind, sums in self._sums.items()]}
        objects: list[dict[str, list[np.ndarray]]] = [{}, {}, {}]
        for kind, shares in self._shares.items():
            for table, name in zip(objects, ("", kind[1], kind[0]), strict=True):
                table.setdefault(name, []).append(np.append(shares, self._objects[kind]))
        named = zip(get_args(Mean), (every, objects[0], keypoints, objects[1], objects[2]), strict=True)
        return {mean: {name: _ratio(parts) for name, parts in table.items() if _some(parts)} for mean, table in named}


def _some(parts: list[np.ndarray]) -> bool:
    return sum(part[-1] for part in parts) > 0


def _ratio(parts: list[np.ndarray]) -> np.ndarray:
    """Sums over the sum of the counts, which stand in the last place."""
    total = np.array([math.fsum(column) for column in zip(*parts, strict=True)])
    return total[:-1] / total[-1]
