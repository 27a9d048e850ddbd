"""Protocols for whole published sets: one row per set, its metrics, the papers' numbers next to ours.

`published_sets.toml` lists the sets, their splits and measures. If a set has one category, every picture of the split
is queried for it, even pictures without labels, as COCO's measure requires. Otherwise each picture is queried for the
categories that it shows.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from typing import Any

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.metrics.average_precision import BoxAP, OksAP, coco_library
from xpose.evaluation.metrics.distances import EPE, NME
from xpose.evaluation.metrics.points import AUC, Metric
from xpose.evaluation.protocols import PROTOCOLS, Cell, Findings, Protocol, Table, percent, stated
from xpose.evaluation.questions import (
    PromptKind,
    Question,
    Settings,
    Task,
    ask,
    categories_of,
    find_examples,
    limited,
    only,
    present,
    tasks_of,
)
from xpose.evaluation.scores import ObjectScore, Scores, pck
from xpose.records import Category, Record
from xpose.vocabulary import load_skeleton

OKS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")
FACTORIES: dict[str, Callable[[], Metric]] = {"AP": OksAP, "box AP": BoxAP, "NME": NME, "AUC": AUC, "EPE": EPE}
_SHARES = ("AP", "AR", "PCK", "box", "AUC", "NME")  # measures that are shown as percentages


@dataclass(frozen=True, kw_only=True)
class MeasuredSet:
    """One row: a set, its evaluated splits, and what is measured."""

    set: str  # the converter's name
    label: str  # of the row
    splits: Sequence[str]  # evaluated together
    measures: Sequence[str]  # names of numbers, the headline first; "PCK@t" for any threshold
    families: Sequence[str] = ()  # only objects of these families (by `taxonomy.family`)
    keypoints_of: str | None = None  # only the keypoints of this skeleton count; None for all
    by_style: bool = False  # also give a table by picture style
    note: str = ""

    def narrowed(self, record: Record) -> Record:
        """The record with only the objects and points that count."""
        instances = []
        for instance in record.instances:
            if self.families and instance.category.taxonomy.family not in self.families:
                continue
            if self.keypoints_of is not None:
                counted = load_skeleton(self.keypoints_of).keypoints
                names = tuple(name for name in instance.category.keypoints if name in counted)
                edges = tuple((a, b) for a, b in instance.category.edges if a in names and b in names)
                points = {name: point for name, point in instance.keypoints.items() if name in names}
                category = replace(instance.category, keypoints=names, edges=edges)
                instance = replace(instance, category=category, keypoints=points)
            instances.append(instance)
        return replace(record, instances=tuple(instances))


def _usual_split(parts: Sequence[MeasuredSet]) -> str:
    """The names of all evaluated splits; a run with this split uses each set's own splits."""
    return ", ".join(sorted({split for part in parts for split in part.splits}))


def _tasks(parts: Sequence[MeasuredSet], data: EvaluationData, settings: Settings) -> Iterator[Task]:
    shots = find_examples(data, settings)
    for part in _chosen(parts, data):
        splits = part.splits if data.split == _usual_split(parts) else (data.split,)
        records = ((part.narrowed(record), place) for split in splits for record, place in data.of_set(part.set, split))
        placed = list(limited(records, settings.limit))
        categories = list(dict.fromkeys(category for record, _ in placed for category in categories_of(record)))
        only_category = categories if len(categories) == 1 and not part.families else None

        def questions(
            record: Record, part: MeasuredSet = part, everywhere: list[Category] | None = only_category
        ) -> Iterator[Question | str]:
            for category in everywhere or categories_of(record):
                prompt, truth = ask(record, category, settings, shots), only(record, category)
                if prompt is None:
                    yield f"{record.source}: {category.name}, without an example in training"
                else:
                    count = sum(not instance.iscrowd for instance in truth.instances)
                    yield Question((prompt,), truth, None, part.label, matched=count)

        # Keys start with the row's name, since a picture can occur in several rows.
        yield from tasks_of(placed, questions, f"{part.label}:")


def _chosen(parts: Sequence[MeasuredSet], data: EvaluationData) -> list[MeasuredSet]:
    return [part for part in parts if not data.only or part.set in data.only]


def _scores(parts: Sequence[MeasuredSet], data: EvaluationData, settings: Settings) -> Scores:
    coco_library()  # reports a missing library before the first picture
    measures = {part.label: {_metric_of(measure) for measure in part.measures} for part in parts}
    return Scores(metrics=lambda key: {name: make() for name, make in FACTORIES.items() if name in measures[key[0]]})


def _metric_of(measure: str) -> str:
    return "box AP" if measure.startswith("box ") else "AP" if measure in OKS else measure.split("@")[0]


