"""What the metrics on points share: which objects and points count, against which pose, and how they are averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.matching import Aligned, Match, align, check_match, match
from xpose.evaluation.normalisers import Normaliser, normaliser
from xpose.records import Instance, Record
from xpose.results import Poses

Points = Literal["labelled", "visible"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One object that counts: its points, their errors as shares of its size, and which of them count."""

    number: int  # of the object in the record
    instance: Instance
    row: int | None  # of the pose that belongs to it
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
                yield Measured(number, instance, row, aligned, aligned.distances / size, counted)


def average(values: Iterable[float]) -> float:
    """The mean, summed exactly (so that no order matters), NaN of nothing."""
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan


def checked_thresholds(values: float | Sequence[float]) -> tuple[float, ...]:
    """One or several thresholds as a tuple.

    Raises:
        ConfigError: none is given, or one is not a finite number above 0.
    """
    listed = tuple(values) if isinstance(values, Sequence) else (values,)
    for value in listed:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ConfigError(f"The threshold {value!r} must be a number above 0. Give shares such as 0.05 or 0.2.")
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
