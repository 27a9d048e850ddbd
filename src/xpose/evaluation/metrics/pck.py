"""PCK: the share of labelled points that lie within a share of the object's size of their place.

Letters: T thresholds, K keypoints of a category.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from xpose.data.schema import Instance, Record
from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.matching import Aligned, Match, align, check_match, match
from xpose.evaluation.metrics.base import ObjectRow
from xpose.evaluation.normalisers import Normaliser, normaliser
from xpose.poses import Poses

Mean = Literal["points", "objects", "keypoints", "categories", "sets"]
Points = Literal["labelled", "visible"]
Kind = tuple[str, str, tuple[str, ...]]  # set, category, its keypoints


@dataclass(frozen=True, slots=True)
class Measured:
    """One object that counts: its points, their errors as shares of its size, and which of them count."""

    number: int
    instance: Instance
    aligned: Aligned
    errors: np.ndarray  # [K], infinite where not found
    counted: np.ndarray  # [K] bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRules:
    """What the metrics on points have in common: which objects and points count, and against which pose.

    Crowds and objects without a point that counts are left out, and so are those that do not show their size.

    Attributes:
        normaliser: what errors are divided by; see `xpose.evaluation.normalisers`.
        match: which pose belongs to an object; see `xpose.evaluation.matching.match`.
        points: "labelled" counts visible and hidden points, "visible" only the former.
        any_category: let poses of other categories stand for an object as well.
    """

    normaliser: Normaliser = "box"
    match: Match = "best box"
    points: Points = "labelled"
    any_category: bool = False

    def __post_init__(self) -> None:
        normaliser(self.normaliser)
        check_match(self.match)
        check_choice("which points count", self.points, get_args(Points))

    def measure(self, truth: Record, found: Poses) -> Iterator[Measured]:
        """The objects that count, one by one."""
        size_of = normaliser(self.normaliser)
        rows = match(truth, found, self.match, any_category=self.any_category)
        for number, (instance, row) in enumerate(zip(truth.instances, rows, strict=True)):
            if instance.iscrowd or not instance.keypoints:
                continue
            aligned = align(instance, found, row)
            counted = aligned.counted(self.points)
            size = size_of(instance)
            if size is not None and counted.any():
                yield Measured(number, instance, aligned, aligned.distances / size, counted)


class PCK:
    """The share of points within `threshold` times the object's size of their labelled place (edge included).

    Args:
        thresholds: one or several shares of the object's size.
        mean: what "PCK@t" is the mean over: all points alike; objects (each the share of its points); keypoint names;
            categories or sets (each the mean over its objects). All of them are given anyway, as "PCK@t/mean/points"
            and so on.
        rules: which objects, points and poses count.
    """

    def __init__(
        self, thresholds: float | Sequence[float] = 0.2, *, mean: Mean = "objects", rules: PointRules | None = None
    ) -> None:
        self.thresholds = checked_thresholds(thresholds)
        check_choice("what to average over", mean, get_args(Mean))
        self.mean, self.rules = mean, rules or PointRules()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._hits: dict[Kind, np.ndarray] = {}  # [K, T]
        self._seen: dict[Kind, np.ndarray] = {}  # [K]
        self._shares: dict[Kind, np.ndarray] = {}  # [T], summed over objects
        self._objects: dict[Kind, int] = {}

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        for one in self.rules.measure(truth, found):
            hits = self._within(one)
            category = one.instance.category
            kind = (truth.source, category.name, category.keypoints)
            if kind not in self._objects:
                self._hits[kind], self._seen[kind] = np.zeros(hits.shape), np.zeros(len(hits))
                self._shares[kind], self._objects[kind] = np.zeros(len(self.thresholds)), 0
            self._hits[kind] += hits
            self._seen[kind] += one.counted
            self._shares[kind] += hits.sum(0) / one.counted.sum()
            self._objects[kind] += 1

    def rows(self, truth: Record, found: Poses) -> list[ObjectRow]:
        """The share of each object that counts."""
        rows = []
        for one in self.rules.measure(truth, found):
            points = int(one.counted.sum())
            shares = self._within(one).sum(0) / points
            values = {name: float(share) for name, share in zip(self.names, shares, strict=True)}
            rows.append(ObjectRow(one.number, one.instance.category.name, points, values))
        return rows

    def compute(self) -> dict[str, float]:
        """ "PCK@t", its other means, and the number for every keypoint, category and set; "objects" and "points"."""
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

    @property
    def names(self) -> list[str]:
        """ "PCK@t" for each threshold."""
        return [f"PCK@{threshold:g}" for threshold in self.thresholds]

    def _within(self, one: Measured) -> np.ndarray:
        return (one.errors[:, None] <= np.array(self.thresholds)) & one.counted[:, None]  # [K, T]

    def _tables(self) -> dict[str, dict[str, np.ndarray]]:
        """For each kind of mean: name to shares [T]."""
        keypoints: dict[str, list[np.ndarray]] = {}
        for kind, hits in self._hits.items():
            for name, row, seen in zip(kind[2], hits, self._seen[kind], strict=True):
                keypoints.setdefault(name, []).append(np.append(row, seen))
        every = {"": [np.append(hits.sum(0), self._seen[kind].sum()) for kind, hits in self._hits.items()]}
        objects: list[dict[str, list[np.ndarray]]] = [{}, {}, {}]
        for kind, shares in self._shares.items():
            for table, name in zip(objects, ("", kind[1], kind[0]), strict=True):
                table.setdefault(name, []).append(np.append(shares, self._objects[kind]))
        named = zip(get_args(Mean), (every, objects[0], keypoints, objects[1], objects[2]), strict=True)
        return {mean: {name: _ratio(parts) for name, parts in table.items() if _some(parts)} for mean, table in named}


def average(values: Iterable[float]) -> float:
    """The mean, summed exactly (so that no order matters), NaN of nothing."""
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan


def checked_thresholds(values: float | Sequence[float]) -> tuple[float, ...]:
    """One or several thresholds as a tuple.

    Raises:
        ConfigError: none, or one that is no finite number above 0.
    """
    listed = tuple(values) if isinstance(values, Sequence) else (values,)
    for value in listed:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ConfigError(f"The threshold {value!r} is no number above 0. Give shares such as 0.05 or 0.2.")
    if not listed:
        raise ConfigError("No threshold was given. Give at least one, such as 0.2.")
    return tuple(float(value) for value in listed)


def check_choice(what: str, value: str, known: Sequence[str]) -> None:
    """Refuse a word that is not in a list.

    Raises:
        ConfigError: it is not.
    """
    if value not in known:
        raise ConfigError(
            f"Unknown choice of {what}: {quote(value)}.{did_you_mean(value, known)} It must be one of "
            f"{', '.join(known)}."
        )


def _some(parts: list[np.ndarray]) -> bool:
    return sum(part[-1] for part in parts) > 0


def _ratio(parts: list[np.ndarray]) -> np.ndarray:
    """Sums of hits (or shares) over the sum of the counts in the last place."""
    total = np.array([math.fsum(column) for column in zip(*parts, strict=True)])
    return total[:-1] / total[-1]
