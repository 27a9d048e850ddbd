"""The report: one HTML file without scripts or further files, for a browser, an e-mail or an archive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.evaluation import charts, gallery
from xpose.evaluation.answers import Journal, answered_tasks
from xpose.evaluation.data import Data
from xpose.evaluation.metrics.average_precision import AveragePrecision
from xpose.evaluation.protocols import Protocol
from xpose.evaluation.scores import ObjectScore, Scores, mean, pck
from xpose.evaluation.settings import Settings
from xpose.evaluation.tables import Table
from xpose.pictures.atomic import write_text

if TYPE_CHECKING:
    from xpose.evaluation.runner import Evaluation

MOST_NAMES = 40  # keypoint names in the chart
SIZES = ((0.0, 32.0, "below 32 px"), (32.0, 96.0, "32 to 96 px"), (96.0, 256.0, "96 to 256 px"), (256.0, math.inf, ""))
_LARGEST = "256 px and more"

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;background:#fff;max-width:1120px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;border-bottom:1px solid #d9dee3}
.big{font-size:2rem;font-weight:600}
.note{color:#52606d;font-size:.9rem;margin:.2rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;margin:.4rem 0 .6rem}
th,td{padding:.22rem .6rem;text-align:left}
th{border-bottom:2px solid #9aa5b1;vertical-align:bottom}
td{border-bottom:1px solid #e4e7eb}
.n{text-align:right;font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:8rem 1fr;gap:.15rem .8rem;font-size:.9rem}
dt{color:#52606d}
dd{margin:0}
.row{display:flex;flex-wrap:wrap;gap:1.2rem;align-items:flex-start}
.stack{display:flex;flex-direction:column;gap:1.6rem}
figure{margin:0;max-width:100%}
figcaption{font-size:.85rem;color:#52606d;max-width:30rem;overflow-wrap:anywhere}
.pair{display:flex;gap:.4rem}
.pair img{max-width:min(250px,45vw);height:auto;border:1px solid #d9dee3}
svg{max-width:100%;height:auto}
svg text{font:12px system-ui,sans-serif}
"""


def write_report(
    path: Path, result: Evaluation, protocol: Protocol, data: Data, settings: Settings, journal: Journal
) -> None:
    """Write the page.

    Raises:
        XPoseError: the place cannot be written to.
    """
    # Protocols without thresholds do not measure places: no errors, no best and worst pictures.
    scores, threshold = result.scores, max(protocol.thresholds, default=0.0)
    objects = scores.objects if protocol.thresholds else []
    best = gallery.choose(objects, threshold, best=True)
    chosen = {one.task for one in best}
    worst = [one for one in gallery.choose(objects, threshold, best=False) if one.task not in chosen]
    shown = gallery.draw([*best, *worst], answered_tasks(protocol, data, settings, journal))
    parts = [
        _head(result),
        *(_table(table) for table in result.tables),
        _precision(scores),
        _errors(objects, threshold),
        _gallery("Best pictures", [one for one in shown if one.chosen in best], threshold),
        _gallery("Worst pictures", [one for one in shown if one.chosen in worst], threshold),
        _skipped(result),
    ]
    title = escape(f"{result.protocol}: {result.weights}")
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(filter(None, parts))
        + "</body></html>\n",
    )


def _head(result: Evaluation) -> str:
    value = result.value
    counted = " per " in result.headline  # a count; everything else is a share
    number = "–" if not math.isfinite(value) else f"{value:.3f}" if counted else f"{100 * value:.1f}"
    name = result.headline if result.headline != "headline" else result.tables[0].columns[4]
    rows = {"weights": result.weights, **result.statement, "made": f"{result.made}, xpose {result.version}"}
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(text))}</dd>" for key, text in rows.items())
    headline = f'<div><span class="big">{number}</span> {escape(name)}</div>'
    return f"<h1>{escape(result.protocol)}</h1>{headline}<dl>{listed}</dl>"


