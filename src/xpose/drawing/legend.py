"""The legend of a drawing, which explains its numbers or colours, and where it is placed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from PIL import Image

from xpose.drawing import text
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import Figure, LegendPlace, Rect, shared_area
from xpose.drawing.palette import INK, PAPER, SIDES, Colour

_MANY = 12  # objects; with more, the legend lists their counts
_LARGEST_SHARE = 0.16  # of the picture, for a legend inside it
_NARROWEST = 90  # pixels; a narrower picture gets no legend by default
_SHADE: Colour = (24, 24, 26)


@dataclass(frozen=True)
class LegendEntry:
    """One line: a text with a coloured dot, with a number at a dot, or as a heading; `faint` for an absent point."""

    text: str
    mark: str = ""
    colour: Colour | None = None
    faint: bool = False


@dataclass(frozen=True)
class Legend:
    """Entries in columns, measured."""

    columns: tuple[tuple[LegendEntry, ...], ...]
    size: int
    widths: tuple[float, ...]
    mark_width: float

    @property
    def width(self) -> float:
        """The width with its margins."""
        return sum(self.widths) + self.size * (0.7 * (len(self.columns) - 1) + 1.3)

    @property
    def height(self) -> float:
        """The height with its margins."""
        return text.line_height(self.size) * max(map(len, self.columns)) + 0.8 * self.size

    def paint(self, canvas: Canvas, left: float, top: float) -> None:
        """Write the entries on a dark ground."""
        x = left + 0.65 * self.size
        for column, width in zip(self.columns, self.widths, strict=True):
            y = top + 0.4 * self.size + text.line_height(self.size) / 2
            for entry in column:
                self._entry(canvas, x, y, entry)
                y += text.line_height(self.size)
            x += width + 0.7 * self.size

    def _entry(self, canvas: Canvas, x: float, y: float, entry: LegendEntry) -> None:
        opacity = 0.5 if entry.faint else 1.0
        after = x
        if entry.colour is not None:
            after = x + self.mark_width
            radius = 0.34 * self.size
            dot = (x + radius, y)
            canvas.disc(dot, radius + max(1.0, 0.07 * self.size), PAPER, opacity)
            canvas.disc(dot, radius, entry.colour, opacity)
            if entry.mark:
                number_x = after - 0.4 * self.size
                text.write(canvas, (number_x, y), entry.mark, self.size, PAPER, None, opacity, anchor="right")
        text.write(canvas, (after, y), entry.text, self.size, PAPER, None, opacity)


def entries_for(figures: Sequence[Figure], numbered: bool) -> list[LegendEntry]:
    """The names of numbered points; otherwise the colours of the sides, and the counts of many objects."""
    if numbered:
        return _names(figures)
    entries = []
    if len(figures) > _MANY:
        counts = Counter(figure.title for figure in figures).most_common(8)
        entries = [LegendEntry(f"{number} x {text.clean(title)}") for title, number in counts]
    present = {side for figure in figures for side, v in zip(figure.sides, figure.visibility, strict=True) if v}
    if present - {"middle"}:
        entries += [LegendEntry(side, colour=SIDES[side]) for side in SIDES if side in present]
    return entries


def _names(figures: Sequence[Figure]) -> list[LegendEntry]:
    kinds = list(dict.fromkeys((figure.title, tuple(figure.names)) for figure in figures))
    entries: list[LegendEntry] = []
    for title, names in kinds:
        of_kind = [figure for figure in figures if (figure.title, tuple(figure.names)) == (title, names)]
        if len(kinds) > 1 and names:
            entries.append(LegendEntry(text.clean(title)))
        best = np.stack([figure.visibility for figure in of_kind]).max(0, initial=0)
        for number, (name, side) in enumerate(zip(names, of_kind[0].sides, strict=True), start=1):
            entries.append(LegendEntry(text.clean(name), str(number), SIDES[side], faint=bool(best[number - 1] == 0)))
    return entries


def arranged(entries: Sequence[LegendEntry], size: int, height: float, width: float = math.inf) -> Legend:
    """The entries in as few columns as fit the height, but not wider than `width` if possible."""
    rows = max(1, int((height - 0.8 * size) / text.line_height(size)))
    count = math.ceil(len(entries) / rows)
    legend = _columns(entries, size, count)
    while legend.width > width and count > 1:
        count -= 1
        legend = _columns(entries, size, count)
    return legend


def _columns(entries: Sequence[LegendEntry], size: int, count: int) -> Legend:
    marks = [round(place * len(entries) / count) for place in range(count + 1)]  # columns of about the same length
    columns = tuple(tuple(entries[start:end]) for start, end in pairwise(marks))
    longest = max((len(entry.mark) for entry in entries), default=0)
    mark = size * 1.05 + (text.width("8" * longest, size) + 0.45 * size if longest else 0.0)
    widths = tuple(
        max(text.width(entry.text, size) + (mark if entry.colour is not None else 0.0) for entry in column)
        for column in columns
    )
    return Legend(columns, size, widths, mark)


def _covered(rect: Rect, figures: Sequence[Figure]) -> float:
    """How much a rectangle covers: points, pieces of edges, and to a lesser degree boxes."""
    left, top, right, bottom = rect
    cost = 0.0
    for figure in figures:
        on_edges = [
            (x1 + share * (x2 - x1), y1 + share * (y2 - y1))
            for (x1, y1), (x2, y2) in figure.lines
            for share in (0.2, 0.4, 0.6, 0.8)
        ]
        spots = np.array([*figure.places.values(), *on_edges]).reshape(-1, 2)
        x, y = spots[:, 0], spots[:, 1]
        cost += float(((x > left) & (x < right) & (y > top) & (y < bottom)).sum())
        cost += 0.9 * shared_area(figure.box, rect) / max((right - left) * (bottom - top), 1.0)
    return cost


def place_for(
    legend: Legend, given: LegendPlace, figures: Sequence[Figure], width: int, height: int
) -> Rect | Literal["below", "none"]:
    """Where the legend is placed: the corner where it covers least, below the picture, or nowhere."""
    edge, w, h = 0.4 * legend.size, legend.width, legend.height
    xs, ys = (width - edge - w, edge), (edge, height - edge - h)
    corners = [(x, y, x + w, y + h) for y in ys for x in xs]
    costs = [_covered(corner, figures) for corner in corners]
    if given != "auto" or width < _NARROWEST:
        return "none" if given == "auto" else given
    fits = w + 2 * edge <= width and h + 2 * edge <= height and w * h <= _LARGEST_SHARE * width * height
    return corners[int(np.argmin(costs))] if fits and min(costs) < 0.5 else "below"


def strip_for(entries: Sequence[LegendEntry], size: int, width: int) -> Legend:
    """The entries in as many columns as fit side by side."""
    return arranged(entries, size, height=text.line_height(size) + 0.8 * size, width=width)


def with_strip(picture: Image.Image, legend: Legend) -> Image.Image:
    """The picture over a dark strip with the legend."""
    sheet = Image.new("RGB", (picture.width, picture.height + math.ceil(legend.height)), _SHADE)
    sheet.paste(picture)
    canvas = Canvas(sheet)
    legend.paint(canvas, 0, picture.height)
    return canvas.picture()


def paint_inside(canvas: Canvas, legend: Legend, rect: Rect) -> None:
    """The legend on a dark panel."""
    canvas.panel(rect, 0.45 * legend.size, INK, 0.78)
    legend.paint(canvas, rect[0], rect[1])
