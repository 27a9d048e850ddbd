"""Poses on a picture: boxes, skeletons in the colours of their sides, labels and a legend.

Each point and edge has a white rim, so it is visible on dark and light backgrounds. Less certain points are fainter.
Strokes and letters scale with the picture, and are smaller on small objects and for points that are close together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from xpose.drawing import figures as sizes
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import INK, PAPER, SIDES, Colour, Figure, FigureClass, Style, edge_side
from xpose.drawing.labels import write_labels, write_numbers
from xpose.drawing.legend import legend_below, legend_inside

_FEW = 3  # objects; with more, only the best one gets numbers
_LEGEND_SIZE = 0.85  # of its letters, relative to those of labels
_FAINTEST = 0.35  # opacity of a present point with confidence 0
_DASH = 14  # length of a dash relative to the line's radius
_SHADE: Colour = (24, 24, 26)  # of the legend strip

__all__ = ["Figure", "FigureClass", "Style", "draw_figures"]


def draw_figures(
    picture: Image.Image,
    figures: Sequence[Figure],
    style: Style | None = None,
    classes: Sequence[FigureClass] | None = None,
) -> Image.Image:
    """A copy of the picture with the figures (best first) drawn on it, the best on top.

    The legend explains `classes`, by default those of the figures. A legend below makes the copy taller, by an amount
    that depends only on the classes and on the picture's size.
    """
    style = style or Style()
    classes = list(dict.fromkeys(figure.kind for figure in figures)) if classes is None else classes
    canvas = Canvas(picture)
    width, size = style.line_width, sizes.text_size(*picture.size)
    largest = sizes.picture_radius(*picture.size) if width is None else width
    radii = [sizes.point_radius(figure, largest) if width is None else width for figure in figures]
    colours = sizes.instance_colours(len(figures))
    if style.boxes:
        for figure, colour in reversed(list(zip(figures, colours, strict=True))):
            draw_box(canvas, figure, colour, largest)
    for figure, radius in reversed(list(zip(figures, radii, strict=True))):
        draw_edges(canvas, figure, radius)
        draw_points(canvas, figure, radius)
    if style.errors:
        for figure in figures:
            _draw_errors(canvas, figure)
    rows, letters = _numbered(figures, size), max(9, round(_LEGEND_SIZE * size))
    legend, corner = None, None
    if style.legend == "below":
        legend = legend_below(classes, figures, picture.size, letters)
    elif style.legend == "inside":
        legend, corner = legend_inside(classes, figures, picture.size, letters, bool(rows)) or (None, None)
    if legend is None or not legend.names_points:
        rows = []
    taken = write_numbers(canvas, [figures[row] for row in rows], [radii[row] for row in rows], _number_size(size))
    if legend is not None and corner is not None:
        canvas.panel(corner, 0.45 * size, INK, 0.78)
        legend.paint(canvas, *corner[:2], numbered=bool(rows))
        taken.append(corner)
    if style.labels:
        write_labels(canvas, figures, colours, max(size, round(style.label_share * picture.width)), taken)
    if legend is None or corner is not None:
        return canvas.picture()
    sheet = Image.new("RGB", (picture.width, picture.height + math.ceil(legend.height)), _SHADE)
    sheet.paste(canvas.picture())
    canvas = Canvas(sheet)
    legend.paint(canvas, 0, picture.height, numbered=bool(rows))
    return canvas.picture()


def _number_size(size: int) -> int:
    return max(9, round(0.9 * size))


def _numbered(figures: Sequence[Figure], size: int) -> list[int]:
    """The rows of the figures whose points get numbers: all with room if they are few, otherwise the best of them."""
    gaps = [sizes.nearest_gap(figure.seen) for figure in figures]
    room = 1.5 * _number_size(size)
    rows = [row for row, gap in enumerate(gaps) if len(figures[row].seen) and (gap is None or gap >= room)]
    return rows if len(figures) <= _FEW else rows[:1]


def draw_box(canvas: Canvas, figure: Figure, colour: Colour, largest: float) -> None:
    """Draw the box in a colour; `largest` is the largest radius of a point in the picture."""
    line = max(0.5, 0.24 * largest)
    x1, y1, x2, y2 = figure.box
    if line < 1:  # on pixel centres, where a thin line is sharp
        x1, y1, x2, y2 = (np.floor(value) + 0.5 for value in figure.box)
    dash = _DASH * line if figure.dashed else None
    canvas.frame((x1, y1, x2, y2), line + max(0.5, 0.5 * line), INK, 0.4, dash)
    canvas.frame((x1, y1, x2, y2), line, colour, 0.95, dash)


def draw_edges(canvas: Canvas, figure: Figure, radius: float) -> None:
    """Draw the edges between present points."""
    place = {name: row for row, name in enumerate(figure.names)}
    line = max(0.5, 0.5 * radius)
    strokes = []
    for start, end in figure.edges:
        a, b = place[start], place[end]
        if figure.visibility[a] and figure.visibility[b]:
            opacity = (_opacity(figure.confidence[a]), _opacity(figure.confidence[b]))
            ends = (_xy(figure, a), _xy(figure, b))
            strokes.append((*ends, SIDES[edge_side(figure.sides[a], figure.sides[b])], opacity))
    for a_xy, b_xy, _, opacity in strokes:  # all rims first, so that none cuts through a line
        canvas.line(a_xy, b_xy, line + _rim(radius), PAPER, (0.75 * opacity[0], 0.75 * opacity[1]))
    for a_xy, b_xy, colour, opacity in strokes:
        canvas.line(a_xy, b_xy, line, colour, opacity)


def _draw_errors(canvas: Canvas, figure: Figure) -> None:
    """Draw a faint circle around each present point, with its expected error as the radius."""
    errors = np.zeros(len(figure.names)) if figure.errors is None else figure.errors
    for row in np.flatnonzero((figure.visibility > 0) & (errors >= 1)).tolist():
        centre, radius, colour = _xy(figure, row), float(errors[row]), SIDES[figure.sides[row]]
        canvas.disc(centre, radius, colour, 0.12)
        canvas.disc(centre, radius, colour, 0.4, hole=radius - 1)


def draw_points(canvas: Canvas, figure: Figure, radius: float) -> None:
    """Draw the present points; covered ones have a white centre."""
    for row in np.argsort(figure.confidence, kind="stable"):  # the most certain ones on top
        v, opacity = figure.visibility[row], _opacity(figure.confidence[row])
        if v == 0:
            continue
        colour, centre, rim = SIDES[figure.sides[row]], _xy(figure, row), _rim(radius)
        outer = radius if v == 2 else max(radius, 1.6)
        canvas.disc(centre, outer + rim, PAPER, opacity)
        canvas.disc(centre, outer, colour, opacity)
        if v == 1:
            canvas.disc(centre, 0.5 * outer, PAPER, opacity)


def _xy(figure: Figure, row: int) -> tuple[float, float]:
    return float(figure.xy[row, 0]), float(figure.xy[row, 1])


def _rim(radius: float) -> float:
    return max(0.45, 0.26 * radius)


def _opacity(confidence: float) -> float:
    return _FAINTEST + (1 - _FAINTEST) * min(max(float(confidence), 0.0), 1.0)
