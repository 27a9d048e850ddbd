"""How protocols make questions of records: each category present, by words or by examples from the training split."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping

from xpose.evaluation.data import EvaluationData, Placed
from xpose.evaluation.questions import AskedClass, LabelledExample, Question, Task, key_of, only
from xpose.evaluation.settings import Settings
from xpose.records import VISIBLE, Category, Record

LEAST_SIDE = 64.0  # of an example's box, its longer side, in pixels
_SMALLER = (1.0, 0.5, 0.25, 0.0)  # of that, tried in turn

SetCategory = tuple[str, Category]  # set, category
Shots = Mapping[SetCategory, tuple[LabelledExample, ...]]
Questions = Callable[[Record], Iterable[Question | str]]  # a string states what could not be asked, and why


def categories_of(record: Record) -> list[Category]:
    """The categories of a record's objects without crowds, in the objects' order."""
    return list(dict.fromkeys(one.category for one in record.instances if not one.iscrowd))


def known_categories(records: Iterable[Placed]) -> dict[str, dict[str, Category]]:
    """The labelled categories of each set, by name."""
    sets: dict[str, dict[str, Category]] = {}
    for record, _ in records:
        for category in categories_of(record):
            sets.setdefault(record.source, {}).setdefault(category.name, category)
    return sets


def present(record: Record) -> Iterator[tuple[Category, Record, int]]:
    """Each category that a picture shows, the record with only its objects, and how many there are without crowds."""
    for category in categories_of(record):
        truth = only(record, category)
        yield category, truth, sum(not one.iscrowd for one in truth.instances)


def tasks_about(data: EvaluationData, settings: Settings, questions_of: Questions) -> Iterator[Task]:
    """The evaluated pictures with their questions."""
    return tasks_of(limited(data.records(), settings.limit), questions_of)


def tasks_of(records: Iterable[Placed], questions_of: Questions, prefix: str = "") -> Iterator[Task]:
    """One task per picture with its questions, its key after `prefix`; pictures without questions are left out."""
    for record, place in records:
        asked = list(questions_of(record))
        if asked:
            questions = tuple(one for one in asked if isinstance(one, Question))
            reasons = tuple(one for one in asked if isinstance(one, str))
            yield Task(prefix + key_of(record), record, place, questions, reasons)


def limited(records: Iterable[Placed], limit: int | None) -> Iterator[Placed]:
    """At most `limit` pictures of each set: those whose names' sha256 are the smallest, in their usual order."""
    if limit is None:
        yield from records
        return
    placed = list(records)
    ranks: dict[str, list[tuple[str, str]]] = {}
    for record, _ in placed:
        key = key_of(record)
        ranks.setdefault(record.source, []).append((hashlib.sha256(key.encode()).hexdigest(), key))
    chosen = {key for ranked in ranks.values() for _, key in sorted(ranked)[:limit]}
    yield from ((record, place) for record, place in placed if key_of(record) in chosen)


def find_examples(data: EvaluationData, settings: Settings) -> Shots:
    """For each set and category the objects of the training split that serve as examples, drawn by the seed.

    Preferred are objects of which at least half of the points are visible, with a box of at least 64 pixels, and from
    different pictures.
    """
    if settings.prompts == "text":
        return {}
    fit: dict[SetCategory, list[LabelledExample]] = {}
    unfit: dict[SetCategory, list[LabelledExample]] = {}
    for record, place in data.records("train"):
        for number, instance in enumerate(record.instances):
            visible = sum(v == VISIBLE for *_, v in instance.keypoints.values())
            if visible and not instance.iscrowd:
                table = fit if 2 * visible >= len(instance.category.keypoints) else unfit
                table.setdefault((record.source, instance.category), []).append(LabelledExample(record, place, number))
    return {key: _drawn(key, examples, settings) for key, examples in {**unfit, **fit}.items()}


def _drawn(key: SetCategory, examples: list[LabelledExample], settings: Settings) -> tuple[LabelledExample, ...]:
    large: list[LabelledExample] = []
    for share in _SMALLER:
        large = [one for one in examples if max(one.instance.box[2:]) >= share * LEAST_SIDE]
        if len({key_of(one.record) for one in large}) >= settings.shots:
            break
    random.Random(f"{settings.seed}/{key[0]}/{key[1].name}/{key[1].skeleton}").shuffle(large)
    first = {key_of(one.record): one for one in reversed(large)}
    distinct = [one for one in large if first[key_of(one.record)] is one]
    return tuple([*distinct, *(one for one in large if one not in distinct)][: settings.shots])


def ask(record: Record, category: Category, settings: Settings, shots: Shots) -> AskedClass | None:
    """A category of a record as a class to ask for; None if examples are needed and there are none."""
    examples = shots.get((record.source, category), ())
    if settings.prompts != "text" and not examples:
        return None
    return AskedClass.of(category, settings.prompts, examples)
