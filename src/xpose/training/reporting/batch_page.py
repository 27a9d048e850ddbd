"""What the loop really sees: the pictures of its batches with boxes, points by name, what they are asked for, examples.

Everything is drawn from the batches themselves, after all augmentation, so that a wrong flip or crop can be seen.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from xpose.data.loading.batches import Batch, Target
from xpose.data.loading.loader import Loader
from xpose.drawing.overlay import Figure
from xpose.pages import embedded, render
from xpose.pictures.atomic import write_atomically
from xpose.training.reporting.figures import drawn, figure_of

LOOK_FILE, SHEET_FILE = "look.html", "look.png"
_SIDE, _SHOT_SIDE, _COLUMNS = 420, 200, 4


@dataclass(frozen=True)
class Seen:
    """A picture (or an example) of a batch: its pixels before anything is drawn, and what will be."""

    caption: str
    pixels: np.ndarray  # [h, w, 3] RGB bytes
    figures: tuple[Figure, ...]
    ignored: int = 0  # regions that count neither for nor against a class
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # asked for, though nobody looked for them: masked


@dataclass(frozen=True)
class SeenBatch:
    """A whole batch."""

    step: int
    mode: str
    pictures: tuple[Seen, ...]
    shots: tuple[Seen, ...]


def look(loader: Loader, folder: Path, *, pictures: int = 24, start: int = 0) -> Path:
    """Write `look.html` and `look.png` with the first pictures that a run sees; the page.

    Raises:
        DataError: a picture cannot be read.
        XPoseError: the folder cannot be written to.
    """
    batches = []
    shown = 0
    for batch in loader.steps(start=start):
        batches.append(seen(batch))
        shown += len(batch)
        if shown >= pictures:
            break
    content = render(
        "batches.html",
        title="What the loop sees",
        batches=[(batch, _addresses(batch.pictures, _SIDE), _addresses(batch.shots, _SHOT_SIDE)) for batch in batches],
    )
    write_atomically(folder / LOOK_FILE, lambda path: path.write_text(content, encoding="utf-8"))
    sheet = _sheet([one for batch in batches for one in batch.pictures][:pictures])
    write_atomically(folder / SHEET_FILE, lambda path: sheet.save(path, format="PNG"))
    return folder / LOOK_FILE


def seen(batch: Batch) -> SeenBatch:
    """A batch as pictures and figures."""
    pictures = tuple(
        _seen(image, size.tolist(), target)
        for image, size, target in zip(batch.images, batch.sizes, batch.targets, strict=True)
    )
    shots = []
    for (category, _), found in batch.shots.items():
        for number, shot in enumerate(found, start=1):
            pixels = _pixels(batch.crops[shot.row])
            points = {
                name: (x, y, int(v)) for name, (x, y, v) in zip(shot.kind.names, shot.points.tolist(), strict=True) if v
            }
            side = float(pixels.shape[0])
            figure = figure_of((0, 0, side, side), category, shot.kind.names, points, shot.kind.edges)
            shots.append(Seen(f"{category}, example {number}", pixels, (figure,)))
    return SeenBatch(batch.step, batch.mode, pictures, tuple(shots))


def _seen(image: Tensor, size: Sequence[int], target: Target) -> Seen:
    height, width = size
    figures = []
    for row in range(len(target.labels)):
        kind = target.asked[int(target.labels[row])].kind
        figures.append(
            figure_of(target.boxes[row].tolist(), kind.category, kind.names, target.keypoints(row), kind.edges)
        )
    asked = target.asked
    return Seen(
        f"{target.source}/{target.file}",
        _pixels(image[:, :height, :width]),
        tuple(figures),
        len(target.ignored),
        tuple(entry.kind.category for entry in asked if entry.present),
        tuple(entry.kind.category for entry in asked if not entry.present and entry.complete),
        tuple(entry.kind.category for entry in asked if not entry.present and not entry.complete),
    )


def _pixels(image: Tensor) -> np.ndarray:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _addresses(pictures: Sequence[Seen], side: int) -> list[tuple[Seen, str]]:
    """The pictures, each with its drawing as an address."""
    addresses = []
    for picture in pictures:
        stream = io.BytesIO()
        drawn(picture.pixels, picture.figures, side=side).save(stream, format="JPEG", quality=88)
        addresses.append((picture, embedded(stream.getvalue())))
    return addresses


def _sheet(pictures: Sequence[Seen]) -> Image.Image:
    """The pictures in rows on one sheet."""
    done = [drawn(one.pixels, one.figures, side=_SIDE) for one in pictures]
    rows = -(-len(done) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (_SIDE + 8), rows * (_SIDE + 8)), (255, 255, 255))
    for number, picture in enumerate(done):
        sheet.paste(picture, (number % _COLUMNS * (_SIDE + 8), number // _COLUMNS * (_SIDE + 8)))
    return sheet
