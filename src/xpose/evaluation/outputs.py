"""The files of a run: `run.json` for `xpose compare`, tables and an HTML report, and COCO results."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from xpose.errors import XPoseError
from xpose.evaluation.answers import AnswerJournal, Answers
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import as_poses
from xpose.evaluation.metrics.average_precision import AveragePrecision
from xpose.evaluation.protocols import Protocol
from xpose.evaluation.questions import Question, Settings, Task
from xpose.evaluation.results import CocoTruth, annotation_file, read_truth, write_results
from xpose.evaluation.run_file import RUN, write_run
from xpose.evaluation.scores import ObjectScore, Scores, mean, pck
from xpose.pages import embedded, render
from xpose.pictures.atomic import write_text
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.evaluation.runner import Evaluation

TABLES, REPORT, COCO = "tables.md", "report.html", "coco"
MOST_NAMES = 40  # keypoint names in the chart
COLOURS = ("#1668b5", "#d9622b", "#2f8f5b")
PRECISION = {"at 0.5": "precision@0.5", "at 0.75": "precision@0.75", "mean": "precision"}
SIZES = {
    "below 32 px": (0.0, 32.0),
    "32 to 96 px": (32.0, 96.0),
    "96 to 256 px": (96.0, 256.0),
    "256 px and more": (256.0, math.inf),
}
MOST_PICTURES, MOST_PER_GROUP, MOST_QUESTIONS = 8, 2, 4  # limits of the report; questions are per picture
SIDE = 380  # pixels, longer side of a picture in the report

Bars = list[tuple[str, tuple[float]]]  # name and share


def write_outputs(
    folder: Path,
    result: Evaluation,
    protocol: Protocol,
    data: EvaluationData,
    settings: Settings,
    journal: AnswerJournal,
) -> list[Path]:
    """Write all files, and return their paths in the order in which to read them."""

    def answered() -> Iterator[tuple[Task, Answers]]:
        for task in protocol.tasks(data, settings):
            if task.key in journal:
                yield task, journal.get(task.key)

    write_run(folder / RUN, result)
    write_text(folder / TABLES, markdown(result))
    write_report(folder / REPORT, result, protocol, answered())
    return [folder / REPORT, folder / TABLES, folder / RUN, *write_coco(folder / COCO, data, answered())]


def markdown(result: Evaluation) -> str:
    """Return all tables, preceded by their statement, as Markdown."""
    lines = [f"# {result.statement['protocol']}", "", f"- weights: {result.weights}"]
    lines += [f"- {name}: {value}" for name, value in result.statement.items() if name != "protocol"]
    lines += [f"- xpose {result.version}, {result.made}", ""]
    lines += [table.markdown() for table in result.tables]
    if result.faults:
        lines += ["### Pictures that were skipped", ""]
        lines += [f"- {fault.key}: {fault.message}" for fault in result.faults]
    return "\n".join(lines) + "\n"


def write_coco(folder: Path, data: EvaluationData, answered: Iterable[tuple[Task, Answers]]) -> list[Path]:
    """Write COCO results, poses and boxes separately, for every set with an annotation file in the given folders.

    Variants of questions (typos, other prompts) are omitted, since a file holds one answer.
    """
    truths: dict[tuple[str, str], CocoTruth] = {}
    poses: dict[tuple[str, str], list[tuple[int, Poses]]] = {}
    for task, answers in answered:
        key = (task.record.source, task.record.split)
        if key not in poses:
            poses[key] = []
            if labels := annotation_file(data, *key):
                truths[key] = read_truth(labels)
        if key in truths and not any(question.trim for question in task.questions):
            plain = [answer for question, answer in zip(task.questions, answers, strict=True) if not question.variant]
            poses[key] += [(truths[key].id_of(task.record), answer) for answer in plain]
    written = []
    for (source, split), of_set in poses.items():
        for kind in ("keypoints", "boxes") if of_set else ():
            written.append(folder / f"{source}.{split}.{kind}.json")
            write_results(written[-1], of_set, truths[source, split].unified_categories, kind)
    return written


def write_report(path: Path, result: Evaluation, protocol: Protocol, answered: Iterable[tuple[Task, Answers]]) -> None:
    """Write the report: one self-contained HTML file without scripts."""
    shown = f"{result.value:.3f}" if " per " in result.headline else f"{100 * result.value:.1f}"  # a count or a share
    # Protocols without thresholds do not measure points: no errors, no best and worst pictures.
    threshold = max(protocol.thresholds, default=0.0)
    objects = result.scores.objects if protocol.thresholds else []
    best = choose(objects, threshold, best=True)
    best_tasks = {picture.task for picture in best}
    worst = [picture for picture in choose(objects, threshold, best=False) if picture.task not in best_tasks]
    drawn = _drawn_pictures([*best, *worst], answered)
    made = f"{result.made}, xpose {result.version}"
    page = render(
        "evaluation_report.html",
        title=f"{result.protocol}: {result.weights}",
        result=result,
        headline=shown if math.isfinite(result.value) else "–",
        headline_name=result.headline if result.headline != "headline" else result.tables[0].columns[4],
        statement=[("weights", result.weights), *result.statement.items(), ("made", made)],
        threshold=threshold,
        precision=list(_precision(result.scores)),
        errors=list(_errors(objects, threshold)) if objects else [],
        distances=_distances(objects) if objects else None,
        best=[picture for picture in drawn if picture.task in best_tasks],
        worst=[picture for picture in drawn if picture.task not in best_tasks],
    )
    write_text(path, page)


def polyline(xs: Iterable[float], ys: Iterable[float]) -> str:
    """The points of a curve in a chart of the page, without non-finite values."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    clipped = np.clip(np.array(pairs).reshape(-1, 2), 0, 1)
    return " ".join(f"{48 + 358 * x:.1f},{220 - 206 * y:.1f}" for x, y in clipped.tolist())


