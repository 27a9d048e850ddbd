"""The legend of a drawing: the names of the keypoints, or the colours of the sides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter

import numpy as np

from xpose.drawing import text
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import (
    PAPER,
    SIDES,
    Colour,
    Figure,
    FigureClass,
    Rect,
    points_inside,
    shared_area,
)

_MOST_NAMES = 34  # in a legend; with more keypoints, it explains colours
_LARGEST_SHARE = 0.25  # of the picture, for a legend inside it
_HIGHEST = 0.3  # of a legend below the picture, relative to it
_DOT = 1.05  # width of a dot and its gap, relative to the size of letters


@dataclass(frozen=True)
class LegendEntry:
    """One line: text with a coloured dot, with a numbered dot, or as a heading; `faint` for an absent point."""

    text: str
    mark: str = ""
    colour: Colour | None = None
    faint: bool = False


@dataclass(frozen=True)
class Legend:
    """Entries in measured columns."""

    columns: tuple[tuple[LegendEntry, ...], ...]
    size: int
    widths: tuple[float, ...]
    mark_width: float

    @property
    def names_points(self) -> bool:
        """Whether it has the numbered names of keypoints."""
        return any(entry.mark for column in self.columns for entry in column)

    @property
    def width(self) -> float:
        """The width with its margins."""
        return sum(self.widths) + self.size * (0.7 * (len(self.columns) - 1) + 1.3)

    @property
    def height(self) -> float:
        """The height with its margins."""
        return text.LINE * self.size * max(map(len, self.columns)) + 0.8 * self.size

    def paint(self, canvas: Canvas, left: float, top: float, numbered: bool) -> None:
        """Write the entries for a dark background, with or without their numbers."""
        x = left + 0.65 * self.size
        for column, width in zip(self.columns, self.widths, strict=True):
            y = top + 0.4 * self.size + text.LINE * self.size / 2
            for entry in column:
                self._entry(canvas, x, y, entry, numbered)
                y += text.LINE * self.size
            x += width + 0.7 * self.size

    def _entry(self, canvas: Canvas, x: float, y: float, entry: LegendEntry, numbered: bool) -> None:
        opacity, radius = 0.5 if entry.faint else 1.0, 0.34 * self.size
        if entry.colour is not None:
            canvas.disc((x + radius, y), radius + max(1.0, 0.07 * self.size), PAPER, opacity)
            canvas.disc((x + radius, y), radius, entry.colour, opacity)
            x += self.mark_width if numbered else _DOT * self.size
            if numbered:
                mark = (x - 0.4 * self.size, y)
                text.write(canvas, mark, entry.mark, self.size, PAPER, None, opacity, anchor="right")
        text.write(canvas, (x, y), entry.text, self.size, PAPER, None, opacity)


def legend_below(
    classes: Sequence[FigureClass], figures: Sequence[Figure], area: tuple[int, int], size: int
) -> Legend | None:
    """The legend below a picture of this width and height: with names if they fit, otherwise with colours.

    Whether there is one, and its size, depend only on the classes and the area, and not on what was detected: pictures
    of equal size get drawings of equal size.
    """
    for entries in _choices(classes, figures):
        legend = arranged(entries, size, (text.LINE + 0.8) * size, area[0])  # as many columns as fit
        if legend.width <= area[0] and legend.height <= _HIGHEST * area[1]:
            return legend
    return None


def legend_inside(
    classes: Sequence[FigureClass], figures: Sequence[Figure], area: tuple[int, int], size: int, numbered: bool
) -> tuple[Legend, Rect] | None:
    """The legend in the corner where it covers least, and its place: with names if points can be numbered and none is
    covered, otherwise with colours.
    """
    width, height = area
    for entries in _choices(classes, figures) if numbered else filter(None, [side_entries(classes)]):
        legend = arranged(entries, size, 0.8 * height)
        covered, corner = min(_corners(legend, figures, width, height), key=itemgetter(0))
        fits = min(corner[:2]) >= 0 and legend.width * legend.height <= _LARGEST_SHARE * width * height
        if fits and (covered < 1 or not legend.names_points):
            return legend, corner
    return None


def _choices(classes: Sequence[FigureClass], figures: Sequence[Figure]) -> Iterator[list[LegendEntry]]:
    few = sum(len(names) for names, _ in _titles(classes)) <= _MOST_NAMES
    yield from filter(None, (name_entries(classes, figures) if few else [], side_entries(classes)))


def name_entries(classes: Sequence[FigureClass], figures: Sequence[Figure]) -> list[LegendEntry]:
    """The numbered keypoints of each class, once for classes with the same; those that no figure shows are faint."""
    present = {(figure.title, name) for figure in figures for name in figure.places}
    titles = _titles(classes)
    entries: list[LegendEntry] = []
    for (names, sides), of_names in titles.items():
        if len(titles) > 1:
            entries.append(LegendEntry(text.clean(", ".join(of_names))))
        for number, (name, side) in enumerate(zip(names, sides, strict=True), start=1):
            faint = not any((title, name) in present for title in of_names)
            entries.append(LegendEntry(text.clean(name), str(number), SIDES[side], faint))
    return entries


def _titles(classes: Sequence[FigureClass]) -> dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]]:
    """The classes of each list of keypoints and their sides, without those that have only a box."""
    titles: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for kind in classes:
        if kind.names:
            titles.setdefault((kind.names, kind.sides), []).append(kind.title)
    return titles


def side_entries(classes: Sequence[FigureClass]) -> list[LegendEntry]:
    """The colours of the sides; none if all keypoints are in the middle."""
    sides = {side for kind in classes for side in kind.sides}
    return [LegendEntry(side, colour=SIDES[side]) for side in SIDES if side in sides] if sides - {"middle"} else []


def arranged(entries: Sequence[LegendEntry], size: int, height: float, width: float = math.inf) -> Legend:
    """The entries in as few columns as fit the height, but not wider than `width` if possible."""
    rows = max(1, int((height - 0.8 * size) / (text.LINE * size)))
    for count in range(max(1, math.ceil(len(entries) / rows)), 0, -1):
        legend = _columns(entries, size, count)
        if legend.width <= width:
            break
    return legend


def _columns(entries: Sequence[LegendEntry], size: int, count: int) -> Legend:
    rows, longer = divmod(len(entries), count)  # the first columns are one longer
    marks = accumulate((rows + (column < longer) for column in range(count)), initial=0)
    columns = tuple(tuple(entries[start:end]) for start, end in pairwise(marks))
    longest = max((len(entry.mark) for entry in entries), default=0)
    mark = size * _DOT + (text.width("8" * longest, size) + 0.45 * size if longest else 0.0)
    widths = tuple(
        max(text.width(entry.text, size) + (mark if entry.colour is not None else 0.0) for entry in column)
        for column in columns
    )
    return Legend(columns, size, widths, mark)


def _corners(legend: Legend, figures: Sequence[Figure], width: int, height: int) -> Iterator[tuple[float, Rect]]:
    """The four places in the corners, each with how much it covers; preferred ones first."""
    edge, w, h = 0.4 * legend.size, legend.width, legend.height
    for y in (edge, height - edge - h):
        for x in (width - edge - w, edge):
            around = (x - legend.size, y - legend.size, x + w + legend.size, y + h + legend.size)  # for their numbers
            yield _covered(around, figures), (x, y, x + w, y + h)


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
        cost += points_inside(rect, np.array([*figure.places.values(), *on_edges]).reshape(-1, 2))
        cost += 0.9 * shared_area(figure.box, rect) / max((right - left) * (bottom - top), 1.0)
    return cost
