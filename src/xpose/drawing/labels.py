"""The words at objects: labels at boxes, and numbers at points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xpose.drawing import text
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import (
    INK,
    PAPER,
    SIDES,
    Colour,
    Figure,
    Place,
    Rect,
    distances_to_lines,
    points_inside,
    shared_area,
)

_MANY = 12  # objects; with more, labels without room are omitted
_DIRECTIONS = np.array([(math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)) for k in range(16)])
_FAR = np.array((1.0, 1.7, 2.4))  # distances of a number from its point


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
    """The longest label that fits, at the place where it covers least; None if the picture or many objects leave no
    room.
    """
    title, score = text.clean(figure.title, 28), "" if figure.score is None else f"{figure.score:.2f}"
    wordings = list(filter(None, (" ".join(filter(None, (title, score))), score)))
    wide = figure.box[2] - figure.box[0]
    best: tuple[float, str, Rect] | None = None
    for words in wordings:
        width, height = text.width(words, size) + 0.7 * size, 1.3 * size
        if width > canvas.width or height > canvas.height / 4 or (many and words != score and width > 1.4 * wide):
            continue
        for rank, rect in enumerate(_rects(figure.box, width, height, canvas)):
            covers = sum(shared_area(rect, other) for other in taken) / (width * height)
            hides = points_inside(rect, points) / 4
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
    reach = radius + 0.7 * size * _FAR[:, None, None]
    x, y = ((point + reach * _DIRECTIONS * (1.15 if wide else 1.0, 1.0)).reshape(-1, 2)).T
    on_canvas = (np.minimum(x, canvas.width - x) >= size / 2) & (np.minimum(y, canvas.height - y) >= size / 2)
    if not on_canvas.any():
        return point
    places = np.stack((x, y), 1)
    free = np.hypot(*(places[:, None] - others).transpose(2, 0, 1)).min(axis=1, initial=1.6 * size)
    if lines:
        free = free + 0.7 * distances_to_lines(places, np.array(lines)).min(axis=1)
    free = np.minimum(free, 2.6 * size) - 0.55 * size * (_FAR - 1).repeat(len(_DIRECTIONS))
    best = int(np.where(on_canvas, free, -np.inf).argmax())
    return float(x[best]), float(y[best])
