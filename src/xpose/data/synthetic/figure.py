"""The elements of drawn pictures: figures (coloured polygons with named points), colours and textured backgrounds.

A figure is about one unit high and centred on the origin, x to the right and y down.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from xpose.records import Box

Colour = tuple[int, int, int]
Place = tuple[float, float] | np.ndarray


@dataclass
class PolygonFigure:
    """Shapes from back to front, points by name, and the points hidden by the figure itself."""

    shapes: list[tuple[np.ndarray, Colour]] = field(default_factory=list)
    points: dict[str, Place] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)

    def polygon(self, corners: Sequence[Place] | np.ndarray, colour: Colour) -> None:
        """Add a filled polygon."""
        self.shapes.append((np.asarray(corners, dtype=float), colour))

    def limb(self, start: Place, end: Place, width: float, colour: Colour, end_width: float | None = None) -> None:
        """Add a rounded bar from one place to another, `width` thick, or tapering."""
        first, second = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        along = second - first
        angle = float(np.arctan2(along[1], along[0]))
        turns = np.linspace(np.pi / 2, 3 * np.pi / 2, 9)
        radius = (width if end_width is None else end_width) / 2
        start_cap = first + width / 2 * np.stack([np.cos(turns + angle), np.sin(turns + angle)], axis=1)
        end_cap = second + radius * np.stack([np.cos(turns + angle + np.pi), np.sin(turns + angle + np.pi)], axis=1)
        self.polygon(np.concatenate([start_cap, end_cap]), colour)

    def ellipse(self, middle: Place, radii: Place, colour: Colour, angle: float = 0.0) -> None:
        """Add an ellipse, turned by `angle` (radians)."""
        self.polygon(ellipse(middle, radii, angle), colour)

    def curve(self, places: np.ndarray, width: float, colour: Colour) -> None:
        """Add a bent line through the places."""
        for start, end in pairwise(places):
            self.limb(start, end, width, colour)

    def moved(self, matrix: np.ndarray, shift: np.ndarray) -> PolygonFigure:
        """The figure turned and scaled by a 2x2 matrix, then shifted."""
        shapes = [(corners @ matrix.T + shift, colour) for corners, colour in self.shapes]
        places = {name: (np.asarray(place) @ matrix.T + shift).tolist() for name, place in self.points.items()}
        return PolygonFigure(shapes, places, set(self.hidden))


def ellipse(middle: Place, radii: Place, angle: float = 0.0, count: int = 28) -> np.ndarray:
    """The outline of an ellipse."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    flat = np.stack([radii[0] * np.cos(turns), radii[1] * np.sin(turns)], axis=1)
    return np.asarray(flat @ rotation(angle).T + np.asarray(middle))


def box_of_mask(mask: np.ndarray, smoothing: int = 1) -> Box:
    """The box (x, y, width, height) of the pixels in a mask that was drawn `smoothing` times larger."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    sides = columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    left, top, width, height = (float(side) / smoothing for side in sides)
    return left, top, width, height


def rotation(angle: float) -> np.ndarray:
    """The 2x2 matrix that turns by `angle` (radians)."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A random colour within bounds of saturation and brightness."""
    return from_hsv(rng.uniform(0, 1), rng.uniform(*saturation), rng.uniform(*value))


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue (any number, modulo 1), saturation and brightness."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(base: Colour, factor: float) -> Colour:
    """The colour made darker (below 1) or lighter (above 1)."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in base)
    return red, green, blue


def draw_background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A background of size (width, height): noise, stripes, tiles or a gradient, with random shapes."""
    width, height = size
    first, second = (np.array(colour(rng, (0.05, 0.6), (0.15, 0.95))) for _ in range(2))
    mix = _pattern(rng, width, height)
    mix = np.clip(mix + 0.35 * (noise(rng, width, height) - 0.5), 0, 1)[..., None]
    image = Image.fromarray((first * (1 - mix) + second * mix).astype(np.uint8))
    brush = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 9))):
        _clutter(rng, brush, width, height)
    return image


def noise(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Smooth noise of several scales, 0 to 1, as an array (height, width)."""
    total, weight = np.zeros((height, width)), 0.0
    for cells in (3, 8, 24, 72):
        rows = max(2, round(cells * height / max(width, height)))
        columns = max(2, round(cells * width / max(width, height)))
        grid = Image.fromarray(rng.integers(0, 256, (rows, columns), dtype=np.uint8))
        part = float(rng.uniform(0.2, 1.0))
        total += part * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), dtype=float) / 255
        weight += part
    return total / weight


def _pattern(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    period = rng.uniform(0.04, 0.25) * max(width, height)
    kind = rng.integers(4)
    if kind == 0:
        return noise(rng, width, height)
    if kind == 1:
        return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * along / period))
    if kind == 2:
        return ((along // period + across // period) % 2).astype(float)
    return np.asarray((along - along.min()) / max(float(np.ptp(along)), 1.0))


def _clutter(rng: np.random.Generator, brush: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """A shape without keypoints, so that a network cannot take every shape for an object."""
    middle = rng.uniform(0, 1, 2) * (width, height)
    size = rng.uniform(0.02, 0.2) * max(width, height)
    corners = [tuple(middle + size * rng.uniform(-1, 1, 2)) for _ in range(int(rng.integers(2, 6)))]
    paint = colour(rng, (0.05, 0.8), (0.1, 0.95))
    if len(corners) == 2:
        brush.line([*corners[0], *corners[1]], fill=paint, width=max(1, round(size / 10)))
    elif rng.uniform() < 0.4:
        reach = size * rng.uniform(0.3, 1.0, 2)
        brush.ellipse([*(middle - reach), *(middle + reach)], fill=paint)
    else:
        brush.polygon([float(value) for corner in corners for value in corner], fill=paint)
