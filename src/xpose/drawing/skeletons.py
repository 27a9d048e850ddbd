"""Draws skeletons, each with its edges, numbered keypoints and a legend of the names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from xpose.drawing import text
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import FAINT, INK, PAPER, RULE, Figure, Place
from xpose.drawing.labels import write_numbers
from xpose.drawing.legend import arranged, name_entries, side_entries
from xpose.drawing.overlay import draw_edges, draw_points
from xpose.errors import counted

if TYPE_CHECKING:
    from xpose.vocabulary import Skeleton

_MARGIN = 0.065  # around the layout, relative to the size


def draw_skeleton(skeleton: Skeleton, size: int = 0) -> Image.Image:
    """Draw a skeleton with numbered keypoints on the left and the legend on the right.

    `size` is the height of the drawing in pixels; 0 chooses one that leaves room for all numbers.
    """
    count = len(skeleton.keypoints)
    size = size or (1800 if count > 100 else 1000 if count > 40 else 760)
    unit = size / 760 if count <= 40 else size / 1000 if count <= 100 else size / 1500
    figure = _figure(skeleton, size)
    radius = (6.5 if count <= 40 else 4.2) * unit
    drawing = _drawn(figure, size, radius)
    write_numbers(drawing, [figure], [radius], round((17 if count <= 40 else 11) * unit))
    entries = [*name_entries([figure.kind], [figure]), *side_entries([figure.kind])]
    legend = arranged(entries, round(17 * unit), size)
    head = round(68 * unit)
    picture = Image.new("RGB", (size + math.ceil(legend.width), size + head), PAPER)
    picture.paste(drawing.picture(), (0, head))
    canvas = Canvas(picture)
    text.write(canvas, (24 * unit, 28 * unit), text.clean(skeleton.title), round(26 * unit), INK, None)
    edges = f"{skeleton.name} · {counted(count, 'point')} · {len(figure.edges)} edges"
    caption = edges if skeleton.layout is not None else f"{edges} · arranged in a circle, without a layout in its file"
    text.write(canvas, (24 * unit, 56 * unit), caption, round(14 * unit), FAINT, None)
    canvas.panel((size, head, picture.width, picture.height), 0, INK, 1)
    legend.paint(canvas, size, head, numbered=True)
    return canvas.picture()


def contact_sheet(skeletons: Sequence[Skeleton], columns: int = 7, tile: int = 300) -> Image.Image:
    """Small drawings of all skeletons, with names and keypoint counts."""
    foot = 44
    sheet = Image.new("RGB", (columns * tile, max(1, math.ceil(len(skeletons) / columns)) * (tile + foot)), PAPER)
    for position, skeleton in enumerate(skeletons):
        x, y = position % columns * tile, position // columns * (tile + foot)
        sheet.paste(_drawn(_figure(skeleton, tile), tile, 3.2).picture(), (x, y))
        ImageDraw.Draw(sheet).rectangle((x, y, x + tile - 1, y + tile + foot - 1), outline=RULE)
    canvas = Canvas(sheet)
    for position, skeleton in enumerate(skeletons):
        middle, bottom = (position % columns + 0.5) * tile, position // columns * (tile + foot) + tile
        text.write(canvas, (middle, bottom + 12), skeleton.name, 17, INK, None, anchor="middle")
        points = counted(len(skeleton.keypoints), "point")
        text.write(canvas, (middle, bottom + 31), points, 13, FAINT, None, anchor="middle")
    return canvas.picture()


def circle_layout(count: int) -> list[Place]:
    """Places on a circle, for a skeleton whose file has no layout."""
    angles = [2 * math.pi * k / max(count, 1) - math.pi / 2 for k in range(count)]
    return [(0.5 + 0.42 * math.cos(angle), 0.5 + 0.42 * math.sin(angle)) for angle in angles]


def _figure(skeleton: Skeleton, size: int) -> Figure:
    """The skeleton as an object that fills a picture of `size` pixels."""
    names = skeleton.keypoints
    layout = np.array(skeleton.layout or circle_layout(len(names))).reshape(-1, 2)
    return Figure(
        box=(0, 0, size, size),
        title=skeleton.name,
        score=None,
        names=names,
        sides=skeleton.sides,
        xy=(_MARGIN + layout * (1 - 2 * _MARGIN)) * size,
        confidence=np.ones(len(names)),
        visibility=np.full(len(names), 2),
        edges=[(names[start], names[end]) for start, end in skeleton.edge_indices()],
    )


def _drawn(figure: Figure, size: int, radius: float) -> Canvas:
    canvas = Canvas(Image.new("RGB", (size, size), PAPER))
    draw_edges(canvas, figure, radius)
    draw_points(canvas, figure, radius)
    return canvas
