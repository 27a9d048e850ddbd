"""Pictures of skeletons: each with its edges, a number at every point and a legend of the names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from xpose.drawing.figures import DIRECTIONS, Place, distance_to_line
from xpose.drawing.palette import FAINT, INK, PAPER, RULE, SIDES, edge_side

if TYPE_CHECKING:
    from xpose.vocabulary import Skeleton

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_skeleton(skeleton: Skeleton, size: int = 0) -> Image.Image:
    """The skeleton with numbered points on the left and the legend on the right.

    `size` is the height of the drawing in pixels; 0 chooses one that leaves room for all numbers.
    """
    count = len(skeleton.keypoints)
    size = size or (1800 if count > 100 else 1000 if count > 40 else 760)
    unit = size / 760 if count <= 40 else size / 1000 if count <= 100 else size / 1500
    legend = _legend(skeleton, height=size, unit=unit)
    head = round(68 * unit)
    picture = Image.new("RGB", (size + legend.width, size + head), PAPER)
    brush = ImageDraw.Draw(picture)
    brush.text((24 * unit, 14 * unit), skeleton.title, fill=INK, font=_font(26 * unit))
    brush.text((24 * unit, 48 * unit), _caption(skeleton), fill=FAINT, font=_font(14 * unit))
    picture.paste(_figure(skeleton, size, unit, numbers=True), (0, head))
    picture.paste(legend, (size, head))
    return picture


def contact_sheet(skeletons: Sequence[Skeleton], columns: int = 7, tile: int = 300) -> Image.Image:
    """All skeletons small, each with its name and number of points."""
    rows = max(1, math.ceil(len(skeletons) / columns))
    foot = 44
    sheet = Image.new("RGB", (columns * tile, rows * (tile + foot)), PAPER)
    brush = ImageDraw.Draw(sheet)
    for position, skeleton in enumerate(skeletons):
        x, y = position % columns * tile, position // columns * (tile + foot)
        # Drawn at twice the size and reduced, for smooth lines.
        sheet.paste(
            _figure(skeleton, 2 * tile, 1.0, numbers=False).resize((tile, tile), Image.Resampling.LANCZOS), (x, y)
        )
        middle = x + tile / 2
        brush.text((middle, y + tile + 2), skeleton.name, fill=INK, font=_font(17), anchor="ma")
        brush.text((middle, y + tile + 22), _points(skeleton), fill=FAINT, font=_font(13), anchor="ma")
        brush.rectangle((x, y, x + tile - 1, y + tile + foot - 1), outline=RULE)
    return sheet


def circle_layout(count: int) -> list[Place]:
    """Places on a circle, for a skeleton whose file has no drawing."""
    angles = [2 * math.pi * k / max(count, 1) - math.pi / 2 for k in range(count)]
    return [(0.5 + 0.42 * math.cos(angle), 0.5 + 0.42 * math.sin(angle)) for angle in angles]


def _font(size: float) -> Font:
    return ImageFont.load_default(max(8, round(size)))


def _points(skeleton: Skeleton) -> str:
    count = len(skeleton.keypoints)
    return f"{count} point{'s' if count != 1 else ''}"


def _caption(skeleton: Skeleton) -> str:
    text = f"{skeleton.name} · {_points(skeleton)} · {len(skeleton.edge_indices())} edges"
    return text if skeleton.layout is not None else f"{text} · no drawing in its file, so on a circle"


def _places(skeleton: Skeleton, size: int) -> list[Place]:
    layout = skeleton.layout or circle_layout(len(skeleton.keypoints))
    margin = 0.065
    return [((margin + x * (1 - 2 * margin)) * size, (margin + y * (1 - 2 * margin)) * size) for x, y in layout]


def _figure(skeleton: Skeleton, size: int, unit: float, numbers: bool) -> Image.Image:
    """The drawing itself, `size` pixels square, smoothed by drawing large and reducing."""
    scale = 3
    big = Image.new("RGB", (size * scale, size * scale), PAPER)
    brush = ImageDraw.Draw(big)
    places = _places(skeleton, size * scale)
    edges = skeleton.edge_indices()
    dense = len(places) > 40
    width = round((2.0 if dense else 3.2) * unit * scale)
    radius = (4.2 if dense else 6.5) * unit * scale
    for start, end in edges:
        brush.line(
            (*places[start], *places[end]),
            fill=SIDES[edge_side(skeleton.sides[start], skeleton.sides[end])],
            width=width,
        )
    joined = {index for edge in edges for index in edge}
    for index, (x, y) in enumerate(places):
        colour = SIDES[skeleton.sides[index]]
        box = (x - radius, y - radius, x + radius, y + radius)
        inside = colour if index in joined else PAPER  # a hollow dot is a point without edges
        brush.ellipse(box, fill=inside, outline=PAPER if index in joined else colour, width=max(1, round(radius / 4)))
    figure = big.resize((size, size), Image.Resampling.LANCZOS)
    if numbers:
        _write_numbers(figure, skeleton, unit, 11 if dense else 17)
    return figure


def _write_numbers(figure: Image.Image, skeleton: Skeleton, unit: float, font_size: float) -> None:
    brush = ImageDraw.Draw(figure)
    font = _font(font_size * unit)
    places = _places(skeleton, figure.width)
    lines = [(places[start], places[end]) for start, end in skeleton.edge_indices()]
    reach = font_size * unit * 1.05
    written: list[Place] = []
    for index, (x, y) in enumerate(places):
        wide = 1.25 if index > 99 else 1.0
        # A number close to its point is best; a little farther off must be clearly freer to win.
        spots = [
            (x + far * reach * wide * dx, y + far * reach * dy, far) for far in (1.0, 1.6) for dx, dy in DIRECTIONS
        ]
        spots = [spot for spot in spots if all(reach / 2 < c < figure.width - reach / 2 for c in spot[:2])]
        taken = [place for place in places if place != (x, y)] + written
        spot = max(spots, key=lambda s: _freedom(s[:2], taken, lines, reach) - (s[2] - 1.0) * 0.9 * reach)[:2]
        written.append(spot)
        colour = SIDES[skeleton.sides[index]]
        brush.text(
            spot,
            str(index),
            fill=colour,
            font=font,
            anchor="mm",
            stroke_width=max(1, round(2 * unit)),
            stroke_fill=PAPER,
        )


def _freedom(here: Place, taken: Sequence[Place], lines: Sequence[tuple[Place, Place]], reach: float) -> float:
    """How far a number written here stays from other points, numbers and edges; more than two reaches is enough."""
    from_points = min((math.dist(here, other) for other in taken), default=4 * reach)
    from_lines = min((distance_to_line(here, *line) for line in lines), default=4 * reach)
    return min(from_points, 2 * reach) + 0.8 * min(from_lines, 1.5 * reach)


def _legend(skeleton: Skeleton, height: int, unit: float) -> Image.Image:
    """Number and name of every point in columns, in the colour of its side, with a key to the colours."""
    font = _font(17 * unit)
    row = round(25 * unit)
    names = skeleton.keypoints
    room = max(1, (height - round(70 * unit)) // row)
    per_column = max(1, math.ceil(len(names) / math.ceil(len(names) / room)))
    columns = [range(start, min(start + per_column, len(names))) for start in range(0, len(names), per_column)]
    number_width = font.getlength(str(len(names) - 1)) + 12 * unit
    widths = [max(font.getlength(names[index]) for index in column) + number_width + 36 * unit for column in columns]
    width = max(round(sum(widths) + 16 * unit), round(280 * unit))
    picture = Image.new("RGB", (width, height), PAPER)
    brush = ImageDraw.Draw(picture)
    x = 8 * unit
    for column, column_width in zip(columns, widths, strict=True):
        for place, index in enumerate(column):
            y, colour = 10 * unit + place * row, SIDES[skeleton.sides[index]]
            brush.text((x + number_width - 8 * unit, y), str(index), fill=colour, font=font, anchor="ra")
            brush.text((x + number_width, y), names[index], fill=INK, font=font)
        x += column_width
    sides = {*skeleton.sides}
    sides |= {edge_side(skeleton.sides[start], skeleton.sides[end]) for start, end in skeleton.edge_indices()}
    if sides != {"middle"}:
        _colour_key(picture, [side for side in SIDES if side in sides], unit)
    return picture


def _colour_key(picture: Image.Image, sides: Sequence[str], unit: float) -> None:
    brush, font = ImageDraw.Draw(picture), _font(14 * unit)
    x, y, dot = 10 * unit, picture.height - 36 * unit, round(13 * unit)
    for side in sides:
        disc = Image.new("L", (dot * 4, dot * 4), 0)
        ImageDraw.Draw(disc).ellipse((0, 0, dot * 4 - 1, dot * 4 - 1), fill=255)
        picture.paste(SIDES[side], (round(x), round(y)), disc.resize((dot, dot), Image.Resampling.LANCZOS))
        brush.text((x + dot + 6 * unit, y + dot / 2), side, fill=FAINT, font=font, anchor="lm")
        x += dot + 26 * unit + font.getlength(side)