def _precision(scores: Scores) -> Iterator[dict[str, Any]]:
    """The curves of precision against recall of every group that has average precision."""
    for (group, variant), metrics in sorted(scores.metrics.items()):
        for name, metric in metrics.items():
            if isinstance(metric, AveragePrecision):
                curves = metric.curves()
                lines = [
                    (label, colour, polyline(curves["recall"], curves[key]))
                    for colour, (label, key) in zip(COLOURS, PRECISION.items(), strict=True)
                ]
                shapes = "boxes" if name.startswith("box") else "poses"
                title = f"{group}{f', {variant}' if variant else ''}: {shapes}"
                yield {"title": title, "x": "recall", "y": "precision", "curves": lines}


def _distances(objects: Sequence[ObjectScore]) -> dict[str, Any]:
    errors = np.sort(np.concatenate([score.values for score in objects]))
    xs = np.linspace(0, 1, 101)
    curve = polyline(xs, np.searchsorted(errors, xs, side="right") / len(errors))
    title = "Share of points within a distance (in shares of the object's size)"
    return {"title": title, "x": "distance / size", "y": "share of points", "curves": [("", COLOURS[0], curve)]}


def _errors(objects: Sequence[ObjectScore], threshold: float) -> Iterator[tuple[str, Bars]]:
    within = f"PCK@{threshold:g}"
    sized = {words: [score for score in objects if low <= score.size < high] for words, (low, high) in SIZES.items()}
    by_size = [(f"{words} ({len(group)})", (pck(group, threshold),)) for words, group in sized.items() if group]
    names: dict[str, list[bool]] = {}
    kinds: dict[str, list[bool]] = {"visible points": [], "hidden points": []}
    for score in objects:
        for name, error in score.errors.items():
            names.setdefault(name, []).append(error <= threshold)
            kinds["hidden points" if name in score.hidden else "visible points"].append(error <= threshold)
    often = sorted(names, key=lambda name: (-len(names[name]), name))[:MOST_NAMES]
    yield f"{within} by size of the object (root of its box's area)", by_size
    yield f"{within} of visible and of hidden points", _bars(kinds)
    worst_first = sorted(_bars({name: names[name] for name in often}), key=lambda bar: bar[1])
    yield f"{within} by keypoint, worst first (the most labelled names)", worst_first


