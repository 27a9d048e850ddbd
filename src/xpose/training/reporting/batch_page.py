"""Draw the first batches of a run, which `xpose train --look` shows.

They are drawn after all augmentation, so that a wrong flip or crop can be seen.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from xpose.data.loading.batches import Batch, Target
from xpose.data.loading.loader import Loader
from xpose.data.loading.samples import Kind
from xpose.drawing.overlay import Figure, Style, draw_figures
from xpose.pages import embedded, render
from xpose.pictures.atomic import write_atomically
from xpose.vocabulary import side_of

LOOK_FILE, SHEET_FILE = "look.html", "look.png"
_SIDE, _SHOT_SIDE, _COLUMNS = 420, 200, 4
_WHITE = (255, 255, 255)
Drawings = list[tuple["Seen", str]]  # with the address of each drawing
_STYLE = Style(legend="none", labels=True)


def _figure(box: Sequence[float], kind: Kind, points: Mapping[str, tuple[float, float, int]]) -> Figure:
    """An object with its points by name, each with x, y and visibility 1 or 2; the box is left, top, right, bottom."""
    shown = [name for name in kind.names if name in points]
    left, top, right, bottom = (float(value) for value in box)
    return Figure(
        box=(left, top, right, bottom),
        title=kind.category,
        score=None,
        names=shown,
        sides=[side_of(name) for name in shown],
        xy=np.array([points[name][:2] for name in shown], np.float64).reshape(-1, 2),
        confidence=np.ones(len(shown)),
        visibility=np.array([points[name][2] for name in shown], np.int64),
        edges=[(a, b) for a, b in kind.edges if a in shown and b in shown],
    )


def _drawn(pixels: np.ndarray, figures: Sequence[Figure], side: int) -> Image.Image:
    """Scale the picture to a longer side of `side` and draw the figures on it with thin lines."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    scale = side / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    scaled = []
    for figure in figures:
        left, top, right, bottom = (value * scale for value in figure.box)
        scaled.append(replace(figure, box=(left, top, right, bottom), xy=figure.xy * scale))
    return draw_figures(picture, scaled, _STYLE)


@dataclass(frozen=True)
class Seen:
    """A picture or an example of a batch: its undrawn pixels and what will be drawn on them."""

    caption: str
    pixels: np.ndarray  # [h, w, 3] RGB bytes
    figures: tuple[Figure, ...]
    ignored: int = 0  # regions that count neither for nor against a class
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # classes in the prompt that the set does not label: masked


def look(loader: Loader, folder: Path, *, pictures: int = 24) -> Path:
    """Write `look.html` and `look.png` with a run's first pictures; return the page."""
    rows: list[tuple[Batch, Drawings, Drawings]] = []
    shown: list[Seen] = []
    for batch in loader.steps():
        samples, shots = seen(batch)
        rows.append((batch, _with_drawings(samples, _SIDE), _with_drawings(shots, _SHOT_SIDE)))
        shown += samples
        if len(shown) >= pictures:
            break
    content = render("batches.html", title="What the loop sees", batches=rows)
    write_atomically(folder / LOOK_FILE, lambda path: path.write_text(content, encoding="utf-8"))
    shown = shown[:pictures]
    sheet = Image.new("RGB", (_COLUMNS * (_SIDE + 8), -(-len(shown) // _COLUMNS) * (_SIDE + 8)), _WHITE)
    for number, picture in enumerate(shown):
        row, column = divmod(number, _COLUMNS)
        sheet.paste(_drawn(picture.pixels, picture.figures, _SIDE), (column * (_SIDE + 8), row * (_SIDE + 8)))
    write_atomically(folder / SHEET_FILE, lambda path: sheet.save(path, format="PNG"))
    return folder / LOOK_FILE


def seen(batch: Batch) -> tuple[list[Seen], list[Seen]]:
    """The pictures of a batch, and its examples."""
    rows = zip(batch.images, batch.sizes, batch.targets, strict=True)
    pictures = [_seen(image, size.tolist(), target) for image, size, target in rows]
    shots = []
    for (category, _), examples in batch.shots.items():
        for number, shot in enumerate(examples, start=1):
            pixels, names = _pixels(batch.crops[shot.row]), shot.kind.names
            points = {name: (x, y, int(v)) for name, (x, y, v) in zip(names, shot.points.tolist(), strict=True) if v}
            figure = _figure((0, 0, pixels.shape[1], pixels.shape[0]), shot.kind, points)
            shots.append(Seen(f"{category}, example {number}", pixels, (figure,)))
    return pictures, shots


def _seen(image: Tensor, size: Sequence[int], target: Target) -> Seen:
    height, width = size
    figures = [
        _figure(target.boxes[row].tolist(), target.asked[label].kind, target.keypoints(row))
        for row, label in enumerate(target.labels.tolist())
    ]
    names: dict[str, list[str]] = {"present": [], "absent": [], "unknown": []}
    for entry in target.asked:
        names["present" if entry.present else "absent" if entry.complete else "unknown"].append(entry.kind.category)
    caption, pixels = f"{target.source}/{target.file}", _pixels(image[:, :height, :width])
    return Seen(caption, pixels, tuple(figures), len(target.ignored), **{k: tuple(v) for k, v in names.items()})


def _pixels(image: Tensor) -> np.ndarray:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _with_drawings(pictures: Sequence[Seen], side: int) -> Drawings:
    """The pictures, each with the address of its drawing."""
    addresses = []
    for picture in pictures:
        stream = io.BytesIO()
        _drawn(picture.pixels, picture.figures, side).save(stream, format="JPEG", quality=88)
        addresses.append((picture, embedded(stream.getvalue())))
    return addresses
