"""What is drawn on a picture, in plain values, and how large its strokes are."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from xpose.drawing.palette import PAPER, Colour
from xpose.errors import ConfigError

Place = tuple[float, float]
Rect = tuple[float, float, float, float]
DIRECTIONS = tuple((math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)) for k in range(16))
LegendPlace = Literal["auto", "inside", "below", "none"]
Hidden = Literal["skip", "hollow"]


@dataclass(frozen=True, eq=False)
class Figure:
    """One object: its box x1, y1, x2, y2, its points in pixels, and what they are called.

    Attributes:
        box: in pixels of the picture that is drawn on, as are the points.
        title: its category.
        score: in 0..1; None for what people labelled.
        names: K texts.
        sides: K times "left", "right" or "middle".
        xy: [K, 2].
        confidence: [K] in 0..1.
        visibility: [K]: 0 not there, 1 covered, 2 visible.
        edges: pairs of names.
        errors: [K] expected distances from the true places in pixels, NaN where unknown; or None.
    """

    box: Rect
    title: str
    score: float | None
    names: Sequence[str]
    sides: Sequence[str]
    xy: np.ndarray
    confidence: np.ndarray
    visibility: np.ndarray
    edges: Sequence[tuple[str, str]]
    errors: np.ndarray | None = None

    @property
    def seen(self) -> np.ndarray:
        """[M, 2]: the points that are there."""
        return self.xy[self.visibility > 0]

    @property
    def places(self) -> dict[str, Place]:
        """Name → x, y of the points that are there."""
        rows = zip(self.names, self.xy.tolist(), self.visibility, strict=True)
        return {name: (x, y) for name, (x, y), v in rows if v}

    @property
    def lines(self) -> list[tuple[Place, Place]]:
        """The edges between points that are there."""
        places = self.places
        return [(places[start], places[end]) for start, end in self.edges if start in places and end in places]

    @property
    def size(self) -> float:
        """The side of a square as large as the box."""
        x1, y1, x2, y2 = self.box
        return math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0))


@dataclass(frozen=True)
class Style:
    """What `draw_figures` draws; see `xpose.results.Poses.draw`.

    Raises:
        ConfigError: an option is unknown.
    """

    boxes: bool = True
    labels: bool = True
    legend: LegendPlace = "auto"
    numbers: bool | None = None
    hidden: Hidden = "skip"
    errors: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("legend", self.legend, get_args(LegendPlace)),
            ("hidden", self.hidden, get_args(Hidden)),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}. It must be one of {', '.join(known)}. Choose one of them.")


def text_size(width: int, height: int) -> int:
    """Letters grow with the picture, but less: 10 pixels at 200, 15 at 640 x 480, 44 at 4K."""
    return max(9, round(8 + 0.0125 * math.sqrt(width * height)))


def picture_radius(width: int, height: int) -> float:
    """How large a point may be in a picture of this size."""
    return 1.0 + 0.005 * math.sqrt(width * height)


def point_radius(figure: Figure, largest: float) -> float:
    """How large this object's points are: small on small objects, and where points are close together."""
    limits = [largest, 0.75 + 0.02 * figure.size]
    gap = nearest_gap(figure.seen)
    if gap is not None:
        limits.append((0.36 if len(figure.names) < 40 else 0.28) * gap)
    return max(min(limits), min(0.9, largest))


def nearest_gap(points: np.ndarray) -> float | None:
    """The median distance from a point to the one next to it; None for fewer than two."""
    if len(points) < 2:
        return None
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))


def instance_colours(count: int) -> list[Colour]:
    """A colour for the box of each object: white for one alone, else hues that are far apart for neighbours in rank."""
    if count < 2:
        return [PAPER] * count
    golden = (math.sqrt(5) - 1) / 2
    hues = [(0.12 + number * golden) % 1 for number in range(count)]
    # Yellow and green look lighter than blue and violet at the same number.
    shades = [colorsys.hls_to_rgb(hue, 0.62 + 0.08 * math.cos(2 * math.pi * (hue - 0.68)), 0.85) for hue in hues]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades]


def distance_to_line(place: Place, start: Place, end: Place) -> float:
    """From a place to the nearest point of the line between two others."""
    (x, y), (x1, y1), (x2, y2) = place, start, end
    squared = (x2 - x1) ** 2 + (y2 - y1) ** 2
    along = 0.0 if squared == 0 else min(1.0, max(0.0, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / squared))
    return math.dist(place, (x1 + along * (x2 - x1), y1 + along * (y2 - y1)))


def shared_area(a: Rect, b: Rect) -> float:
    """The area that two rectangles have in common."""
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
