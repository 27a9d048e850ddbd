"""The report of a run: one HTML page with curves, numbers and pictures, rewritten during the run.

All its content comes from the run's folder, so `xpose train --report FOLDER` can draw it again at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from xpose.errors import missing_extra
from xpose.pages import embedded, render
from xpose.pictures.atomic import write_atomically
from xpose.training.run.log import Log, in_words, read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPORT_FILE, PLOT_FILE, RECIPE_FILE, PICTURES = "report.html", "losses.png", "recipe.toml", "pictures"
_SMOOTH = 200  # a curve with more points is drawn as means over groups of points
_COLOURS = ("#1b6ca8", "#d1622b", "#3a7d44", "#7b4fa3", "#b8860b", "#c0392b", "#2b8c8c", "#7f5539", "#555555")


def write_report(folder: Path) -> Path:
    """Draw `losses.png` and `report.html`; return the page."""
    log = read_log(folder)
    _write_plot(log, folder / PLOT_FILE)
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
    """Replace the pictures of the last validation by new ones."""
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
    row = log.steps[max(log.steps)] if log.steps else {}
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


def _write_plot(log: Log, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("A plot of a training run", "matplotlib", "train") from None

    heights = [3, 1, 2] if log.validations else [3, 1]
    figure = Figure(figsize=(10, 9 if log.validations else 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    terms = {name.replace("_", " "): log.series(name) for name in log.terms}
    _curves(axes[0], terms, "loss terms (unweighted)")
    if any(value > 0 for _, values in terms.values() for value in values):
        axes[0].set_yscale("log")  # so that small terms are visible too
    _curves(axes[1], {"rate": log.series("rate")}, "rate")
    axes[1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if log.validations:
        steps, values = list(log.validations), list(log.validations.values())
        measures = {name: (steps, [100 * row.get(name, float("nan")) for row in values]) for name in log.measures}
        _curves(axes[2], measures, "validation, %", marker="o")
        axes[2].set_ylim(0, 102)
    axes[-1].set_xlabel("step")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _curves(axes: Axes, curves: Mapping[str, tuple[list[int], list[float]]], title: str, marker: str = "") -> None:
    for number, (name, (steps, values)) in enumerate(curves.items()):
        colour, width = ("#111111", 1.8) if name == "total" else (_COLOURS[number % len(_COLOURS)], 1.2)
        dots = marker or ("o" if len(steps) == 1 else "")  # a line would not show a single row
        # Long curves are averaged over equal pieces, so that noise does not hide the trend.
        pieces = range(0, len(steps), max(1, -(-len(steps) // _SMOOTH)))
        x, y = ([np.mean(row[piece : piece + pieces.step]) for piece in pieces] for row in (steps, values))
        axes.plot(x, y, label=name, marker=dots, markersize=3, color=colour, linewidth=width)
    axes.set_ylabel(title)
    axes.grid(True, color="#e4e4e0", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    if curves and list(curves) != [title]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
