"""What a drawn object is made of: coloured polygons, back to front, and named points in the same coordinates.

A figure is about one unit high and stands round the origin, x to the right and y down.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

Colour = tuple[int, int, int]
Place = tuple[float, float]


@dataclass
class Figure:
    """Shapes from back to front, points by name, and the points that the figure itself hides."""

    shapes: list[tuple[np.ndarray, Colour]] = field(default_factory=list)
    points: dict[str, Place] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)

    def polygon(self, corners: Sequence[Place] | np.ndarray, colour: Colour) -> None:
        """Add a filled polygon."""
        self.shapes.append((np.asarray(corners, dtype=float), colour))

    def limb(self, start: Place, end: Place, width: float, colour: Colour, end_width: float | None = None) -> None:
        """Add a rounded bar from one place to another, `width` thick, perhaps tapering."""
        first, second = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        along = second - first
        angle = float(np.arctan2(along[1], along[0]))
        turns = np.linspace(np.pi / 2, 3 * np.pi / 2, 9)
        radius = (width if end_width is None else end_width) / 2
        self.polygon(
            np.concatenate(
                [
                    first + width / 2 * np.stack([np.cos(turns + angle), np.sin(turns + angle)], axis=1),
                    second + radius * np.stack([np.cos(turns + angle + np.pi), np.sin(turns + angle + np.pi)], axis=1),
                ]
            ),
            colour,
        )

    def ellipse(self, middle: Place, radii: Place, colour: Colour, angle: float = 0.0) -> None:
        """Add an ellipse, turned by `angle` (radians)."""
        self.polygon(ellipse(middle, radii, angle), colour)

    def curve(self, places: np.ndarray, width: float, colour: Colour) -> None:
        """Add a bent line through the places."""
        for start, end in pairwise(places):
            self.limb(tuple(start), tuple(end), width, colour)

    def moved(self, matrix: np.ndarray, shift: np.ndarray) -> Figure:
        """The figure turned and scaled by a 2x2 matrix, then shifted."""
        shapes = [(corners @ matrix.T + shift, colour) for corners, colour in self.shapes]
        places = {name: np.asarray(place) @ matrix.T + shift for name, place in self.points.items()}
        return Figure(shapes, {name: (float(x), float(y)) for name, (x, y) in places.items()}, set(self.hidden))


def ellipse(middle: Place, radii: Place, angle: float = 0.0, count: int = 28) -> np.ndarray:
    """The outline of an ellipse."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    flat = np.stack([radii[0] * np.cos(turns), radii[1] * np.sin(turns)], axis=1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned: np.ndarray = flat @ turn.T + np.asarray(middle)
    return turned


def colour(
    rng: np.random.Generator, saturation: tuple[float, float] = (0.3, 0.9), value: Place = (0.35, 0.95)
) -> Colour:
    """A random colour within bounds of saturation and brightness."""
    return from_hsv(rng.uniform(0, 1), rng.uniform(*saturation), rng.uniform(*value))


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue (any number, whole turns do not matter), saturation and brightness."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(base: Colour, factor: float) -> Colour:
    """The colour made darker (below 1) or lighter (above 1)."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in base)
    return red, green, blue
