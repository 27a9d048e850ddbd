"""How large an object is, for errors that are given as a share of its size: by name, from labels only.

A normaliser is a function of the labelled object; None means that the object does not show its size (a point that it
needs is not labelled), and such an object is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.records import Instance

Size = Callable[[Instance], float | None]
Normaliser = str | tuple[str, str] | Size

# In this order; the first pair of which both points are labelled gives the size.
HEAD = (("head top", "neck"), ("crown", "nape"), ("head", "neck"))
TORSO = (("left shoulder", "right hip"), ("right shoulder", "left hip"))
EYE_CORNERS = (("left eye outer corner", "right eye outer corner"), ("left eye", "right eye"))
_ROUND_THE_EYE = (
    "{} eye outer corner",
    "{} upper eyelid outer",
    "{} upper eyelid inner",
    "{} eye inner corner",
    "{} lower eyelid inner",
    "{} lower eyelid outer",
)


def box_longest(instance: Instance) -> float | None:
    """The longer side of the labelled box."""
    return _positive(max(instance.box[2:]))


def box_diagonal(instance: Instance) -> float | None:
    """The diagonal of the labelled box."""
    return _positive(math.hypot(*instance.box[2:]))


def box_size(instance: Instance) -> float | None:
    """The square root of the labelled box's area."""
    return _positive(math.sqrt(max(instance.box[2] * instance.box[3], 0.0)))


def pixel(instance: Instance) -> float | None:
    """1 for every object: errors stay in pixels."""
    return 1.0


def between(*pairs: tuple[str, str]) -> Size:
    """The distance of two labelled points; of several pairs the first whose points are both labelled."""

    def size(instance: Instance) -> float | None:
        for one, other in pairs:
            if (length := _distance(instance, one, other)) is not None:
                return length
        return None

    return size


def interpupil(instance: Instance) -> float | None:
    """From the middle of the six points round the left eye to that of the right; else between two points "eye"."""
    centres = []
    for side in ("left", "right"):
        points = [instance.point(name.format(side)) for name in _ROUND_THE_EYE]
        if any(v == 0 for *_, v in points):
            return _distance(instance, "left eye", "right eye")
        centres.append((sum(x for x, *_ in points) / len(points), sum(y for _, y, _ in points) / len(points)))
    return _positive(math.dist(*centres))


NORMALISERS: dict[str, Size] = {
    "box": box_longest,
    "box diagonal": box_diagonal,
    "box size": box_size,
    "head": between(*HEAD),
    "torso": between(*TORSO),
    "interocular": between(*EYE_CORNERS),
    "interpupil": interpupil,
    "pixel": pixel,
}


def normaliser(which: Normaliser) -> Size:
    """The function for a name, for two keypoint names (their distance), or the function itself.

    Raises:
        ConfigError: an unknown name.
    """
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


def _distance(instance: Instance, one: str, other: str) -> float | None:
    (x1, y1, v1), (x2, y2, v2) = instance.point(one), instance.point(other)
    return _positive(math.hypot(x1 - x2, y1 - y2)) if v1 and v2 else None


def _positive(value: float) -> float | None:
    return value if value > 0 else None
