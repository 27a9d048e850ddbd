"""Negative prompts: how often something is returned for a class that is not in the picture, at the shipped thresholds.

A picture is asked for the classes that it shows and for as many absent ones, each by itself. Certainly absent are other
categories of the same set, and what the set is known not to show (`xpose.data.loading.labelling`). Of other sets only
categories that no photograph shows by chance are taken (a set of people does not label dogs).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from xpose.data.loading.labelling import Labelling, Rule, labelling_of
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import LEAST_IOU, same_category
from xpose.evaluation.metrics import Metric
from xpose.evaluation.metrics.confidence import FalseAlarms
from xpose.evaluation.protocols import Cell, Findings, Table, percent, stated
from xpose.evaluation.questions import (
    AskedClass,
    Question,
    Settings,
    Task,
    categories_of,
    key_of,
    known_categories,
    present,
    tasks_about,
)
from xpose.evaluation.scores import Scores, mean
from xpose.records import Category, Record
from xpose.results import Poses
from xpose.vocabulary import default_skeleton

PRESENT, ABSENT = "present", "absent"
# What a picture may show though its set does not label it, and parts of such things.
EVERYWHERE = (
    *("person", "face", "hand", "dog", "cat", "bird", "horse", "cow", "sheep", "car", "bus", "suv", "chair", "table"),
    *("sofa", "bed", "swivel chair", "trousers", "shorts", "skirt", "vest", "dress", "shirt", "outwear", "sling"),
)

Known = Mapping[str, Mapping[str, Category]]  # set -> name -> category
Labellings = Mapping[str, Labelling]  # by set, of the folders' own files


def absent_classes(record: Record, known: Known, labelling: Labellings | None = None) -> list[Category]:
    """The categories of the data that the picture certainly does not show, by name."""
    here = {one.category.name for one in record.instances}
    of_set = known.get(record.source, {})
    every = {name: one for table in (*known.values(), of_set) for name, one in table.items()}
    rule = Rule(labelling_of(record.source, labelling), frozenset(of_set))
    certain = set(rule.absent(every, record.picture.file, here))
    for name in every:
        common = any(word in name.split() for word in EVERYWHERE) or name in EVERYWHERE
        if name not in of_set and not common and not any(set(name.split()) & set(other.split()) for other in of_set):
            certain.add(name)
    return [every[name] for name in sorted(certain)]


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    known, labelling = known_categories(data.records()), data.labelling()

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, _ in present(record):
            yield Question((AskedClass.of(category),), truth, None, record.source, PRESENT)
        nothing = replace(record, instances=())
        for category in _absent(record, known, labelling, settings):
            yield Question((AskedClass.of(category),), nothing, None, record.source, ABSENT)

    return tasks_about(data, settings, questions)


def _absent(record: Record, known: Known, labelling: Labellings, settings: Settings) -> list[Category]:
    if settings.absent:
        return [named(name, known) for name in settings.absent if may_lack(name, record, labelling)]
    choices = absent_classes(record, known, labelling)
    stream = random.Random(f"{settings.seed}/{key_of(record)}")
    return stream.sample(choices, min(len(choices), max(1, len(categories_of(record)))))


def may_lack(name: str, record: Record, labelling: Labellings | None = None) -> bool:
    """Whether a picture lacks a class as far as known: none is labelled, and the set reports no unlabelled ones."""
    labelled = any(same_category(name, one.category.name) for one in record.instances)
    return not labelled and not labelling_of(record.source, labelling).may_show(record.picture.file)


def named(name: str, known: Known) -> Category:
    """The class as labelled in the data, or with the points of the vocabulary."""
    for table in known.values():
        if name in table:
            return table[name]
    skeleton = default_skeleton(name).skeleton
    return Category(name, skeleton.name, skeleton.keypoints)


class AnswerCounts:
    """How many answers there were, and to how many questions at least one."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.counts: list[int] = []

    def update(self, truth: Record, found: Poses) -> None:
        """Add the answers to one question."""
        self.counts.append(int((found.scores > self.threshold).sum()))

    def compute(self) -> dict[str, float]:
        """Answers per question, and the share of questions with any."""
        return {"per question": mean(self.counts), "questions answered": mean(count > 0 for count in self.counts)}


def _scores(data: EvaluationData, settings: Settings) -> Scores:
    threshold = settings.least_score(0.0)  # answers below the weights' own thresholds are removed already

    def metrics(key: tuple[str, str]) -> dict[str, Metric]:
        by_name: dict[str, Metric] = {"returned": AnswerCounts(threshold)}
        if key[1] == PRESENT:
            by_name["alarms"] = FalseAlarms(lambda record: [one.name for one in categories_of(record)], threshold)
        return by_name

    return Scores(metrics=metrics)


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for group in scores.groups():
        absent, shown = scores.numbers(group, ABSENT), scores.numbers(group, PRESENT)
        values[f"false alarms per picture/{group}"] = absent.get("per question", math.nan)
        values[f"recall/{group}"] = shown.get("recall", math.nan)
        values[f"questions answered/{group}"] = absent.get("questions answered", math.nan)
        count = scores.pictures.get((group, ABSENT), 0)
        answered, recall = percent(absent.get("questions answered")), percent(shown.get("recall"))
        rows.append((group, count, absent.get("per question"), answered, recall))
    for name in ("false alarms per picture", "questions answered", "recall"):
        values[name] = mean(value for key, value in values.items() if key.startswith(f"{name}/"))
    total = (values["false alarms per picture"], percent(values["questions answered"]), percent(values["recall"]))
    rows.append(("mean over sets", sum(n for (_, kind), n in scores.pictures.items() if kind == ABSENT), *total))
    columns = ("set", "absent classes asked", "false alarms per question", "answered at all", "recall of present ones")
    limit = "the thresholds of the weights" if settings.stored_thresholds else f"{settings.threshold:g}"
    note = (
        f"Scores above {limit}. Recall: labelled objects with an answer of their class that overlaps their box by "
        f"{LEAST_IOU:g} or more."
    )
    return Findings(values, (Table("Negative prompts", columns, rows, (note,), decimals=3),))


PROTOCOL = stated(
    "negatives", thresholds=(), tasks=_tasks, scores=_scores, conclude=_conclude, usual=Settings(threshold="weights")
)
