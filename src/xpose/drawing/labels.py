"""The words on a drawing: labels at boxes, numbers at points, and the legend, which explains numbers or colours."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from xpose.drawing import text
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import (
    INK,
    PAPER,
    SIDES,
    Colour,
    Figure,
    LegendPlace,
    Place,
    Rect,
    distance_to_line,
    shared_area,
)

_MANY = 12  # objects; with more, labels without room are omitted, and the legend lists counts
_LARGEST_SHARE = 0.16  # of the picture, for a legend inside it
_NARROWEST = 90  # pixels; a narrower picture gets no legend by default
_DIRECTIONS = [(math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)) for k in range(16)]


def write_labels(
    canvas: Canvas, figures: Sequence[Figure], colours: Sequence[Colour], size: int, taken: list[Rect]
) -> None:
    """Write category and score at each box, best first, avoiding `taken` places."""
    points = np.concatenate([figure.seen for figure in figures]) if figures else np.zeros((0, 2))
    many = len(figures) > _MANY
    for figure, colour in zip(figures, colours, strict=True):
        spot = _spot(figure, size, canvas, points, taken, many)
        if spot is None:
            continue
        words, rect = spot
        taken.append(rect)
        left, top, _, bottom = rect
        ink = PAPER if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] < 140 else INK
        canvas.panel(rect, 0.25 * size, colour, 0.9)
        text.write(canvas, (left + 0.35 * size, (top + bottom) / 2), words, size, ink, colour)


def _spot(
    figure: Figure, size: int, canvas: Canvas, points: np.ndarray, taken: Sequence[Rect], many: bool
) -> tuple[str, Rect] | None:
    """The longest label that fits, at the place where it covers least; None if many objects leave no room."""
    title, score = text.clean(figure.title, 28), "" if figure.score is None else f"{figure.score:.2f}"
    wordings = list(filter(None, (" ".join(filter(None, (title, score))), score)))
    wide = figure.box[2] - figure.box[0]
    best: tuple[float, str, Rect] | None = None
    for words in wordings:
        width = text.width(words, size) + 0.7 * size
        if many and words != score and width > 1.4 * wide:
            continue
        for rank, rect in enumerate(_rects(figure.box, width, 1.3 * size, canvas)):
            covers = sum(shared_area(rect, other) for other in taken) / (width * 1.3 * size)
            hides = _inside(rect, points) / 4
            cost = 4.0 * covers + hides + 0.05 * rank
            if best is None or cost < best[0]:
                best = (cost, words, rect)
        if best is not None and best[0] < 1.0:
            break
    if best is None or (many and best[0] >= 2.0):
        return None
    return best[1], best[2]


def _rects(box: Rect, width: float, height: float, canvas: Canvas) -> list[Rect]:
    """Places for a label at a box within the picture, preferred ones first."""
    x1, y1, x2, y2 = box
    corners = [
        *((x1, y1 - height), (x2 - width, y1 - height), (x1, y1), (x2 - width, y1)),
        *((x1, y2), (x2 - width, y2), (x1, y2 - height), (x2 - width, y2 - height)),
    ]
    rects = []
    for x, y in corners:
        x, y = min(max(x, 0.0), max(canvas.width - width, 0.0)), min(max(y, 0.0), max(canvas.height - height, 0.0))
        rects.append((float(round(x)), float(round(y)), round(x) + width, round(y) + height))
    return rects


def _inside(rect: Rect, points: np.ndarray) -> int:
    x, y = points[:, 0], points[:, 1]
    return int(((x > rect[0]) & (x < rect[2]) & (y > rect[1]) & (y < rect[3])).sum())


def write_numbers(canvas: Canvas, figures: Sequence[Figure], radii: Sequence[float], size: int) -> list[Rect]:
    """Write a number beside each point that is present, in the colour of its side; returns the occupied places."""
    written: list[Place] = []
    for figure, radius in zip(figures, radii, strict=True):
        places, lines = figure.places, figure.lines
        for number, (name, side) in enumerate(zip(figure.names, figure.sides, strict=True), start=1):
            if name not in places:
                continue
            others = np.array([place for other, place in places.items() if other != name] + written).reshape(-1, 2)
            spot = _free_spot(places[name], others, lines, radius, size, canvas, wide=number > 9)
            written.append(spot)
            text.write(canvas, spot, str(number), size, SIDES[side], PAPER, anchor="middle")
    half = 0.6 * size
    return [(x - half, y - half, x + half, y + half) for x, y in written]


def _free_spot(
    point: Place,
    others: np.ndarray,
    lines: Sequence[tuple[Place, Place]],
    radius: float,
    size: int,
    canvas: Canvas,
    wide: bool,
) -> Place:
    """A place beside the point and away from other points, numbers and edges; farther off only if much clearer."""
    best, most = point, -math.inf
    for far in (1.0, 1.7, 2.4):
        for dx, dy in _DIRECTIONS:
            reach = radius + 0.7 * far * size
            x, y = point[0] + dx * reach * (1.15 if wide else 1.0), point[1] + dy * reach
            if not (size / 2 <= x <= canvas.width - size / 2 and size / 2 <= y <= canvas.height - size / 2):
                continue
            free = min(np.hypot(others[:, 0] - x, others[:, 1] - y).min(initial=9.0 * size), 1.6 * size)
            free += 0.7 * min((distance_to_line((x, y), *line) for line in lines), default=9.0 * size) if lines else 0.0
            free = min(free, 2.6 * size) - 0.55 * (far - 1.0) * size
            if free > most:
                best, most = (x, y), free
    return best


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
    def width(self) -> float:
        """The width with its margins."""
        return sum(self.widths) + self.size * (0.7 * (len(self.columns) - 1) + 1.3)

    @property
    def height(self) -> float:
        """The height with its margins."""
        return text.LINE * self.size * max(map(len, self.columns)) + 0.8 * self.size

    def paint(self, canvas: Canvas, left: float, top: float) -> None:
        """Write entries for a dark background."""
        x = left + 0.65 * self.size
        for column, width in zip(self.columns, self.widths, strict=True):
            y = top + 0.4 * self.size + text.LINE * self.size / 2
            for entry in column:
                self._entry(canvas, x, y, entry)
                y += text.LINE * self.size
            x += width + 0.7 * self.size

    def _entry(self, canvas: Canvas, x: float, y: float, entry: LegendEntry) -> None:
        opacity, radius = 0.5 if entry.faint else 1.0, 0.34 * self.size
        if entry.colour is not None:
            canvas.disc((x + radius, y), radius + max(1.0, 0.07 * self.size), PAPER, opacity)
            canvas.disc((x + radius, y), radius, entry.colour, opacity)
            x += self.mark_width
            mark = (x - 0.4 * self.size, y)
            text.write(canvas, mark, entry.mark, self.size, PAPER, None, opacity, anchor="right")
        text.write(canvas, (x, y), entry.text, self.size, PAPER, None, opacity)


def entries_for(figures: Sequence[Figure], numbered: bool) -> list[LegendEntry]:
    """The names of points if numbered, otherwise the side colours, and counts if there are many objects."""
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
    kinds: dict[tuple[str, tuple[str, ...]], list[Figure]] = {}
    for figure in figures:
        kinds.setdefault((figure.title, tuple(figure.names)), []).append(figure)
    entries: list[LegendEntry] = []
    for (title, names), of_kind in kinds.items():
        if len(kinds) > 1 and names:
            entries.append(LegendEntry(text.clean(title)))
        best = np.stack([figure.visibility for figure in of_kind]).max(0, initial=0)
        for number, (name, side) in enumerate(zip(names, of_kind[0].sides, strict=True), start=1):
            entries.append(LegendEntry(text.clean(name), str(number), SIDES[side], faint=bool(best[number - 1] == 0)))
    return entries


def arranged(entries: Sequence[LegendEntry], size: int, height: float, width: float = math.inf) -> Legend:
    """The entries in as few columns as fit the height, but not wider than `width` if possible."""
    rows = max(1, int((height - 0.8 * size) / (text.LINE * size)))
    for count in range(max(1, math.ceil(len(entries) / rows)), 0, -1):
        legend = _columns(entries, size, count)
        if legend.width <= width:
            break
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
        cost += _inside(rect, np.array([*figure.places.values(), *on_edges]).reshape(-1, 2))
        cost += 0.9 * shared_area(figure.box, rect) / max((right - left) * (bottom - top), 1.0)
    return cost


def place_for(
    legend: Legend, given: LegendPlace, figures: Sequence[Figure], width: int, height: int
) -> Rect | Literal["below", "none"]:
    """Where the legend is placed: the corner where it covers least, below the picture, or nowhere."""
    if given != "auto" or width < _NARROWEST:
        return "none" if given == "auto" else given
    edge, w, h = 0.4 * legend.size, legend.width, legend.height
    xs, ys = (width - edge - w, edge), (edge, height - edge - h)
    corners = [(x, y, x + w, y + h) for y in ys for x in xs]
    costs = [_covered(corner, figures) for corner in corners]
    fits = w + 2 * edge <= width and h + 2 * edge <= height and w * h <= _LARGEST_SHARE * width * height
    return corners[int(np.argmin(costs))] if fits and min(costs) < 0.5 else "below"


def strip_for(entries: Sequence[LegendEntry], size: int, width: int) -> Legend:
    """The entries in as many columns as fit side by side."""
    return arranged(entries, size, height=text.LINE * size + 0.8 * size, width=width)
