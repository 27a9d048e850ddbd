"""The report of a run: one HTML page with curves, numbers and pictures, written anew while the run goes on.

Everything in it comes from the run's folder: `log.jsonl`, `recipe.toml` and the pictures of the last validation. So
`xpose train --report FOLDER` draws it again at any time.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from xpose.data.inspection.pages import facts, page, table, text
from xpose.pictures.atomic import write_atomically
from xpose.training.reporting.plots import write_plot
from xpose.training.run.log import Log, read_log
from xpose.training.run.progress import in_words

REPORT_FILE, PLOT_FILE, RECIPE_FILE, PICTURES = "report.html", "losses.png", "recipe.toml", "pictures"
_LOOK = (
    "<style>img { max-width: 100%; height: auto; border-radius: 4px; } pre { background: var(--card); padding: .8rem; "
    "overflow-x: auto; } .found { columns: auto; } .found figure { margin: 0 0 1rem; }</style>"
)


def write_report(folder: Path) -> Path:
    """Draw `losses.png` and `report.html` of a run; the page.

    Raises:
        TrainingError: the folder has no log.
        MissingExtraError: matplotlib is not installed.
        CheckpointError: the disk is full or cannot be written to.
    """
    log = read_log(folder)
    write_plot(log, folder / PLOT_FILE)
    content = page(f"Training {folder.name}", _body(folder, log))
    write_atomically(folder / REPORT_FILE, lambda path: path.write_text(content, encoding="utf-8"))
    return folder / REPORT_FILE


def write_pictures(folder: Path, drawings: Sequence[tuple[str, Image.Image]]) -> None:
    """Keep the pictures of a validation in the place of those before."""
    target = folder / PICTURES
    target.mkdir(parents=True, exist_ok=True)
    names = []
    for number, (caption, picture) in enumerate(drawings):
        path = target / f"{number:02d}.jpg"
        write_atomically(path, lambda file, p=picture: p.save(file, format="JPEG", quality=85))
        names.append(f"{path.name}\t{caption}")
    write_atomically(target / "captions.txt", lambda file: file.write_text("\n".join(names), encoding="utf-8"))


def _body(folder: Path, log: Log) -> Iterable[str]:
    yield _LOOK
    yield f"<h1>Training {text(folder.name)}</h1>"
    yield facts(_facts(log))
    yield "<h2>Curves</h2>"
    yield f'<img alt="loss terms, rate and validation over the steps" src="{_embedded(folder / PLOT_FILE, "png")}">'
    if log.validations:
        yield "<h2>Validation</h2>"
        head = ["step", *(text(name) for name in log.measures)]
        yield table(head, [_numbers(log, step) for step in reversed(list(log.validations))], words=())
    shown = _pictures(folder)
    if shown:
        yield "<h2>Pictures of the last validation</h2>"
        yield f"<div class=found>{''.join(shown)}</div>"
    recipe = folder / RECIPE_FILE
    if recipe.is_file():
        yield f"<h2>Recipe</h2><pre>{text(recipe.read_text(encoding='utf-8'))}</pre>"


def _facts(log: Log) -> Iterable[tuple[str, str]]:
    yield "last step", f"{log.last:,}"
    if log.steps:
        row = log.steps[max(log.steps)]
        if "total" in row:
            yield "loss", f"{row['total']:.4g}"
        if "images_per_second" in row:
            yield "speed", f"{row['images_per_second']:.1f} images/s"
        if "seconds" in row:
            yield "this piece has run for", in_words(row["seconds"])
        if row.get("memory"):
            yield "memory at most", f"{row['memory'] / 1024:.1f} GB"
    yield "drawn", time.strftime("%Y-%m-%d %H:%M:%S")


def _numbers(log: Log, step: int) -> list[str]:
    row = log.validations[step]
    return [f"{step:,}", *(f"{100 * row[name]:.1f}" if name in row else "" for name in log.measures)]


def _pictures(folder: Path) -> list[str]:
    captions = folder / PICTURES / "captions.txt"
    if not captions.is_file():
        return []
    found = []
    for line in captions.read_text(encoding="utf-8").splitlines():
        name, _, caption = line.partition("\t")
        path = folder / PICTURES / name
        if name and "/" not in name and path.is_file():
            image = f'<img alt="{text(caption)}" src="{_embedded(path, "jpeg")}">'
            found.append(f"<figure>{image}<figcaption>{text(caption)}</figcaption></figure>")
    return found


def _embedded(path: Path, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