def _table(table: Table) -> str:
    numeric = [all(not isinstance(row[i], str) for row in table.rows) for i in range(len(table.columns))]
    kind = ['class="n"' if right else "" for right in numeric]
    head = "".join(f"<th {kind[i]}>{escape(name)}</th>" for i, name in enumerate(table.columns))
    body = "".join(
        "<tr>" + "".join(f"<td {kind[i]}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in table.cells()
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return f'<h2>{escape(table.title)}</h2><div class="scroll"><table><tr>{head}</tr>{body}</table></div>{notes}'


def _precision(scores: Scores) -> str:
    """Precision against recall of every group that has average precision."""
    figures = []
    for (group, variant), metrics in sorted(scores.metrics.items()):
        for name, metric in metrics.items():
            if not isinstance(metric, AveragePrecision):
                continue
            curves = metric.curves()
            series = [
                (label, curves["recall"], curves[key])
                for label, key in (("at 0.5", "precision@0.5"), ("at 0.75", "precision@0.75"), ("mean", "precision"))
            ]
            title = f"{group}{f', {variant}' if variant else ''}: {'boxes' if name.startswith('box') else 'poses'}"
            picture = charts.lines(f"Precision and recall, {title}", "recall", "precision", series)
            figures.append(f"<figure>{picture}<figcaption>{escape(title)}</figcaption></figure>")
    return f'<h2>Precision against recall</h2><div class="row">{"".join(figures)}</div>' if figures else ""


def _errors(objects: Sequence[ObjectScore], threshold: float) -> str:
    if not objects:
        return ""
    within = f"PCK@{threshold:g}"
    small = [
        (f"{within} by size of the object (root of its box's area)", _sizes(objects, threshold)),
        (f"{within} of visible and of hidden points", _occlusion(objects, threshold)),
        ("Share of points within a distance (in shares of the object's size)", _cumulative(objects)),
    ]
    shown = "".join(f"<figure>{svg}<figcaption>{escape(words)}</figcaption></figure>" for words, svg in small)
    names = charts.bars("by keypoint", _by_name(objects, threshold))
    left = (
        f"<figure>{names}<figcaption>{within} by keypoint, worst first (the most labelled names)</figcaption></figure>"
    )
    return f'<h2>Where the errors are</h2><div class="row">{left}<div class="stack">{shown}</div></div>'


def _by_name(objects: Sequence[ObjectScore], threshold: float) -> list[tuple[str, float, str]]:
    hits: dict[str, list[int]] = {}
    for one in objects:
        for name, error in one.errors.items():
            cell = hits.setdefault(name, [0, 0])
            cell[0] += error <= threshold
            cell[1] += 1
    often = sorted(hits, key=lambda name: (-hits[name][1], name))[:MOST_NAMES]
    rows = [(name, hits[name][0] / hits[name][1], hits[name][1]) for name in often]
    return [(name, share, f"{100 * share:.0f} ({n})") for name, share, n in sorted(rows, key=lambda row: row[1])]


def _sizes(objects: Sequence[ObjectScore], threshold: float) -> str:
    rows = []
    for low, high, words in SIZES:
        own = [one for one in objects if low <= one.size < high]
        share = pck(own, threshold)
        rows.append((words or _LARGEST, share, f"{100 * share:.1f} ({len(own)})" if own else "none"))
    return charts.bars("by size", rows)


def _occlusion(objects: Sequence[ObjectScore], threshold: float) -> str:
    kinds: dict[str, list[bool]] = {"visible points": [], "hidden points": []}
    for one in objects:
        for name, error in one.errors.items():
            kinds["hidden points" if name in one.hidden else "visible points"].append(error <= threshold)
    rows = []
    for kind, found in kinds.items():
        share = mean(map(float, found))
        rows.append((kind, share, f"{100 * share:.1f} ({len(found)})" if found else "none labelled"))
    return charts.bars("by occlusion", rows)


def _cumulative(objects: Sequence[ObjectScore]) -> str:
    errors = np.concatenate([one.values for one in objects])
    xs = np.linspace(0, 1, 101)
    ys = np.searchsorted(np.sort(errors), xs, side="right") / len(errors)
    return charts.lines(
        "Points within a distance", "distance / size", "share of points", [("", xs.tolist(), ys.tolist())]
    )


def _gallery(title: str, shown: Sequence[gallery.Shown], threshold: float) -> str:
    if not shown:
        return ""
    figures = []
    for one in shown:
        words = f"{one.chosen.task} · {one.words} · {100 * one.chosen.share:.0f} % within {threshold:g}"
        pair = "".join(
            f'<img src="{source}" alt="{escape(f"{kind} of {one.chosen.task}", quote=True)}">'
            for kind, source in (("labels", one.labels), ("answer", one.answer))
        )
        figures.append(f'<figure><div class="pair">{pair}</div><figcaption>{escape(words)}</figcaption></figure>')
    note = '<p class="note">Labels on the left, answers on the right.</p>'
    return f'<h2>{title}</h2>{note}<div class="row">{"".join(figures)}</div>'


def _skipped(result: Evaluation) -> str:
    if not result.faults:
        return ""
    rows = "".join(f"<li>{escape(fault.key)}: {escape(fault.message)}</li>" for fault in result.faults)
    return f"<h2>Pictures that were skipped</h2><ul>{rows}</ul>"
