"""Curves of a run as a picture, drawn from its log alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import missing_extra
from xpose.training.run.log import Log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTH = 200  # points of a curve beyond which it is drawn as means over some of them
_COLOURS = ("#1b6ca8", "#d1622b", "#3a7d44", "#7b4fa3", "#b8860b", "#c0392b", "#2b8c8c", "#7f5539", "#555555")


def write_plot(log: Log, path: Path) -> None:
    """Draw loss terms, rate and validation into a PNG file, which appears whole or not at all.

    Raises:
        MissingExtraError: matplotlib is not installed.
        XPoseError: the disk is full or cannot be written to.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("A plot of a training run", "matplotlib", "train") from None
    from xpose.pictures.atomic import write_atomically

    with_measures = bool(log.validations)
    figure = Figure(figsize=(10, 9 if with_measures else 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    heights = [3, 1, 2] if with_measures else [3, 1]
    axes: Any = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _terms(axes[0], log)
    _rate(axes[1], log)
    if with_measures:
        _measures(axes[2], log)
    axes[-1].set_xlabel("step")
    for axis in axes:
        axis.grid(True, color="#e4e4e0", linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _terms(axes: Axes, log: Log) -> None:
    """All terms on a logarithmic scale: they fall by shares, and the small ones count too."""
    lowest = []
    for number, name in enumerate(log.terms):
        steps, values = log.series(name)
        style = (
            {"color": "#111111", "linewidth": 1.8} if name == "total" else {"color": _colour(number), "linewidth": 1.2}
        )
        axes.plot(*_smooth(steps, values), label=name.replace("_", " "), marker=_marker(steps), **style)  # type: ignore[arg-type]
        lowest += [value for value in values if value > 0]
    if lowest:
        axes.set_yscale("log")
    axes.set_ylabel("loss terms (unweighted)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)


def _rate(axes: Axes, log: Log) -> None:
    steps, rates = log.series("rate")
    axes.plot(steps, rates, color="#7b4fa3", linewidth=1.2, marker=_marker(steps))
    axes.set_ylabel("rate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))


def _measures(axes: Axes, log: Log) -> None:
    steps = list(log.validations)
    for number, name in enumerate(log.measures):
        values = [100 * log.validations[step].get(name, float("nan")) for step in steps]
        axes.plot(steps, values, marker="o", markersize=3, linewidth=1.2, color=_colour(number), label=name)
    axes.set_ylabel("validation, %")
    axes.set_ylim(0, 102)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)


def _marker(steps: list[int]) -> str:
    """A dot for a single row, of which a line would show nothing."""
    return "o" if len(steps) == 1 else ""


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _smooth(steps: list[int], values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Long curves as the means over equal pieces, so that noise does not hide the way."""
    size = -(-len(steps) // _SMOOTH)
    if size < 2:
        return np.array(steps), np.array(values)
    edges = range(0, len(steps), size)
    x, y = np.array(steps, np.float64), np.array(values, np.float64)
    return np.array([x[e : e + size].mean() for e in edges]), np.array([y[e : e + size].mean() for e in edges])
