"""`nano-real`: the sets of any folder of COCO keypoint sets, object by object, beside a baseline that sees nothing.

Per labelled object: a text prompt of its category with its set's keypoint names, threshold 0, as many answers as the
picture holds objects of that category; the answer whose box overlaps the object's the most is assigned to it; the share
of labelled points within 0.2 of the box's longer side. Mean over objects, then over sets.

The baseline answers every object of a set and category with the mean place of each point in the training split, in
shares of the frame. A set on which that alone exceeds 80 % is shown but left out of the means: its objects hardly move.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from xpose.errors import MissingExtraError
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import as_poses
from xpose.evaluation.metrics import Metric
from xpose.evaluation.metrics.average_precision import BoxAP, OksAP
from xpose.evaluation.metrics.distances import ExpectedErrors
from xpose.evaluation.metrics.pck import PCK
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.protocols.base import ERRORS, Findings, Protocol, error_correlation
from xpose.evaluation.protocols.making_questions import SetCategory, ask, find_examples, present, tasks_about
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.scores import Scores, mean, pck
from xpose.evaluation.settings import Settings
from xpose.evaluation.tables import Cell, Table, percent
from xpose.records import VISIBLE, Instance, Record
from xpose.results import Poses

THRESHOLDS = (0.2, 0.1)
TOO_EASY = 0.8  # a set is left out of the means if the baseline alone exceeds this
PRECISION_SETS = ("coco_person", "coco_people", "animal_pose")  # labelled well enough for average precision


@dataclass
class MeanPose:
    """For each set and category the mean place of every point, in shares of the frame's width and height."""

    places: dict[SetCategory, dict[str, tuple[float, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> MeanPose:
        """The mean over all labelled points of all objects; the centre of pixel (0, 0) is at half a pixel."""
        sums: dict[SetCategory, dict[str, list[float]]] = {}
        for record in records:
            width, height = record.picture.width, record.picture.height
            for instance in record.instances:
                if instance.iscrowd:
                    continue
                table = sums.setdefault((record.source, instance.category), {})
                for name, (x, y, v) in instance.keypoints.items():
                    if v:
                        cell = table.setdefault(name, [0.0, 0.0, 0.0])
                        cell[0] += (x + 0.5) / width
                        cell[1] += (y + 0.5) / height
                        cell[2] += 1
        return cls({kind: {n: (x / c, y / c) for n, (x, y, c) in table.items()} for kind, table in sums.items()})

    def answer(self, record: Record) -> Poses:
        """The mean pose for every object of the record (`match="given"`), in the record's pixels."""
        width, height = record.picture.width, record.picture.height

        def placed(instance: Instance) -> Instance:
            shares = self.places.get((record.source, instance.category), {})
            points = {name: (x * width - 0.5, y * height - 0.5, VISIBLE) for name, (x, y) in shares.items()}
            return replace(instance, box=(0.0, 0.0, width, height), keypoints=points)

        return as_poses(replace(record, instances=tuple(map(placed, record.instances))))


@lru_cache(maxsize=8)  # validation during training calls it again and again
def baseline(data: EvaluationData) -> dict[str, dict[str, float]]:
    """For each set "PCK@0.2" and "PCK@0.1" of the mean pose of the training split, on the whole evaluated split."""
    poses = MeanPose.of(record for record, _ in data.records("train"))
    metric = PCK(THRESHOLDS, rules=PointRules(match="given"))
    for record, _ in data.records():
        metric.update(record, poses.answer(record))
    sets: dict[str, dict[str, float]] = {}
    for key, value in metric.compute().items():
        name, sign, of_set = key.partition("/set/")
        if sign:
            sets.setdefault(of_set, {})[name] = value
    return sets


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    shots = find_examples(data, settings)

    def questions(record: Record) -> Iterator[Question | str]:
        for category, truth, count in present(record):
            asked = ask(record, category, settings, shots)
            if asked is None:
                yield f"{record.source}: {category.name}, of which the training split shows no visible point"
            else:  # average precision takes all answers
                most = None if record.source in PRECISION_SETS else count
                yield Question((asked,), truth, most, record.source, matched=count)

    return tasks_about(data, settings, questions)


def _scores(data: EvaluationData, settings: Settings) -> Scores:
    def metrics(key: tuple[str, str]) -> dict[str, Metric]:
        precision = {"AP": OksAP(), "box AP": BoxAP()} if key[0] in PRECISION_SETS else {}
        return {ERRORS: ExpectedErrors(), **precision}

    return Scores(metrics=metrics)


@dataclass(frozen=True)
class _SetNumbers:
    """A row of the table."""

    name: str
    objects: int
    several: bool  # some picture shows more than one object
    pck: Mapping[str, float]
    baseline: Mapping[str, float]
    iou: float

    @property
    def easy(self) -> bool:
        """Whether the baseline alone exceeds the limit."""
        return self.baseline.get("PCK@0.2", 0.0) > TOO_EASY

    def values(self, suffix: str) -> dict[str, float]:
        """The numbers by their names in the summary."""
        baseline = {f"baseline/{name}{suffix}": self.baseline.get(name, math.nan) for name in self.pck}
        return {f"{name}{suffix}": value for name, value in self.pck.items()} | baseline | {f"IoU{suffix}": self.iou}

    def cells(self, label: str, several: str) -> tuple[Cell, ...]:
        """The row of the table."""
        numbers = [percent(part.get(name)) for name in self.pck for part in (self.pck, self.baseline)]
        return label, several, self.objects, *numbers, percent(self.iou)


def _mean_of(rows: Sequence[_SetNumbers]) -> _SetNumbers:
    names = [f"PCK@{t:g}" for t in THRESHOLDS]
    return _SetNumbers(
        "",
        sum(row.objects for row in rows),
        several=False,
        pck={name: mean(row.pck[name] for row in rows) for name in names},
        baseline={name: mean(row.baseline.get(name, math.nan) for row in rows) for name in names},
        iou=mean(row.iou for row in rows),
    )


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    blind, crowded, first_sets = baseline(data), _sets_with_several(data), data.first_sets()
    rows = []
    for group in scores.groups():
        objects = scores.of(group)
        points = {f"PCK@{t:g}": pck(objects, t) for t in THRESHOLDS}
        iou = mean(one.iou for one in objects)
        rows.append(_SetNumbers(group, len(objects), group in crowded, points, blind.get(group, {}), iou))
    counted = [row for row in rows if not row.easy]
    means = {
        "": counted,
        "/sets with several objects": [row for row in counted if row.several],
        "/sets with one object": [row for row in counted if not row.several],
    }
    if first_sets:
        means["/first sets"] = [row for row in counted if row.name in first_sets]
    values: dict[str, float] = {}
    for suffix, counting in means.items():
        values |= _mean_of(counting).values(suffix)
    for row in rows:
        values |= row.values(f"/set/{row.name}")
        values[f"easy/set/{row.name}"] = float(row.easy)
    correlations, correlation_tables = error_correlation(scores)
    precisions, precision_table = _precision(scores)
    return Findings(
        values | precisions | correlations,
        (_table(rows, means), *precision_table, *correlation_tables),
        dict.fromkeys(("PCK@0.2", "PCK@0.1", "IoU"), "sets"),
        tuple(row.name for row in rows if row.easy),
    )


def _precision(scores: Scores) -> tuple[dict[str, float], list[Table]]:
    names = ("AP", "AP50", "AP75", "box AP", "box AP50")
    try:
        numbers = {group: scores.numbers(group) for group in scores.groups() if group in PRECISION_SETS}
    except MissingExtraError as error:  # the other numbers are still shown
        return {}, [Table("Average precision", ("set",), (), (str(error),))]
    if not numbers:
        return {}, []
    cells = tuple((group, *(percent(of_set[name]) for name in names)) for group, of_set in numbers.items())
    note = "Every answer counts here; a category is asked only in pictures that hold it."
    values = {f"{name}/set/{group}": of_set[name] for group, of_set in numbers.items() for name in names}
    return values, [Table("Average precision", ("set", *names), cells, (note,))]


@lru_cache(maxsize=8)
def _sets_with_several(data: EvaluationData) -> set[str]:
    """Sets of which some evaluated picture holds more than one object."""
    return {r.source for r, _ in data.records() if sum(not one.iscrowd for one in r.instances) > 1}


def _table(rows: Sequence[_SetNumbers], means: Mapping[str, Sequence[_SetNumbers]]) -> Table:
    cells = [row.cells(f"{row.name}{' *' * row.easy}", "several" if row.several else "one") for row in rows]
    for suffix, counting in means.items():
        label = suffix.replace("/sets with", ":").replace("/", ": ").replace(" objects", "").replace(" object", "")
        cells.append(_mean_of(counting).cells(f"mean{label} ({len(counting)})", ""))
    columns = [f"{what} @{t:g}" for t in THRESHOLDS for what in ("PCK", "blind")]
    easy = ", ".join(row.name for row in rows if row.easy)
    notes = (
        'Mean over objects, then over sets. "blind" is the training split\'s mean pose placed in the frame; "shown": '
        "whether a picture shows one object or several.",
        f"* Left out of the means because the mean pose alone passes {TOO_EASY:.0%}: {easy or 'none'}.",
    )
    return Table("Real sets", ("set", "shown", "objects", *columns, "IoU"), tuple(cells), notes)


PROTOCOL = Protocol(
    name="nano-real",
    title="real sets of many kinds of objects, each object asked for by its category's name",
    source="this project",
    data="every set under the folder",
    boxes="found, not given; of as many answers as the picture holds objects of the category, the one whose box has "
    "the highest IoU with the labelled box stands for an object",
    prompts="the category's name and its set's keypoint names; only categories that the picture holds",
    pck="longer side of the labelled box; labelled points, hidden ones too; 0.2 and 0.1",
    metrics=("PCK@0.2", "PCK@0.1", "mean IoU", f"OKS-AP and box AP on {', '.join(PRECISION_SETS)}"),
    headline="PCK@0.2",
    thresholds=THRESHOLDS,
    tasks=_tasks,
    scores=_scores,
    conclude=_conclude,
)
