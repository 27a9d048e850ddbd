"""The report: one HTML file without scripts or further files, for a browser, an e-mail or an archive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.evaluation import gallery
from xpose.evaluation.answers import AnswerJournal, answered_tasks
from xpose.evaluation.data import Data
from xpose.evaluation.metrics.average_precision import AveragePrecision
from xpose.evaluation.protocols import Protocol
from xpose.evaluation.scores import ObjectScore, Scores, mean, pck
from xpose.evaluation.settings import Settings
from xpose.pages import render
from xpose.pictures.atomic import write_text

if TYPE_CHECKING:
    from xpose.evaluation.runner import Evaluation

MOST_NAMES = 40  # keypoint names in the chart
COLOURS = ("#1668b5", "#d9622b", "#2f8f5b")
PRECISION = {"at 0.5": "precision@0.5", "at 0.75": "precision@0.75", "mean": "precision"}
SIZES = {
    "below 32 px": (0.0, 32.0),
    "32 to 96 px": (32.0, 96.0),
    "96 to 256 px": (96.0, 256.0),
    "256 px and more": (256.0, math.inf),
}

Bars = list[tuple[str, tuple[float]]]  # name and share


def write_report(
    path: Path, result: Evaluation, protocol: Protocol, data: Data, settings: Settings, journal: AnswerJournal
) -> None:
    """Write the page.

    Raises:
        XPoseError: the place cannot be written to.
    """
    # Protocols without thresholds do not measure places: no errors, no best and worst pictures.
    threshold = max(protocol.thresholds, default=0.0)
    objects = result.scores.objects if protocol.thresholds else []
    best = gallery.choose(objects, threshold, best=True)
    best_tasks = {one.task for one in best}
    worst = [one for one in gallery.choose(objects, threshold, best=False) if one.task not in best_tasks]
    drawn = gallery.draw([*best, *worst], answered_tasks(protocol, data, settings, journal))
    page = render(
        "evaluation_report.html",
        title=f"{result.protocol}: {result.weights}",
        result=result,
        headline=_headline(result),
        headline_name=result.headline if result.headline != "headline" else result.tables[0].columns[4],
        statement=list(
            {"weights": result.weights, **result.statement, "made": f"{result.made}, xpose {result.version}"}.items()
        ),
        threshold=threshold,
        precision=list(_precision(result.scores)),
        errors=list(_errors(objects, threshold)) if objects else [],
        distances=_distances(objects) if objects else None,
        best=[one for one in drawn if one.task in best_tasks],
        worst=[one for one in drawn if one.task not in best_tasks],
    )
    write_text(path, page)


def _headline(result: Evaluation) -> str:
    if not math.isfinite(result.value):
        return "–"
    is_count = " per " in result.headline  # everything else is a share
    return f"{result.value:.3f}" if is_count else f"{100 * result.value:.1f}"


def polyline(xs: Iterable[float], ys: Iterable[float]) -> str:
    """The points of a curve in the chart of the page; values that are not finite are left out."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    clipped = np.clip(np.array(pairs).reshape(-1, 2), 0, 1)
    return " ".join(f"{48 + 358 * x:.1f},{220 - 206 * y:.1f}" for x, y in clipped.tolist())


def _precision(scores: Scores) -> Iterator[dict[str, Any]]:
    """Precision against recall of every group that has average precision."""
    for (group, variant), metrics in sorted(scores.metrics.items()):
        for name, metric in metrics.items():
            if isinstance(metric, AveragePrecision):
                curves = metric.curves()
                named = zip(
                    ("at 0.5", "at 0.75", "mean"),
                    COLOURS,
                    ("precision@0.5", "precision@0.75", "precision"),
                    strict=True,
                )
                yield {
                    "title": f"{group}{f', {variant}' if variant else ''}: "
                    f"{'boxes' if name.startswith('box') else 'poses'}",
                    "x": "recall",
                    "y": "precision",
                    "curves": [
                        (label, colour, polyline(curves["recall"], curves[key])) for label, colour, key in named
                    ],
                }


def _distances(objects: Sequence[ObjectScore]) -> dict[str, Any]:
    errors = np.sort(np.concatenate([one.values for one in objects]))
    xs = np.linspace(0, 1, 101)
    ys = np.searchsorted(errors, xs, side="right") / len(errors)
    return {
        "title": "Share of points within a distance (in shares of the object's size)",
        "x": "distance / size",
        "y": "share of points",
        "curves": [("", COLOURS[0], polyline(xs, ys))],
    }


def _errors(objects: Sequence[ObjectScore], threshold: float) -> Iterator[tuple[str, Bars]]:
    within = f"PCK@{threshold:g}"
    by_size: Bars = []
    for words, (low, high) in SIZES.items():
        if sized := [one for one in objects if low <= one.size < high]:
            by_size.append((f"{words} ({len(sized)})", (pck(sized, threshold),)))
    names: dict[str, list[bool]] = {}
    kinds: dict[str, list[bool]] = {"visible points": [], "hidden points": []}
    for one in objects:
        for name, error in one.errors.items():
            names.setdefault(name, []).append(error <= threshold)
            kinds["hidden points" if name in one.hidden else "visible points"].append(error <= threshold)
    often = sorted(names, key=lambda name: (-len(names[name]), name))[:MOST_NAMES]
    yield f"{within} by size of the object (root of its box's area)", by_size
    yield f"{within} of visible and of hidden points", _bars(kinds)
    worst_first = sorted(_bars({name: names[name] for name in often}), key=lambda bar: bar[1])
    yield f"{within} by keypoint, worst first (the most labelled names)", worst_first


def _bars(hits: dict[str, list[bool]]) -> Bars:
    return [(f"{name} ({len(own)})", (mean(map(float, own)),)) for name, own in hits.items() if own]