def _conclude(
    parts: Sequence[MeasuredSet], title: str, scores: Scores, data: EvaluationData, settings: Settings
) -> Findings:
    values: dict[str, float] = {}
    columns = list(dict.fromkeys(name for part in parts for name in part.measures))
    rows: list[tuple[Cell, ...]] = []
    for part in _chosen(parts, data):
        numbers = _numbers_of(scores, part)
        values |= {f"{name}/{part.label}": value for name, value in numbers.items()}
        values.setdefault("headline", numbers.get(part.measures[0], math.nan))
        cells = [percent(numbers.get(name)) if name.startswith(_SHARES) else numbers.get(name) for name in columns]
        pictures = scores.pictures[part.label, ""]
        rows.append((part.label, ", ".join(part.splits), pictures, len(scores.of(part.label)), *cells))
    notes = [f"{part.label}: {part.note}" for part in parts if part.note]
    missing = [part.label for part in _chosen(parts, data) if not scores.pictures[part.label, ""]]
    if missing:
        notes.append(f"No evaluated picture of these is under the given folders: {', '.join(missing)}.")
    tables = [Table(title, ("set", "split", "questions", "objects", *columns), rows, tuple(notes))]
    tables += [_by_style(scores, part) for part in parts if part.by_style and part.label in scores.groups()]
    return Findings(values, tuple(tables))


def _numbers_of(scores: Scores, part: MeasuredSet) -> dict[str, float]:
    """The measures of a row: its metrics' numbers, and PCK at its thresholds."""
    objects = scores.of(part.label, "")
    thresholds = {name: float(name.removeprefix("PCK@")) for name in part.measures if name.startswith("PCK@")}
    metrics = {name: value for name, value in scores.numbers(part.label).items() if name in part.measures}
    return metrics | {name: pck(objects, threshold) for name, threshold in thresholds.items()}


def _by_style(scores: Scores, part: MeasuredSet) -> Table:
    styles: dict[str, list[ObjectScore]] = {}
    for score in scores.of(part.label):
        styles.setdefault(score.style or "not stated", []).append(score)
    rows = [(style, len(objects), percent(pck(objects, 0.2))) for style, objects in sorted(styles.items())]
    return Table(f"{part.label}, by style of picture", ("style", "objects", "PCK@0.2"), rows)


def _protocol(name: str, entry: Mapping[str, Any]) -> Protocol:
    title, parts = entry["title"], [SETS[label] for label in entry["sets"]]
    return Protocol(
        name=name,
        title=title,
        source=entry["source"],
        data="; ".join(f"{part.label} ({', '.join(part.splits)})" for part in parts),
        boxes="found, not given; for numbers on points the answer whose box has the highest IoU with the labelled box, "
        "of as many answers as there are objects; for average precision all answers",
        prompts="the category's name and its set's keypoint names; sets with several categories only for those present",
        pck="longer side of the labelled box; labelled points, hidden ones too",
        metrics=tuple(dict.fromkeys(measure for part in parts for measure in part.measures)),
        headline="headline",
        tasks=partial(_tasks, parts),
        scores=partial(_scores, parts),
        conclude=partial(_conclude, parts, title[:1].upper() + title[1:]),
        split=_usual_split(parts),
        sets=tuple(dict.fromkeys(part.set for part in parts)),
        published=tuple(entry.get("published", ())),
    )


SETS = {
    label: MeasuredSet(**{"set": label, "label": label, **entry})
    for label, entry in tomllib.loads(files(__package__).joinpath("published_sets.toml").read_text("utf-8")).items()
}
BY_NAME = {name: _protocol(name, entry) for name, entry in PROTOCOLS.items() if entry["at"] == "published_sets"}

# The papers' ablations on AP-10K: the rows differ in how weights were trained, so the table needs one run per recipe
# (recipes/ablations), compared with `xpose compare`.
ABLATED_SET, ABLATED_SPLIT = "ap10k", "val"
ABLATED_KINDS: tuple[PromptKind, ...] = ("text", "visual")
ABLATED_PRECISION = ("AP", "AP50", "AP75")


def _ablation_tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    by_kind = {kind: replace(settings, prompts=kind) for kind in ABLATED_KINDS}
    shots = find_examples(data, by_kind["visual"])

    def questions(record: Record) -> Iterator[Question | str]:
        for category, truth, count in present(record):
            for kind, kind_settings in by_kind.items():
                asked = ask(record, category, kind_settings, shots)
                if asked is None:
                    yield f"{category.name} by examples: the training split shows none"
                else:
                    yield Question((asked,), truth, None, ABLATED_SET, kind, matched=count)

    return tasks_of(limited(data.of_set(ABLATED_SET, data.split), settings.limit), questions)


def _ablation_scores(data: EvaluationData, settings: Settings) -> Scores:
    coco_library()
    return Scores(metrics=lambda key: {"AP": OksAP()})


def _conclude_ablation(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for kind in ABLATED_KINDS:
        numbers = scores.numbers(ABLATED_SET, kind)
        values |= {f"{name}/{kind}": numbers.get(name, math.nan) for name in ABLATED_PRECISION}
        values[f"PCK@0.2/{kind}"] = pck(scores.of(ABLATED_SET, kind), 0.2)
        shown = [percent(values[f"{name}/{kind}"]) for name in (*ABLATED_PRECISION, "PCK@0.2")]
        rows.append((kind, len(scores.of(ABLATED_SET, kind)), *shown))
    columns = ("tested with", "objects", *ABLATED_PRECISION, "PCK@0.2")
    return Findings(values, (Table("These weights on AP-10K", columns, rows),))


ABLATIONS = stated(
    "ablations",
    split=ABLATED_SPLIT,
    sets=(ABLATED_SET,),
    tasks=_ablation_tasks,
    scores=_ablation_scores,
    conclude=_conclude_ablation,
    published=("ablations",),
)
