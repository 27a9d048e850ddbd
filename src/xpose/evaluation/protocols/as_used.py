"""`as-used`: right objects and wrong answers if a user looks for one kind of object in a picture.

Nothing is adjusted to the labels: text prompts, one picture at a time, and the thresholds, rivals, duplicate removal
and number of answers of the weights. `xpose.evaluation.metrics.as_used` judges the answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from xpose.data.loading.labelling import labelling_of
from xpose.errors import ConfigError
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.metrics.as_used import LEAST_IOU, LEAST_SHARE, WITHIN, AsUsed, judge_answers
from xpose.evaluation.metrics.distances import ExpectedErrors
from xpose.evaluation.protocols import ERRORS, Cell, Findings, Table, error_correlation, percent, stated
from xpose.evaluation.questions import (
    AskedClass,
    Question,
    Settings,
    Task,
    categories_of,
    known_categories,
    only,
    tasks_about,
)
from xpose.evaluation.scores import Scores, mean
from xpose.records import Record
from xpose.results import Poses

NUMBERS = ("right", "right/shown points", "found", "wrong answers per picture")


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    """Query every picture for its set's only category, or if there are several, for those that it shows."""
    if settings.prompts != "text":
        raise ConfigError(f'"as-used" asks in words alone, not by {settings.prompts} prompts. Leave it out.')
    known = known_categories(data.records())

    def questions(record: Record) -> Iterator[Question]:
        categories = list(known.get(record.source, {}).values())
        for category in categories if len(categories) == 1 else categories_of(record):
            yield Question((AskedClass.of(category),), only(record, category), None, record.source)

    return tasks_about(data, settings, questions)


def _scores(data: EvaluationData, settings: Settings) -> Scores:
    def complete(record: Record) -> bool:
        return labelling_of(record.source).exhaustive

    def further(truth: Record, predicted: Poses) -> list[dict[str, float]]:
        return [{"right": float(right)} for right in judge_answers(truth, predicted).right]

    return Scores(metrics=lambda key: {"as used": AsUsed(complete), ERRORS: ExpectedErrors()}, further=further)


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    rows = {group: scores.metrics[group, ""]["as used"].compute() for group in scores.groups()}
    values: dict[str, float] = {}
    cells: list[Sequence[Cell]] = []
    for group, numbers in rows.items():
        values |= {f"{name}/set/{group}": numbers[name] for name in NUMBERS}
        cells.append((group, *_cells(numbers)))
    first_sets = data.first_sets()
    means = {"": list(rows), "/first sets": [group for group in rows if group in first_sets]}
    for suffix, groups in means.items():
        if groups:
            numbers = {name: mean(rows[group][name] for group in groups) for name in NUMBERS}
            values |= {f"{name}{suffix}": value for name, value in numbers.items()}
            for name in ("objects", "boxes", "pictures"):
                numbers[name] = math.fsum(rows[group][name] for group in groups)
            label = "mean over the first sets" if suffix else "mean over sets"
            cells.append((f"{label} ({len(groups)})", *_cells(numbers)))
    columns = ("set", "objects", "right", "shown", "boxes", "found", "pictures", "wrong")
    table = Table("As used", columns, cells, _notes(rows), decimals=2)
    correlations, tables = error_correlation(scores)
    return Findings(values | correlations, (table, *tables), {"right": "sets"})


def _cells(numbers: Mapping[str, float]) -> tuple[Cell, ...]:
    return (
        *(int(numbers["objects"]), percent(numbers["right"]), percent(numbers["right/shown points"])),
        *(int(numbers["boxes"]), percent(numbers["found"])),
        *(int(numbers["pictures"]) or None, numbers["wrong answers per picture"]),
    )


def _notes(rows: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    partial = [group for group, numbers in rows.items() if not numbers["pictures"]]
    return (
        f'Shares in percent. "right": one answer overlaps the object\'s box by {LEAST_IOU:g} or more and has at least '
        f"{LEAST_SHARE:.0%} of its labelled points within {WITHIN:g} of the box's longer side.",
        '"shown": the same if points that an answer calls absent, which no drawing shows, count as missed.',
        '"found": an answer overlaps the box, whatever its points; objects without labelled points count here only.',
        '"wrong": answers per picture that belong to no labelled object and do not lie in a crowd, and second ones '
        f"for an object. Not counted where objects may be unlabelled: {', '.join(partial) or 'none'}.",
    )


PROTOCOL = stated(
    "as-used",
    thresholds=(WITHIN,),
    tasks=_tasks,
    scores=_scores,
    conclude=_conclude,
    usual=Settings(threshold="weights", rivals=True),
    alone=True,
)
