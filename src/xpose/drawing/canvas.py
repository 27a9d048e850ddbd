"""A canvas for smooth lines, discs, frames and panels of any opacity.

Pillow draws without smoothing or opacity, and drawing at a larger size and reducing takes seconds at 4K. Here the
coverage is computed for each pixel that a shape touches.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from xpose.drawing.figures import Colour, Place, Rect


class Canvas:
    """RGB bytes [height, width, 3] that shapes are blended into; x to the right, y down, pixel 0 spans 0 to 1."""

    def __init__(self, picture: Image.Image) -> None:
        self.pixels = np.array(picture.convert("RGB"))
        self.height, self.width = self.pixels.shape[:2]

    def picture(self) -> Image.Image:
        """A copy as a picture."""
        return Image.fromarray(self.pixels)

    def blend(self, left: int, top: int, cover: np.ndarray, colour: Colour) -> None:
        """Blend in a colour at (left, top) with the opacities `cover` [h, w] in 0..1, clipped to the canvas."""
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + cover.shape[1], self.width), min(top + cover.shape[0], self.height)
        if x0 >= x1 or y0 >= y1:
            return
        share = cover[y0 - top : y1 - top, x0 - left : x1 - left, None].astype(np.float32)
        below = self.pixels[y0:y1, x0:x1]
        below[:] = (below + (np.asarray(colour, np.float32) - below) * share + 0.5).astype(np.uint8)

    def line(self, start: Place, end: Place, radius: float, colour: Colour, opacity: Place = (1.0, 1.0)) -> None:
        """Draw a line with round ends and this radius; `opacity` has a value for each end."""
        part = _inside(start, end, (-radius, -radius, self.width + radius, self.height + radius))
        if part is None:
            return
        (ax, ay), (bx, by) = (tuple(s + t * (e - s) for s, e in zip(start, end, strict=True)) for t in part)
        first, last = (opacity[0] + t * (opacity[1] - opacity[0]) for t in part)
        reach = radius + 1
        step = max(16, math.ceil(2 * reach))
        top, bottom = _span(min(ay, by) - reach, max(ay, by) + reach, self.height)
        for y0 in range(top, bottom, step):  # bands, so that a long diagonal does not need its whole rectangle
            y1 = min(y0 + step, bottom)
            near = _inside((ax, ay), (bx, by), (-math.inf, y0 - reach, math.inf, y1 + reach))
            if near is None:
                continue
            xs = [ax + t * (bx - ax) for t in near]
            x0, x1 = _span(min(xs) - reach, max(xs) + reach, self.width)
            x, y = np.arange(x0, x1) + 0.5 - ax, (np.arange(y0, y1) + 0.5 - ay)[:, None]
            dx, dy = bx - ax, by - ay
            along = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-9)).clip(0, 1)
            distance = np.hypot(x - along * dx, y - along * dy)
            self.blend(x0, y0, _edge(radius - distance, radius) * (first + along * (last - first)), colour)

    def disc(self, centre: Place, radius: float, colour: Colour, opacity: float = 1.0, hole: float = 0.0) -> None:
        """Draw a disc, or a ring with inner radius `hole`."""
        reach = radius + 1
        x0, x1 = _span(centre[0] - reach, centre[0] + reach, self.width)
        y0, y1 = _span(centre[1] - reach, centre[1] + reach, self.height)
        distance = np.hypot(np.arange(x0, x1) + 0.5 - centre[0], (np.arange(y0, y1) + 0.5 - centre[1])[:, None])
        cover = _edge(radius - distance, radius)
        if hole > 0:
            cover = cover * (1 - _edge(hole - distance, hole))
        self.blend(x0, y0, cover * opacity, colour)

    def frame(self, box: Rect, radius: float, colour: Colour, opacity: float = 1.0, dash: float | None = None) -> None:
        """Draw a box outline that extends `radius` to each side, with dashes of about the length `dash` if given."""
        left, top, right, bottom = _tame(box, self.width, self.height)
        xs = _bands(left - radius, left + radius, right - radius, right + radius, self.width)
        ys = _bands(top - radius, top + radius, bottom - radius, bottom + radius, self.height)
        for row, (y0, y1) in enumerate(ys):
            for column, (x0, x1) in enumerate(xs):
                if (row, column) == (1, 1):
                    continue
                outer, inner = (
                    np.outer(_cover(top - edge, bottom + edge, y0, y1), _cover(left - edge, right + edge, x0, x1))
                    for edge in (radius, -radius)
                )
                cover = (outer - inner) * opacity
                if dash is not None and column == 1:
                    cover = cover * _dashes(left, right, x0, x1, dash)
                if dash is not None and row == 1:
                    cover = cover * _dashes(top, bottom, y0, y1, dash)[:, None]
                self.blend(x0, y0, cover, colour)

    def panel(self, rect: Rect, corner: float, colour: Colour, opacity: float) -> None:
        """Fill a rectangle with round corners."""
        left, top, right, bottom = _tame(rect, self.width, self.height)
        x0, x1 = _span(left, right, self.width)
        y0, y1 = _span(top, bottom, self.height)
        corner = min(corner, (right - left) / 2, (bottom - top) / 2)
        x, y = np.arange(x0, x1) + 0.5, (np.arange(y0, y1) + 0.5)[:, None]
        beyond_x = np.maximum(left + corner - x, x - right + corner).clip(0)
        beyond_y = np.maximum(top + corner - y, y - bottom + corner).clip(0)
        cover = np.outer(_cover(top, bottom, y0, y1), _cover(left, right, x0, x1))
        cover = cover * (corner - np.hypot(beyond_x, beyond_y) + 0.5).clip(0, 1) if corner > 0.5 else cover
        self.blend(x0, y0, cover * opacity, colour)


def _edge(depth: np.ndarray, radius: float) -> np.ndarray:
    """The coverage of a pixel whose centre is `depth` inside a shape; thin shapes never cover it completely."""
    return (depth + 0.5).clip(0, min(1.0, 2 * radius))


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """The existing pixels from `low` to `high`."""
    return math.floor(min(max(low, 0), size)), math.ceil(min(max(high, 0), size))


def _bands(a: float, b: float, c: float, d: float, size: int) -> list[tuple[int, int]]:
    """The pixels of a..b, those up to c, and those up to d, without overlaps."""
    start, first_end = _span(a, b, size)
    last_start, end = _span(c, d, size)
    last_start = max(first_end, last_start)
    return [(start, first_end), (first_end, last_start), (last_start, max(end, last_start))]


def _cover(low: float, high: float, start: int, end: int) -> np.ndarray:
    """The share of each pixel from `start` to `end` that is between `low` and `high`."""
    pixels = np.arange(start, end)
    return (np.minimum(pixels + 1, high) - np.maximum(pixels, low)).clip(0, 1)


def _dashes(low: float, high: float, start: int, end: int, dash: float) -> np.ndarray:
    """The share of each pixel from `start` to `end` that dashes cover, on a side from `low` to `high`."""
    periods = max(1, round((high - low) / (2 * dash)))  # whole ones, so that both ends are covered
    period = max(high - low, 1e-9) / periods
    place = (np.arange(start, end) + 0.5 - low) / period
    distance = np.abs(place - np.round(place)) * period  # from the middle of the nearest dash
    return (period / 4 - distance + 0.5).clip(0, 1)


def _tame(rect: Rect, width: int, height: int) -> Rect:
    """Move rectangle sides that are far outside the picture closer to it, where they remain invisible."""
    sides = np.array((width, height, width, height))
    left, top, right, bottom = np.clip(rect, -9.0 * sides, 10.0 * sides).tolist()
    return left, top, right, bottom


def _inside(start: Place, end: Place, rect: Rect) -> Place | None:
    """The fractions of a line at which it enters and leaves a rectangle (Liang-Barsky method), or None."""
    enter, leave = 0.0, 1.0
    for axis in (0, 1):
        origin, way = start[axis], end[axis] - start[axis]
        low, high = rect[axis], rect[axis + 2]
        if way == 0:
            if not low <= origin <= high:
                return None
            continue
        a, b = sorted(((low - origin) / way, (high - origin) / way))
        enter, leave = max(enter, a), min(leave, b)
    return (enter, leave) if enter <= leave else None
