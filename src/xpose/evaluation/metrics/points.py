"""What the keypoint metrics share: which objects and points count, against which pose, and the size of an object."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.matching import MATCHES, Aligned, Match, align, check_choice, match
from xpose.records import Instance, Record
from xpose.results import Poses

Points = Literal["labelled", "visible"]
Size = Callable[[Instance], float | None]  # None: a point that the size depends on is not labelled
Normaliser = str | tuple[str, str] | Size

# The first pair of which both points are labelled gives the size.
HEAD = (("head top", "neck"), ("crown", "nape"), ("head", "neck"))
TORSO = (("left shoulder", "right hip"), ("right shoulder", "left hip"))
EYE_CORNERS = (("left eye outer corner", "right eye outer corner"), ("left eye", "right eye"))
_AROUND_EYE = (
    *("{} eye outer corner", "{} upper eyelid outer", "{} upper eyelid inner"),
    *("{} eye inner corner", "{} lower eyelid inner", "{} lower eyelid outer"),
)


def between(*pairs: tuple[str, str]) -> Size:
    """The distance between two labelled points, of the first pair that is labelled."""

    def size(instance: Instance) -> float | None:
        for first, second in pairs:
            (x1, y1, v1), (x2, y2, v2) = instance.point(first), instance.point(second)
            if v1 and v2 and (length := math.hypot(x1 - x2, y1 - y2)) > 0:
                return length
        return None

    return size


def interpupil(instance: Instance) -> float | None:
    """The distance between the centres of the six points around each eye; else between two points called eye."""
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
    """The function for a name, for two keypoint names (their distance), or the function itself."""
    if callable(which):
        return which
    if isinstance(which, Sequence) and not isinstance(which, str) and len(which) == 2:
        return between((which[0], which[1]))
    if which not in NORMALISERS:
        raise ConfigError(
            f"Unknown normaliser {quote(which)}.{did_you_mean(str(which), NORMALISERS)} Choose one of "
            f'{", ".join(NORMALISERS)}, or two keypoint names such as ("left eye", "right eye").'
        )
    return NORMALISERS[which]


@dataclass(frozen=True, slots=True)
class Measured:
    """One object that counts: its points, their errors as shares of its size, and which of them count."""

    number: int  # of the object in the record
    instance: Instance
    row: int | None  # of the pose that is assigned to it
    aligned: Aligned
    errors: np.ndarray  # [K], infinite where not found
    counted: np.ndarray  # [K] bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRules:
    """Which objects and points count, and against which pose.

    Crowds, objects without a point that counts and objects of unknown size are left out.
    """

    normaliser: Normaliser = "box"  # what errors are divided by, see `NORMALISERS`
    match: Match = "best box"  # which pose is assigned to an object, see `xpose.evaluation.matching.match`
    points: Points = "labelled"  # visible and hidden ones
    any_category: bool = False  # also assign poses of other categories

    def __post_init__(self) -> None:
        normaliser(self.normaliser)
        check_choice("way of matching", self.match, MATCHES)
        check_choice("choice of points", self.points, get_args(Points))

    def measure(self, truth: Record, found: Poses) -> Iterator[Measured]:
        """The objects that count, one by one."""
        size_of = normaliser(self.normaliser)
        rows = match(truth, found, self.match, any_category=self.any_category)
        for number, (instance, row) in enumerate(zip(truth.instances, rows, strict=True)):
            if instance.iscrowd or not instance.keypoints:
                continue
            aligned = align(instance, found, row)
            counted = aligned.counted(self.points)
            if (size := size_of(instance)) and size > 0 and counted.any():
                yield Measured(number, instance, row, aligned, aligned.distances / size, counted)


PIXELS = PointRules(normaliser="pixel")


def average(values: Iterable[float]) -> float:
    """The mean, summed exactly (so that the order does not matter); NaN of nothing."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def checked_thresholds(values: float | Sequence[float]) -> tuple[float, ...]:
    """One or several thresholds as a tuple; a ConfigError for numbers that are not finite and above 0."""
    thresholds = tuple(values) if isinstance(values, Sequence) else (values,)
    for value in thresholds:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ConfigError(f"The threshold {value!r} must be a number above 0. Give shares such as 0.05 or 0.2.")
    if not thresholds:
        raise ConfigError("No threshold was given. Give at least one, such as 0.2.")
    return tuple(float(value) for value in thresholds)
