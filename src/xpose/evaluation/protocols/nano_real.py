"""`nano-real`: any folder of COCO keypoint sets, scored by object and compared with a blind baseline.

The baseline answers every object of a set and category with the mean position of each point in the training split,
relative to the frame. A set where it exceeds 80 % is shown but excluded from the means: its objects hardly move.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from xpose.errors import MissingExtraError
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import as_poses
from xpose.evaluation.metrics.average_precision import BoxAP, OksAP
from xpose.evaluation.metrics.distances import ExpectedErrors
from xpose.evaluation.metrics.points import PCK, Metric, PointRules
from xpose.evaluation.protocols import ERRORS, Cell, Findings, Table, error_correlation, percent, stated
from xpose.evaluation.questions import Question, SetCategory, Settings, Task, ask, find_examples, present, tasks_about
from xpose.evaluation.scores import Scores, mean, pck
from xpose.records import VISIBLE, Instance, Record
from xpose.results import Poses

THRESHOLDS = (0.2, 0.1)
NUMBERS = ("PCK@0.2", "baseline/PCK@0.2", "PCK@0.1", "baseline/PCK@0.1", "IoU")
TOO_EASY = 0.8  # a set is excluded from the means if the baseline exceeds this
# The position of every point by set and category, relative to the frame's width and height.
MeanPlaces = dict[SetCategory, dict[str, tuple[float, float]]]
PRECISION_SETS = ("coco_person", "coco_people", "animal_pose")  # labelled well enough for average precision


def mean_places(records: Iterable[Record]) -> MeanPlaces:
    """The mean position of labelled points; the centre of pixel (0, 0) is at (0.5, 0.5)."""
    sums: dict[SetCategory, dict[str, list[float]]] = {}
    for record in records:
        for instance in record.instances:
            if instance.iscrowd:
                continue
            table = sums.setdefault((record.source, instance.category), {})
            for name, (x, y, v) in instance.keypoints.items():
                if v:
                    cell = table.setdefault(name, [0.0, 0.0, 0.0])
                    cell[0] += (x + 0.5) / record.picture.width
                    cell[1] += (y + 0.5) / record.picture.height
                    cell[2] += 1
    return {kind: {n: (x / c, y / c) for n, (x, y, c) in table.items()} for kind, table in sums.items()}


def blind_answer(record: Record, places: MeanPlaces) -> Poses:
    """The mean pose for every object of the record (`match="given"`), in the record's pixels."""
    width, height = record.picture.width, record.picture.height

    def placed(instance: Instance) -> Instance:
        shares = places.get((record.source, instance.category), {})
        points = {name: (x * width - 0.5, y * height - 0.5, VISIBLE) for name, (x, y) in shares.items()}
        return replace(instance, box=(0.0, 0.0, width, height), keypoints=points)

    return as_poses(replace(record, instances=tuple(map(placed, record.instances))))


@lru_cache(maxsize=8)  # validation during training calls it repeatedly
def baseline(data: EvaluationData) -> dict[str, dict[str, float]]:
    """By set, "PCK@0.2" and "PCK@0.1" of the training split's mean pose on the whole evaluated split."""
    places = mean_places(record for record, _ in data.records("train"))
    metric = PCK(THRESHOLDS, rules=PointRules(match="given"))
    for record, _ in data.records():
        metric.update(record, blind_answer(record, places))
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


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    blind, several, first_sets = baseline(data), _sets_with_several(data), data.first_sets()
    numbers: dict[str, dict[str, float]] = {}
    for group in scores.groups():
        objects = scores.of(group)
        points = {f"PCK@{t:g}": pck(objects, t) for t in THRESHOLDS}
        mean_pose = {f"baseline/{name}": blind.get(group, {}).get(name, math.nan) for name in points}
        numbers[group] = {**points, **mean_pose, "IoU": mean(score.iou for score in objects)}
    easy = [group for group in numbers if numbers[group]["baseline/PCK@0.2"] > TOO_EASY]
    counted = [group for group in numbers if group not in easy]
    means = {
        "": counted,
        "/sets with several objects": [group for group in counted if group in several],
        "/sets with one object": [group for group in counted if group not in several],
    }
    if first_sets:
        means["/first sets"] = [group for group in counted if group in first_sets]
    values: dict[str, float] = {}
    cells: list[Sequence[Cell]] = []
    for group, row in numbers.items():
        shown = "several" if group in several else "one"
        shares = (percent(row[name]) for name in NUMBERS)
        cells.append((f"{group}{' *' * (group in easy)}", shown, len(scores.of(group)), *shares))
    for suffix, groups in means.items():
        average = {name: mean(numbers[group][name] for group in groups) for name in NUMBERS}
        values |= {f"{name}{suffix}": value for name, value in average.items()}
        label = suffix.replace("/sets with", ":").replace("/", ": ").replace(" objects", "").replace(" object", "")
        count = sum(len(scores.of(group)) for group in groups)
        cells.append((f"mean{label} ({len(groups)})", "", count, *map(percent, average.values())))
    for group, row in numbers.items():
        values |= {f"{name}/set/{group}": value for name, value in row.items()}
        values[f"easy/set/{group}"] = float(group in easy)
    correlations, correlation_tables = error_correlation(scores)
    precisions, precision_tables = _precision(scores)
    columns = [f"{what} @{t:g}" for t in THRESHOLDS for what in ("PCK", "blind")]
    notes = (
        'Mean over objects, then over sets. "blind" is the training split\'s mean pose placed in the frame; "shown": '
        "whether a picture shows one object or several.",
        f"* Left out of the means because the mean pose alone passes {TOO_EASY:.0%}: {', '.join(easy) or 'none'}.",
    )
    table = Table("Real sets", ("set", "shown", "objects", *columns, "IoU"), cells, notes)
    return Findings(
        values | precisions | correlations,
        (table, *precision_tables, *correlation_tables),
        dict.fromkeys(("PCK@0.2", "PCK@0.1", "IoU"), "sets"),
        tuple(easy),
    )


def _precision(scores: Scores) -> tuple[dict[str, float], list[Table]]:
    names = ("AP", "AP50", "AP75", "box AP", "box AP50")
    try:
        numbers = {group: scores.numbers(group) for group in scores.groups() if group in PRECISION_SETS}
    except MissingExtraError as error:  # the other numbers are still shown
        return {}, [Table("Average precision", ("set",), (), (str(error),))]
    if not numbers:
        return {}, []
    cells = [(group, *(percent(of_set[name]) for name in names)) for group, of_set in numbers.items()]
    note = "Every answer counts here; a category is asked only in pictures that hold it."
    values = {f"{name}/set/{group}": of_set[name] for group, of_set in numbers.items() for name in names}
    return values, [Table("Average precision", ("set", *names), cells, (note,))]


@lru_cache(maxsize=8)
def _sets_with_several(data: EvaluationData) -> set[str]:
    """Sets that have evaluated pictures with several objects."""
    return {r.source for r, _ in data.records() if sum(not instance.iscrowd for instance in r.instances) > 1}


PROTOCOL = stated("nano-real", thresholds=THRESHOLDS, tasks=_tasks, scores=_scores, conclude=_conclude)
