"""`nano-real`: the sets of any folder of COCO keypoint sets, object by object, beside a baseline that sees nothing.

Per labelled object: a text prompt of its category with its set's keypoint names, threshold 0, as many answers as the
picture holds objects of that category; the answer whose box overlaps the object's the most stands for it; the share of
labelled points within 0.2 of the box's longer side. Mean over objects, then over sets.

The baseline answers every object of a set and category with the mean place, in shares of the frame, at which the
training split has the point. A set on which that alone passes 80 % is shown but left out of the means: its objects
hardly move, and a number on it says little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from xpose.errors import MissingExtraError
from xpose.evaluation.data import Data
from xpose.evaluation.metrics import BoxAP, Metric, OksAP
from xpose.evaluation.metrics.pck import PCK
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.protocols.base import Findings, Protocol
from xpose.evaluation.protocols.making_questions import find_examples, limited, per_category
from xpose.evaluation.questions import Task
from xpose.evaluation.scores import Scores, mean, pck
from xpose.evaluation.settings import Settings
from xpose.evaluation.tables import Table, percent
from xpose.records import Category, Record
from xpose.results import Poses

THRESHOLDS = (0.2, 0.1)
TOO_EASY = 0.8  # a set is left out of the means where the baseline alone passes this
PRECISION_SETS = ("coco_person", "animal_pose")  # whose pictures are labelled well enough for average precision

Kind = tuple[str, Category]


@dataclass
class MeanPose:
    """For each set and category the mean place of every point, in shares of the frame's width and height."""

    places: dict[Kind, dict[str, tuple[float, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> MeanPose:
        """The mean over all labelled points of all objects; pixel (0, 0) has its middle at half a pixel."""
        sums: dict[Kind, dict[str, list[float]]] = {}
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
        names = tuple(one.category.keypoints for one in record.instances)
        widest = max(map(len, names), default=0)
        xy = np.full((len(names), widest, 2), np.nan)
        for row, instance in enumerate(record.instances):
            known = self.places.get((record.source, instance.category), {})
            for column, name in enumerate(instance.category.keypoints):
                if name in known:
                    xy[row, column] = known[name][0] * width - 0.5, known[name][1] * height - 0.5
        there = np.isfinite(xy).all(-1)
        return Poses(
            boxes=np.tile([0.0, 0.0, width, height], (len(names), 1)),
            scores=np.ones(len(names)),
            categories=tuple(one.category.name for one in record.instances),
            xy=xy,
            keypoint_scores=np.where(there, 1.0, np.nan),
            visibility=np.where(there, 2, 0),
            keypoint_names=names,
            image_size=(height, width),
        )


@lru_cache(maxsize=8)  # validation during training asks again and again
def baseline(data: Data) -> dict[str, dict[str, float]]:
    """For each set "PCK@0.2" and "PCK@0.1" of the mean pose of the training split, on the whole evaluated split."""
    poses = MeanPose.of(record for record, _ in data.records("train"))
    metric = PCK(THRESHOLDS, rules=PointRules(match="given"))
    for record, _ in data.records():
        metric.update(record, poses.answer(record))
    numbers = metric.compute()
    found: dict[str, dict[str, float]] = {}
    for name in metric.names:
        for key, value in numbers.items():
            if key.startswith(f"{name}/set/"):
                found.setdefault(key.removeprefix(f"{name}/set/"), {})[name] = value
    return found


def _tasks(data: Data, settings: Settings) -> Iterator[Task]:
    shots = find_examples(data, settings)
    return per_category(limited(data.records(), settings.limit), settings, shots, whole=PRECISION_SETS)


def _scores(data: Data, settings: Settings) -> Scores:
    def metrics(key: tuple[str, str]) -> dict[str, Metric]:
        return {"AP": OksAP(), "box AP": BoxAP()} if key[0] in PRECISION_SETS else {}

    return Scores(metrics=metrics)


def _conclude(scores: Scores, data: Data, settings: Settings) -> Findings:
    blind = baseline(data)
    crowded = _sets_with_several(data)
    values: dict[str, float] = {}
    rows = []
    for group in scores.groups():
        objects = scores.of(group)
        own = {f"PCK@{t:g}": pck(objects, t) for t in THRESHOLDS}
        base = blind.get(group, {})
        easy = base.get("PCK@0.2", 0.0) > TOO_EASY
        for name, value in own.items():
            values[f"{name}/set/{group}"] = value
            values[f"baseline/{name}/set/{group}"] = base.get(name, math.nan)
        values[f"IoU/set/{group}"] = mean(one.iou for one in objects)
        values[f"easy/set/{group}"] = float(easy)
        rows.append((group, easy, group in crowded, len(objects), own, base, values[f"IoU/set/{group}"]))
    means = {
        "mean": [row for row in rows if not row[1]],
        "mean of sets with several objects": [row for row in rows if not row[1] and row[2]],
        "mean of sets with one object": [row for row in rows if not row[1] and not row[2]],
    }
    head: dict[str, float] = {}
    for label, kept in means.items():
        suffix = label.removeprefix("mean").replace(" of ", "/", 1)
        for t in THRESHOLDS:
            name = f"PCK@{t:g}"
            head[f"{name}{suffix}"] = mean(row[4][name] for row in kept)
            head[f"baseline/{name}{suffix}"] = mean(row[5].get(name, math.nan) for row in kept)
        head[f"IoU{suffix}"] = mean(row[6] for row in kept)
    over_sets = dict.fromkeys(("PCK@0.2", "PCK@0.1", "IoU"), "sets")
    left_out = tuple(row[0] for row in rows if row[1])
    tables = [_table(rows, means, head)]
    try:
        precision = {key[0]: _precision(found) for key, found in sorted(scores.metrics.items()) if found}
    except MissingExtraError as error:  # the run is not lost for it
        precision = {}
        tables.append(Table("Average precision", ("set",), (), (str(error),)))
    if precision:
        names = ("AP", "AP50", "AP75", "box AP", "box AP50")
        values |= {f"{name}/set/{group}": own[name] for group, own in precision.items() for name in names}
        cells = tuple((group, *(percent(own[name]) for name in names)) for group, own in precision.items())
        note = "Every answer counts here; a category is asked only in pictures that hold it."
        tables.append(Table("Average precision", ("set", *names), cells, (note,)))
    return Findings({**head, **values}, tuple(tables), over_sets, left_out)


def _precision(metrics: Mapping[str, Metric]) -> dict[str, float]:
    return {name: value for metric in metrics.values() for name, value in metric.compute().items()}


@lru_cache(maxsize=8)
def _sets_with_several(data: Data) -> set[str]:
    """Sets of which some evaluated picture holds more than one object."""
    return {r.source for r, _ in data.records() if sum(not one.iscrowd for one in r.instances) > 1}


def _table(rows: list, means: dict[str, list], head: dict[str, float]) -> Table:
    cells: list[tuple] = []
    for group, easy, several, count, own, base, iou in rows:
        name = f"{group}{' (not in the means)' if easy else ''}"
        numbers = [percent(part.get(f"PCK@{t:g}")) for t in THRESHOLDS for part in (own, base)]
        cells.append((name, "several" if several else "one", count, *numbers, percent(iou)))
    for label, kept in means.items():
        suffix = label.removeprefix("mean").replace(" of ", "/", 1)
        numbers = [percent(head[f"{part}PCK@{t:g}{suffix}"]) for t in THRESHOLDS for part in ("", "baseline/")]
        objects = sum(row[3] for row in kept)
        cells.append((f"{label} ({len(kept)})", "", objects, *numbers, percent(head[f"IoU{suffix}"])))
    columns = ["set", "objects in a picture", "objects"]
    columns += [f"{what} @{t:g}" for t in THRESHOLDS for what in ("PCK", "mean pose")]
    easy_ones = [row[0] for row in rows if row[1]]
    notes = (
        'Mean over objects, then over sets. "mean pose" is the training split\'s mean pose placed in the frame.',
        f"Left out of the means because the mean pose alone passes {TOO_EASY:.0%}: {', '.join(easy_ones) or 'none'}.",
    )
    return Table("Real sets", (*columns, "mean IoU"), tuple(cells), notes)


PROTOCOL = Protocol(
    name="nano-real",
    title="real sets of many kinds of objects, each object asked for by its category's name",
    source="this project",
    data="every set under the folder",
    boxes="found, not given; of as many answers as the picture holds objects of the category, the one whose box has "
    "the highest IoU with the labelled box stands for an object",
    prompts="the category's name and its set's keypoint names; only categories that the picture holds",
    pck="longer side of the labelled box; labelled points, hidden ones too; 0.2 and 0.1",
    metrics=("PCK@0.2", "PCK@0.1", "mean IoU", f"OKS-AP and box AP on {' and '.join(PRECISION_SETS)}"),
    headline="PCK@0.2",
    thresholds=THRESHOLDS,
    tasks=_tasks,
    scores=_scores,
    conclude=_conclude,
)
