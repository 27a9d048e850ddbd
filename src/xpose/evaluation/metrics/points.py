"""PCK and the area under its curve, and the rules of all keypoint metrics: countable objects and points, sizes.

Letters: T numbers per point (one per threshold), K keypoints of a category.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.matching import MATCHES, Aligned, Match, align, check_choice, match
from xpose.records import Instance, Record
from xpose.results import Poses

Points = Literal["labelled", "visible"]
Size = Callable[[Instance], float | None]  # None: a point that the size depends on is not labelled
Normaliser = str | tuple[str, str]
Mean = Literal["points", "objects", "keypoints", "categories", "sets"]
CategoryKey = tuple[str, str, tuple[str, ...]]  # set, category, its keypoints


@runtime_checkable
class Metric(Protocol):
    """Numbers over pictures, independent of the pictures' order."""

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture: its labels and the found poses (in the record's pixels)."""

    def compute(self) -> dict[str, float]:
        """Return the numbers so far; NaN if there was nothing to measure."""


# The first pair with both points labelled gives the size.
HEAD = (("head top", "neck"), ("crown", "nape"), ("head", "neck"))
TORSO = (("left shoulder", "right hip"), ("right shoulder", "left hip"))
EYE_CORNERS = (("left eye outer corner", "right eye outer corner"), ("left eye", "right eye"))
_AROUND_EYE = (
    *("{} eye outer corner", "{} upper eyelid outer", "{} upper eyelid inner"),
    *("{} eye inner corner", "{} lower eyelid inner", "{} lower eyelid outer"),
)


def between(*pairs: tuple[str, str]) -> Size:
    """The distance between the points of the first labelled pair."""

    def size(instance: Instance) -> float | None:
        for first, second in pairs:
            (x1, y1, v1), (x2, y2, v2) = instance.point(first), instance.point(second)
            if v1 and v2 and (length := math.hypot(x1 - x2, y1 - y2)) > 0:
                return length
        return None

    return size


def interpupil(instance: Instance) -> float | None:
    """The distance between the centres of the six points around each eye, or else between the two eye points."""
    centres = []
    for side in ("left", "right"):
        points = [instance.point(name.format(side)) for name in _AROUND_EYE]
        if any(v == 0 for *_, v in points):
            return between(("left eye", "right eye"))(instance)
        centres.append((sum(x for x, *_ in points) / len(points), sum(y for _, y, _ in points) / len(points)))
    return math.dist(*centres)


NORMALISERS: dict[str, Size] = {
    "box": lambda instance: max(instance.box[2:]),
    "box diagonal": lambda instance: math.hypot(*instance.box[2:]),
    "box size": lambda instance: math.sqrt(max(instance.box[2] * instance.box[3], 0.0)),
    "head": between(*HEAD),
    "torso": between(*TORSO),
    "interocular": between(*EYE_CORNERS),
    "interpupil": interpupil,
    "pixel": lambda instance: 1.0,
}


def normaliser(which: Normaliser) -> Size:
    """The function for a name, or for two keypoint names (their distance)."""
    if not isinstance(which, str):
        return between(which)
    if which not in NORMALISERS:
        raise ConfigError(
            f"Unknown normaliser {quote(which)}.{did_you_mean(str(which), NORMALISERS)} Choose one of "
            f'{", ".join(NORMALISERS)}, or two keypoint names such as ("left eye", "right eye").'
        )
    return NORMALISERS[which]


@dataclass(frozen=True, slots=True)
class Measured:
    """One object that counts: its points, their errors as shares of its size, and which points count."""

    number: int  # of the object in the record
    instance: Instance
    row: int | None  # of the assigned pose
    aligned: Aligned
    errors: np.ndarray  # [K], infinite if not found
    counted: np.ndarray  # [K] bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRules:
    """The objects and points that count, and their poses.

    Crowds, objects without a point that counts and objects of unknown size are excluded.
    """

    normaliser: Normaliser = "box"  # the divisor of errors, see `NORMALISERS`
    match: Match = "best box"  # how poses are assigned, see `xpose.evaluation.matching.match`
    points: Points = "labelled"  # visible and hidden ones
    any_category: bool = False  # also assign poses of other categories

    def __post_init__(self) -> None:
        normaliser(self.normaliser)
        check_choice("way of matching", self.match, MATCHES)
        check_choice("choice of points", self.points, get_args(Points))

    def measure(self, truth: Record, predicted: Poses) -> Iterator[Measured]:
        """The objects that count, one by one."""
        size_of = normaliser(self.normaliser)
        rows = match(truth, predicted, self.match, any_category=self.any_category)
        for number, (instance, row) in enumerate(zip(truth.instances, rows, strict=True)):
            if instance.iscrowd or not instance.keypoints:
                continue
            aligned = align(instance, predicted, row)
            counted = aligned.counted(self.points)
            if (size := size_of(instance)) and size > 0 and counted.any():
                yield Measured(number, instance, row, aligned, aligned.distances / size, counted)


PIXELS = PointRules(normaliser="pixel")


def average(values: Iterable[float]) -> float:
    """The mean, summed exactly (independent of the order); NaN if empty."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def checked_thresholds(values: float | Sequence[float]) -> tuple[float, ...]:
    """One or several thresholds as a tuple; a ConfigError for numbers that are not finite and above 0."""
    thresholds = tuple(map(float, values if isinstance(values, Sequence) else (values,)))
    if not thresholds or not all(0 < value < math.inf for value in thresholds):
        raise ConfigError(f"The thresholds are {values!r}. Each must be a number above 0, and at least one is needed.")
    return thresholds


class PointMeans(ABC):
    """Sums of each point's `_values`, by set, category and keypoint.

    `mean` is what the headlines in `names` are averaged over: points; objects (each the mean of its points); keypoint
    names; categories or sets (each the mean of its objects). `compute()` returns all means.
    """

    def __init__(self, names: list[str], mean: Mean, rules: PointRules) -> None:
        check_choice("mean", mean, get_args(Mean))
        self.names, self.mean, self.rules = names, mean, rules
        self._points: dict[CategoryKey, np.ndarray] = {}  # [K, T + 1], sums over points, and how many
        self._objects: dict[CategoryKey, np.ndarray] = {}  # [T + 1], sums of each object's mean, and how many

    @abstractmethod
    def _values(self, measured: Measured) -> np.ndarray:
        """[K, T] from 0 to 1; 0 if a point does not count."""

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        for measured in self.rules.measure(truth, predicted):
            values = np.column_stack((self._values(measured), measured.counted)).astype(np.float64)
            category = measured.instance.category
            key = (truth.source, category.name, category.keypoints)
            shares = values.sum(0) / measured.counted.sum()  # the last is 1
            if key in self._points:
                values, shares = self._points[key] + values, self._objects[key] + shares
            self._points[key], self._objects[key] = values, shares

    def compute(self) -> dict[str, float]:
        """The headlines, their other means, the numbers by keypoint, category and set; "objects", "points"."""
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
        """Means [T] by name, for each kind of mean."""
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
    """Sums divided by the total count, which is in the last column."""
    total = np.array([math.fsum(column) for column in zip(*parts, strict=True)])
    return total[:-1] / total[-1]


class PCK(PointMeans):
    """The share of labelled points found within `threshold` times the object's size (inclusive).

    `compute()` returns "PCK@0.2", also with the suffixes "/mean/points", "/mean/objects", "/mean/keypoints",
    "/mean/categories", "/mean/sets", "/keypoint/NAME", "/category/NAME", "/set/NAME"; and counts "objects", "points".
    """

    def __init__(
        self, thresholds: float | Sequence[float] = 0.2, *, mean: Mean = "objects", rules: PointRules | None = None
    ) -> None:
        self.thresholds = checked_thresholds(thresholds)
        super().__init__([f"PCK@{threshold:g}" for threshold in self.thresholds], mean, rules or PointRules())

    def _values(self, measured: Measured) -> np.ndarray:
        return (measured.errors[:, None] <= np.array(self.thresholds)) & measured.counted[:, None]


class AUC(PointMeans):
    """The mean of PCK over all thresholds up to `limit`; "AUC@30" and variants as in `PCK`.

    With `steps`, PCK is averaged at 0, 1/steps, 2/steps ... of the limit, excluding the limit itself, as in the common
    toolboxes; None computes the exact area.
    """

    def __init__(
        self, limit: float = 30.0, *, steps: int | None = 20, mean: Mean = "points", rules: PointRules = PIXELS
    ) -> None:
        (self.limit,) = checked_thresholds(limit)
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise ConfigError(f"steps is {steps!r}. It must be a whole number of at least 1, or None for the area.")
        self.steps = steps
        super().__init__([f"AUC@{self.limit:g}"], mean, rules)

    def _values(self, measured: Measured) -> np.ndarray:
        share = measured.errors / self.limit
        if self.steps is None:
            under = np.clip(1 - share, 0, None)
        else:
            under = (share[:, None] <= np.arange(self.steps) / self.steps).mean(1)
        return np.where(measured.counted, under, 0.0)[:, None]
