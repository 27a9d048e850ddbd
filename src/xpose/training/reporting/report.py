"""The report of a run: one HTML page with curves, numbers and pictures, written anew while the run goes on.

Everything in it comes from the run's folder: `log.jsonl`, `recipe.toml` and the pictures of the last validation. So
`xpose train --report FOLDER` draws it again at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from xpose.pages import embedded, render
from xpose.pictures.atomic import write_atomically
from xpose.training.reporting.plots import write_plot
from xpose.training.run.log import Log, read_log
from xpose.training.run.progress import in_words

REPORT_FILE, PLOT_FILE, RECIPE_FILE, PICTURES = "report.html", "losses.png", "recipe.toml", "pictures"


def write_report(folder: Path) -> Path:
    """Draw `losses.png` and `report.html` of a run; the page.

    Raises:
        TrainingError: the folder has no log.
        MissingExtraError: matplotlib is not installed.
        XPoseError: the disk is full or cannot be written to.
    """
    log = read_log(folder)
    write_plot(log, folder / PLOT_FILE)
    recipe = folder / RECIPE_FILE
    content = render(
        "training_report.html",
        title=f"Training {folder.name}",
        about=list(_facts(log)),
        curves=embedded((folder / PLOT_FILE).read_bytes(), "png"),
        measures=["step", *log.measures],
        validations=[_numbers(log, step) for step in reversed(list(log.validations))],
        pictures=list(_pictures(folder)),
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
    )
    write_atomically(folder / REPORT_FILE, lambda path: path.write_text(content, encoding="utf-8"))
    return folder / REPORT_FILE


def write_pictures(folder: Path, drawings: Sequence[tuple[str, Image.Image]]) -> None:
    """Keep the pictures of a validation in the place of those before."""
    target = folder / PICTURES
    target.mkdir(parents=True, exist_ok=True)
    names = []
    for number, (caption, picture) in enumerate(drawings):
        path = target / f"{number:02d}.jpg"
        write_atomically(path, partial(picture.save, format="JPEG", quality=85))
        names.append(f"{path.name}\t{caption}")
    write_atomically(target / "captions.txt", lambda file: file.write_text("\n".join(names), encoding="utf-8"))


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


def _pictures(folder: Path) -> Iterable[tuple[str, str]]:
    """The pictures of the last validation as addresses, with their captions."""
    captions = folder / PICTURES / "captions.txt"
    for line in captions.read_text(encoding="utf-8").splitlines() if captions.is_file() else ():
        name, _, caption = line.partition("\t")
        path = folder / PICTURES / name
        if name and "/" not in name and path.is_file():
            yield embedded(path.read_bytes()), caption