def _bars(hits: dict[str, list[bool]]) -> Bars:
    return [(f"{name} ({len(values)})", (mean(map(float, values)),)) for name, values in hits.items() if values]


@dataclass(frozen=True)
class GalleryPicture:
    """A question and its answer: the share of near points, and after drawing the pictures as data URLs."""

    task: str
    group: str
    share: float
    labels: str = ""
    answer: str = ""
    words: str = ""


def choose(objects: Sequence[ObjectScore], threshold: float, *, best: bool) -> list[GalleryPicture]:
    """The pictures with the highest or lowest mean share of points within the threshold, few of each group.

    Ties are resolved by the mean error, then by name, so that the same run shows the same pictures.
    """
    pictures: dict[tuple[str, str], list[ObjectScore]] = {}
    for score in objects:
        pictures.setdefault((score.group, score.task), []).append(score)
    ranked = []
    for (group, task), scores in pictures.items():
        share = mean(score.share(threshold) for score in scores)
        error = mean(float(np.minimum(score.values, 9.0).mean()) for score in scores)
        ranked.append(((-share, error) if best else (share, -error), task, GalleryPicture(task, group, share)))
    chosen: list[GalleryPicture] = []
    for _, _, candidate in sorted(ranked, key=lambda item: item[:2]):
        if sum(other.group == candidate.group for other in chosen) < MOST_PER_GROUP:
            chosen.append(candidate)
    return chosen[:MOST_PICTURES]


def _drawn_pictures(chosen: Sequence[GalleryPicture], answered: Iterable[tuple[Task, Answers]]) -> list[GalleryPicture]:
    """The chosen pictures with labels and answers drawn, in order; unreadable ones are omitted."""
    by_task = {picture.task: picture for picture in chosen}
    drawn: dict[str, GalleryPicture] = {}
    for task, answers in answered:
        if task.key in by_task and task.key not in drawn:
            with contextlib.suppress(XPoseError):
                drawn[task.key] = _drawn(by_task[task.key], task, answers)
    return [drawn[picture.task] for picture in chosen if picture.task in drawn]


def _drawn(chosen: GalleryPicture, task: Task, answers: Answers) -> GalleryPicture:
    pairs = [(q, a) for q, a in zip(task.questions, answers, strict=True) if q.group == chosen.group]
    pairs = [(q, a) for q, a in pairs if q.variant == pairs[0][0].variant][:MOST_QUESTIONS]
    pixels = task.pixels()

    def most(question: Question) -> int | None:
        """The number of answers that can be assigned to objects; None for no limit."""
        one_each = max(1, len(question.truth.instances)) if question.trim else None
        return question.matched or question.most or one_each

    labels = Poses.concatenate([as_poses(question.truth) for question, _ in pairs])
    answer = Poses.concatenate([predicted[: most(question)] for question, predicted in pairs])
    words = ", ".join(dict.fromkeys(asked.called for question, _ in pairs for asked in question.asked))
    return dataclasses.replace(chosen, labels=_jpeg(pixels, labels), answer=_jpeg(pixels, answer), words=words)


def _jpeg(pixels: np.ndarray, poses: Poses) -> str:
    """A drawing as the data URL of an image."""
    small = Image.fromarray(pixels)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    size = small.size
    scale = np.array([size[0] / pixels.shape[1], size[1] / pixels.shape[0]])
    # Half a pixel more: drawing uses continuous coordinates. All points are drawn, since all are scored.
    placed = dataclasses.replace(
        poses,
        visibility=np.where(np.isfinite(poses.xy).all(-1), np.maximum(poses.visibility, 1), 0),
        xy=(poses.xy + 0.5) * scale,
        boxes=poses.boxes * np.tile(scale, 2),
        image_size=(size[1], size[0]),
        source=None,
    )
    stream = io.BytesIO()
    placed.draw(small, labels=False, legend="none").convert("RGB").save(stream, "JPEG", quality=82)
    return embedded(stream.getvalue())
