"""Labels and answers as figures to draw (`xpose.drawing`), for the pictures of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from xpose.drawing.overlay import Figure, Style, draw_figures
from xpose.records import Record
from xpose.vocabulary import side_of

Points = Mapping[str, tuple[float, float, int]]
STYLE = Style(legend="none", labels=True)


def figure_of(
    box: Sequence[float],
    title: str,
    names: Iterable[str],
    points: Points,
    edges: Iterable[tuple[str, str]] = (),
    score: float | None = None,
) -> Figure:
    """An object by the names of its points, in continuous pixels; points that are missing are not drawn.

    Args:
        box: left, top, right, bottom.
        title: what it is called.
        names: of the points it could have.
        points: those it has, with visibility 1 or 2.
        edges: pairs of names.
        score: of what was found; None for labels.
    """
    named = [name for name in names if name in points]
    left, top, right, bottom = (float(value) for value in box)
    return Figure(
        box=(left, top, right, bottom),
        title=title,
        score=score,
        names=named,
        sides=[side_of(name) for name in named],
        xy=np.array([points[name][:2] for name in named], np.float64).reshape(-1, 2),
        confidence=np.ones(len(named)),
        visibility=np.array([points[name][2] for name in named], np.int64),
        edges=[(a, b) for a, b in edges if a in named and b in named],
    )


def labelled_figures(record: Record) -> list[Figure]:
    """The labelled objects of a record."""
    return [
        figure_of(
            (instance.box[0], instance.box[1], instance.box[0] + instance.box[2], instance.box[1] + instance.box[3]),
            instance.category.name,
            instance.category.keypoints,
            {name: (x + 0.5, y + 0.5, v) for name, (x, y, v) in instance.keypoints.items() if v},
            instance.category.edges,
        )
        for instance in record.instances
        if not instance.iscrowd
    ]


def drawn(pixels: np.ndarray, figures: Sequence[Figure], *, side: int | None = None) -> Image.Image:
    """The picture with the figures on it, first brought to a longer side of `side`, so that lines stay thin."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if side is not None:
        scale = side / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
        figures = [_scaled(figure, scale) for figure in figures]
    return draw_figures(picture, figures, STYLE)


def _scaled(figure: Figure, scale: float) -> Figure:
    left, top, right, bottom = (value * scale for value in figure.box)
    values = {name: getattr(figure, name) for name in Figure.__dataclass_fields__}
    return Figure(**{**values, "box": (left, top, right, bottom), "xy": figure.xy * scale})


def beside(pictures: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """Pictures in a row."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), (255, 255, 255))
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet
