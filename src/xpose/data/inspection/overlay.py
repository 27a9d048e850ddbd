"""Pictures with their keypoints as inline SVG: sharp at every size; hovering over a point shows its name.

The picture itself is embedded as a small JPEG, so that a page needs no other files.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from xpose.drawing.figures import SIDES, edge_side
from xpose.pages import embedded
from xpose.pictures.reading import stored_pixels
from xpose.records import HIDDEN, Instance, Record
from xpose.vocabulary import side_of

SIDE_COLOURS = {side: "#{:02x}{:02x}{:02x}".format(*colour) for side, colour in SIDES.items()}
QUALITY = 80
MANY = 26  # with more points, numbers replace names
WIDE = 360.0  # longer side of a picture with names, in drawing units
MARGIN = 140.0  # units on each side for the names
WHOLE = WIDE + 2 * MARGIN  # ... and one with numbers


def small_jpeg(path: Path, longest: int, crop: tuple[int, int, int, int] | None = None) -> str | None:
    """The picture (or a part of it) reduced, as a data address; None if it cannot be read."""
    try:
        image = Image.fromarray(stored_pixels(path))
    except Exception:  # decoders raise errors of every kind for damaged files
        return None
    if crop:
        image = image.crop(crop)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=QUALITY)
    return embedded(stream.getvalue())


def picture_svg(record: Record, path: Path, longest: int = 340) -> str:
    """The whole picture with boxes, edges and points of all its objects."""
    width, height = record.picture.width, record.picture.height
    unit = max(width, height) / 300
    parts = [_image(small_jpeg(path, longest), 0, 0, width, height)]
    for instance in record.instances:
        x, y, w, h = instance.box
        style = f'fill="none" stroke="#fff" stroke-opacity=".75" stroke-width="{0.7 * unit:.2f}"'
        title = f"<title>{escape(instance.category.name)}</title>"
        parts.append(f"<rect {_area(x, y, w, h)} {style}>{title}</rect>")
        radius = min(2.6 * unit, max(1.1 * unit, 0.022 * max(w, h)))
        parts += _drawing(instance, radius, (0.0, 0.0), 1.0)
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def named_svg(record: Record, instance: Instance, path: Path) -> tuple[str, list[str]]:
    """A crop of one object with point names beside it, and the names that were replaced by numbers."""
    left, top, right, bottom = _crop(instance, record.picture.width, record.picture.height)
    names = [name for name in instance.category.keypoints if name in instance.keypoints]
    numbered = names if len(names) > MANY else []
    scale = (WHOLE if numbered else WIDE) / max(right - left, bottom - top)
    width, height = (right - left) * scale, (bottom - top) * scale
    margin = (WHOLE - width) / 2  # keeps the names' size independent of the picture's shape
    image = _image(small_jpeg(path, 600, (left, top, right, bottom)), margin, 0, width, height)
    offset = (margin - left * scale, -top * scale)
    parts = [image, *_drawing(instance, 2.6 if numbered else 4.0, offset, scale)]
    places = {name: _place(instance, name, offset, scale) for name in names}
    lowest = height
    if numbered:
        parts += [
            f'<text x="{x + 3:.1f}" y="{y - 3:.1f}" style="font-size:9px;fill:#fff;stroke:#000;stroke-width:2px;'
            f'paint-order:stroke">{number}</text>'
            for number, (x, y) in enumerate(places.values(), start=1)
        ]
    else:
        labels, lowest = _labels(places, margin, width, height)
        parts += labels
    svg = f'<svg viewBox="0 0 {width + 2 * margin:.0f} {lowest:.0f}" role="img">{"".join(parts)}</svg>'
    return svg, numbered


def _crop(instance: Instance, width: int, height: int) -> tuple[int, int, int, int]:
    """The object's box and points with a margin, inside the picture."""
    x, y, w, h = instance.box
    xs = [x, x + w, *(place[0] for place in instance.keypoints.values())]
    ys = [y, y + h, *(place[1] for place in instance.keypoints.values())]
    margin = 0.08 * max(max(xs) - min(xs), max(ys) - min(ys)) + 4
    left, top = max(0, int(min(xs) - margin)), max(0, int(min(ys) - margin))
    right, bottom = min(width, int(max(xs) + margin) + 1), min(height, int(max(ys) + margin) + 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _image(address: str | None, x: float, y: float, width: float, height: float) -> str:
    if address is None:
        return f'<rect {_area(x, y, width, height)} fill="#888"><title>the picture cannot be read</title></rect>'
    return f'<image {_area(x, y, width, height)} preserveAspectRatio="none" href="{address}"/>'


def _area(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _place(instance: Instance, name: str, offset: tuple[float, float], scale: float) -> tuple[float, float]:
    x, y, _ = instance.keypoints[name]
    return (x + 0.5) * scale + offset[0], (y + 0.5) * scale + offset[1]  # a keypoint is a pixel index


def _drawing(instance: Instance, radius: float, offset: tuple[float, float], scale: float) -> Iterable[str]:
    """Edges and points, coloured by side (left, right, middle); hidden points are hollow."""
    labelled = instance.keypoints
    for start, end in instance.category.edges:
        if start in labelled and end in labelled:
            (x1, y1), (x2, y2) = (_place(instance, name, offset, scale) for name in (start, end))
            colour = SIDE_COLOURS[edge_side(side_of(start), side_of(end))]
            yield _line(x1, y1, x2, y2, colour, 0.85, 0.6 * radius)
    for name, (*_, v) in labelled.items():
        x, y = _place(instance, name, offset, scale)
        colour = SIDE_COLOURS[side_of(name)]
        fill, edge = ("#fff", colour) if v == HIDDEN else (colour, "#fff")
        title = f"<title>{escape(name)}{' (hidden)' if v == HIDDEN else ''}</title>"
        style = f'fill="{fill}" stroke="{edge}" stroke-width="{radius / 3:.2f}"'
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.2f}" {style}>{title}</circle>'


def _labels(
    places: dict[str, tuple[float, float]], margin: float, width: float, height: float
) -> tuple[list[str], float]:
    """Names in the margins with thin lines to their points, and the lowest position used."""
    middle = sorted(places.values())[len(places) // 2][0] if places else 0.0
    columns: dict[bool, list[str]] = {False: [], True: []}
    for name, (x, _) in sorted(places.items(), key=lambda item: item[1]):
        # Points left of the median go to the left; points at the median go to the shorter column.
        right = len(columns[False]) > len(columns[True]) if x == middle else x > middle
        columns[right].append(name)
    parts, lowest = [], height
    for right, names in columns.items():
        names.sort(key=lambda name: places[name][1])
        rows = _spread([places[name][1] for name in names], 14.0, height)
        edge = margin + width + 6 if right else margin - 6
        for name, y in zip(names, rows, strict=True):
            px, py = places[name]
            label = name if len(name) <= 26 else name[:25] + "…"
            parts.append(_line(edge - (2 if right else -2), y - 4, px, py, "var(--ink)", 0.55, 0.8))
            side, anchor = side_of(name), "start" if right else "end"
            ink = "var(--ink)" if side == "middle" else f"color-mix(in srgb, {SIDE_COLOURS[side]} 65%, var(--ink))"
            text = f"{escape(label)}<title>{escape(name)}</title>"
            parts.append(f'<text x="{edge:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:{ink}">{text}</text>')
            lowest = max(lowest, y + 4)
    return parts, lowest


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float, width: float) -> str:
    stroke = f'stroke="{colour}" stroke-opacity="{opacity}" stroke-width="{width:.2f}"'
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {stroke}/>'


def _spread(places: Sequence[float], gap: float, height: float) -> list[float]:
    """Rows as near as possible to the places (sorted), at least `gap` apart, the first not above the picture."""
    rows: list[float] = []
    for place in places:
        rows.append(max(place, rows[-1] + gap if rows else gap))
    limit = max(height - 2, gap * len(rows))
    for number in reversed(range(len(rows))):  # push rows up from the bottom if needed
        rows[number] = max(min(rows[number], limit), gap * (number + 1))
        limit = rows[number] - gap
    return rows
