"""What is drawn on a picture, in plain values, and the colours and sizes of its strokes."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError

Place = tuple[float, float]
Rect = tuple[float, float, float, float]
LegendPlace = Literal["inside", "below", "none"]
Colour = tuple[int, int, int]
# The sides have colours of the Okabe-Ito palette, which are distinct under common forms of colour blindness.
LEFT: Colour = (0, 114, 178)  # blue
RIGHT: Colour = (213, 94, 0)  # vermilion
MIDDLE: Colour = (0, 140, 104)  # bluish green, a little darker than the original to be legible on white
SIDES: dict[str, Colour] = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}
PAPER: Colour = (255, 255, 255)
INK: Colour = (34, 34, 34)
FAINT: Colour = (120, 120, 120)
RULE: Colour = (222, 222, 222)
_WIDEST = 1000  # pixels, for lines


@dataclass(frozen=True)
class FigureClass:
    """A kind of object, as the legend explains it: its name, and its keypoints with their sides."""

    title: str
    names: tuple[str, ...]
    sides: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Figure:
    """One object with K keypoints, in pixels of the picture that is drawn on."""

    box: Rect  # x1, y1, x2, y2
    title: str  # its category
    score: float | None  # in 0..1; None for labels
    names: Sequence[str]
    sides: Sequence[str]  # "left", "right" or "middle"
    xy: np.ndarray  # [K, 2]
    confidence: np.ndarray  # [K] in 0..1
    visibility: np.ndarray  # [K]: 0 absent, 1 covered, 2 visible
    edges: Sequence[tuple[str, str]]  # pairs of names
    errors: np.ndarray | None = None  # [K] expected errors, NaN where unknown
    dashed: bool = False  # whether the box is drawn with a dashed line

    @property
    def kind(self) -> FigureClass:
        """Its entry in the legend."""
        return FigureClass(self.title, tuple(self.names), tuple(self.sides))

    @property
    def seen(self) -> np.ndarray:
        """[M, 2]: the points that are present."""
        return self.xy[self.visibility > 0]

    @property
    def places(self) -> dict[str, Place]:
        """Name → x, y of the points that are present."""
        rows = zip(self.names, self.xy.tolist(), self.visibility, strict=True)
        return {name: (x, y) for name, (x, y), v in rows if v}

    @property
    def lines(self) -> list[tuple[Place, Place]]:
        """The edges between points that are present."""
        places = self.places
        return [(places[start], places[end]) for start, end in self.edges if start in places and end in places]


@dataclass(frozen=True)
class Style:
    """What `draw_figures` draws; see `xpose.results.Poses.draw`."""

    boxes: bool = True
    labels: bool = True
    legend: LegendPlace = "below"
    line_width: float | None = None  # in pixels
    errors: bool = False
    label_share: float = 0.0  # the least height of the labels' letters, as a share of the picture's width

    def __post_init__(self) -> None:
        places = get_args(LegendPlace)
        if self.legend not in places:
            raise ConfigError(f"legend is {self.legend!r}. It must be one of {', '.join(places)}. Choose one of them.")
        width = self.line_width
        if width is not None and not (isinstance(width, int | float) and 0 < width <= _WIDEST):
            raise ConfigError(
                f"line_width is {width!r}. It must be a number of pixels above 0, at most {_WIDEST}. Omit it to choose "
                "it by the sizes of picture and objects."
            )


def text_size(width: int, height: int) -> int:
    """The height of letters: 10 pixels in a picture of 200 x 200, 15 at 640 x 480, 44 at 4K."""
    return max(9, round(8 + 0.0125 * math.sqrt(width * height)))


def picture_radius(width: int, height: int) -> float:
    """The largest radius of a point in a picture of this size."""
    return 1.0 + 0.005 * math.sqrt(width * height)


def point_radius(figure: Figure, largest: float) -> float:
    """The radius of an object's points: smaller on small objects, and if points are close together."""
    x1, y1, x2, y2 = figure.box
    limits = [largest, 0.75 + 0.02 * math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0))]
    gap = nearest_gap(figure.seen)
    if gap is not None:
        limits.append((0.36 if len(figure.names) < 40 else 0.28) * gap)
    return max(min(limits), min(0.9, largest))


def nearest_gap(points: np.ndarray) -> float | None:
    """The median distance from a point to its nearest neighbour; None for fewer than two points."""
    if len(points) < 2:
        return None
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))


def instance_colours(count: int) -> list[Colour]:
    """A colour for the box of each object: white for a single one, otherwise hues that differ between neighbours."""
    if count < 2:
        return [PAPER] * count
    return [numbered_colour(number) for number in range(count)]


def numbered_colour(number: int) -> Colour:
    """A colour for the object with this number, whose hue differs from that of its neighbours."""
    hue = (0.12 + number * (math.sqrt(5) - 1) / 2) % 1
    # Yellow and green look lighter than blue and violet at the same value.
    r, g, b = colorsys.hls_to_rgb(hue, 0.62 + 0.08 * math.cos(2 * math.pi * (hue - 0.68)), 0.85)
    return round(255 * r), round(255 * g), round(255 * b)


def distances_to_lines(places: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The distance from each of the places [P, 2] to each line [L, 2 ends, 2]: [P, L]."""
    start, way = lines[:, 0], lines[:, 1] - lines[:, 0]
    squared = np.maximum((way**2).sum(-1), 1e-12)
    along = (((places[:, None] - start) * way).sum(-1) / squared).clip(0, 1)
    return np.hypot(*(places[:, None] - start - along[..., None] * way).transpose(2, 0, 1))


def shared_area(a: Rect, b: Rect) -> float:
    """The overlap area of two rectangles."""
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def points_inside(rect: Rect, points: np.ndarray) -> int:
    """The number of points [M, 2] inside a rectangle."""
    x, y = points[:, 0], points[:, 1]
    return int(((x > rect[0]) & (x < rect[2]) & (y > rect[1]) & (y < rect[3])).sum())


def edge_side(start: str, end: str) -> str:
    """The side of an edge with ends on these sides; an edge between the middle and a side belongs to that side."""
    sides = {start, end} - {"middle"}
    return sides.pop() if len(sides) == 1 else "middle"
