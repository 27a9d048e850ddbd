"""Plots of the measured values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.measuring import Result


def plot_peers(results: Sequence[Result], path: Path) -> None:
    """Bars of the seconds per picture, with a scale of its own for each comparison."""
    from matplotlib import pyplot

    sizes = [len(result.rows) + 1 for result in results]
    figure, panels = pyplot.subplots(
        len(results), 1, figsize=(8, 0.27 * sum(sizes)), height_ratios=sizes, layout="constrained", squeeze=False
    )
    for axes, result in zip(panels[:, 0], results, strict=True):
        base = result.rows[0]
        for place, row in enumerate(result.rows):
            if row.error is None:
                axes.barh(place, row.median, color=_colour(row.contestant), height=0.8)
                ratio = "" if base.error or row is base else f"  (×{row.ratio(base):.2f})"
                axes.text(row.median, place, f"  {seconds_text(row.median)} s{ratio}", va="center", fontsize=8)
            else:
                axes.text(0, place, "  not measured", va="center", fontsize=8)
        longest = max((row.median for row in result.rows if row.error is None), default=1)
        axes.set_xlim(0, 1.3 * longest)
        axes.set_ylim(len(result.rows) - 0.5, -0.5)
        axes.set_yticks(range(len(result.rows)), [row.contestant for row in result.rows], fontsize=8)
        axes.set_xticks([])
        axes.set_title(result.comparison["title"], fontsize=9, loc="left", fontweight="bold")
        axes.tick_params(length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def plot_growth(results: Sequence[Result], path: Path) -> None:
    """One curve per quantity, from zero."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(results), figsize=(2.5 * len(results), 2.7), layout="constrained", squeeze=False
    )
    for axes, result in zip(panels[0], results, strict=True):
        rows = [row for row in result.rows if row.error is None]
        places, times = [int(row.contestant) for row in rows], [1000 * row.median for row in rows]
        axes.plot(places, times, marker="o", markersize=4, color=_OURS)
        axes.set_ylim(0, 1.25 * max(times, default=1))
        axes.set_xlim(0, 1.12 * max(places, default=1))
        axes.set_title(result.comparison["title"], fontsize=10)
        axes.set_xlabel(result.comparison["axis"], fontsize=8)
        if rows and result.rows[0].error is None:
            axes.annotate(
                f"×{rows[-1].ratio(result.rows[0]):.2f}", (places[-1], times[-1]), (0, 6), textcoords="offset points",
                ha="right", fontsize=8,
            )  # fmt: skip
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("milliseconds per picture", fontsize=8)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


_OURS, _FORM, _OTHER = "#1f77b4", "#9ecae1", "#b0b0b0"


def _colour(name: str) -> str:
    return _OURS if name.startswith("xpose") else _FORM if name.startswith("the same") else _OTHER


def seconds_text(value: float) -> str:
    """Three digits."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"
