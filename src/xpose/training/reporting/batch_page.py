"""What the loop really sees: the pictures of its batches with boxes, points by name, what they are asked for, examples.

Everything is drawn from the batches themselves, after all augmentation, so that a wrong flip or crop can be seen.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from xpose.data.inspection.pages import page, text
from xpose.data.loading.batches import Batch, Target
from xpose.data.loading.loader import Loader
from xpose.drawing.overlay import Figure
from xpose.pictures.atomic import write_atomically
from xpose.training.reporting.figures import drawn, figure_of

LOOK_FILE, SHEET_FILE = "look.html", "look.png"
_SIDE, _SHOT_SIDE, _COLUMNS = 420, 200, 4
_LOOK = (
    "<style>.seen { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; } "
    ".seen img { width: 100%; height: auto; border-radius: 4px; } .shots { display: grid; gap: .4rem; "
    "grid-template-columns: repeat(4, 1fr); } .absent { color: var(--faint); }</style>"
)


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
        CheckpointError: the folder cannot be written to.
    """
    batches = []
    shown = 0
    for batch in loader.steps(start=start):
        batches.append(seen(batch))
        shown += len(batch)
        if shown >= pictures:
            break
    content = page("What the loop sees", _body(batches))
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


def _body(batches: Iterable[SeenBatch]) -> Iterable[str]:
    yield _LOOK
    yield "<h1>What the loop sees</h1>"
    yield (
        "<p class=faint>Blue is left, orange right, green the middle, by name, after flips and crops. Under each "
        "picture what it is asked for: what it shows, then what it is known not to show.</p>"
    )
    for batch in batches:
        yield f"<h2>Step {batch.step}, prompts: {text(batch.mode)}</h2>"
        yield f"<div class=seen>{''.join(_card(one) for one in batch.pictures)}</div>"
        if batch.shots:
            yield "<h3>Examples</h3>"
            yield f"<div class=seen>{''.join(_figure(one, _SHOT_SIDE) for one in batch.shots)}</div>"


def _card(one: Seen) -> str:
    lines = [f"asked: <b>{text(', '.join(one.present) or 'nothing that it shows')}</b>"]
    if one.absent:
        lines.append(f"<span class=absent>absent: {text(', '.join(one.absent))}</span>")
    if one.unknown:
        lines.append(f"<span class=absent>not known: {text(', '.join(one.unknown))}</span>")
    if one.ignored:
        lines.append(f"<span class=absent>{one.ignored} ignored region(s)</span>")
    for figure in one.figures:
        lines.append(f"{text(figure.title)}: {text(', '.join(figure.names) or 'no point in sight')}")
    return f"<div>{_figure(one, _SIDE)}{''.join(f'<p class=faint>{line}</p>' for line in lines)}</div>"


def _figure(one: Seen, side: int) -> str:
    stream = io.BytesIO()
    drawn(one.pixels, one.figures, side=side).save(stream, format="JPEG", quality=88)
    address = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<figure><img alt="{text(one.caption)}" src="{address}"><figcaption>{text(one.caption)}</figcaption></figure>'
    )


def _sheet(pictures: Sequence[Seen]) -> Image.Image:
    """The pictures in rows on one sheet."""
    done = [drawn(one.pixels, one.figures, side=_SIDE) for one in pictures]
    rows = -(-len(done) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (_SIDE + 8), rows * (_SIDE + 8)), (255, 255, 255))
    for number, picture in enumerate(done):
        sheet.paste(picture, (number % _COLUMNS * (_SIDE + 8), number // _COLUMNS * (_SIDE + 8)))
    return sheet
