"""How protocols make questions of records: each category present, by words or by examples from the training split."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping

from xpose.evaluation.data import Data, Placed
from xpose.evaluation.questions import Asked, Example, Question, Task, key_of, only
from xpose.evaluation.settings import Settings
from xpose.records import VISIBLE, Category, Record

LEAST_SIDE = 64.0  # of an example's box, its longer side, in pixels
_SMALLER = (1.0, 0.5, 0.25, 0.0)  # of that, tried in turn

SetCategory = tuple[str, Category]  # set, category
Shots = Mapping[SetCategory, tuple[Example, ...]]
Questions = Callable[[Record], Iterable[Question | str]]  # a string says what could not be asked, and why


def categories_of(record: Record) -> list[Category]:
    """The categories of a record's objects, crowds left out, in order of their first."""
    return list(dict.fromkeys(one.category for one in record.instances if not one.iscrowd))


def known_categories(records: Iterable[Placed]) -> dict[str, dict[str, Category]]:
    """What each set labels: its categories by name."""
    known: dict[str, dict[str, Category]] = {}
    for record, _ in records:
        for category in categories_of(record):
            known.setdefault(record.source, {}).setdefault(category.name, category)
    return known


def present(record: Record) -> Iterator[tuple[Category, Record, int]]:
    """Each category that a picture shows, the record with only its objects, and how many there are without crowds."""
    for category in categories_of(record):
        truth = only(record, category)
        yield category, truth, sum(not one.iscrowd for one in truth.instances)


def tasks_of(records: Iterable[Placed], questions_of: Questions, prefix: str = "") -> Iterator[Task]:
    """One task per picture with its questions; pictures without any are left out.

    Args:
        records: the pictures.
        questions_of: the questions about a record; a string in place of one says what could not be asked, and why.
        prefix: stands before the keys of the tasks.
    """
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
    listed = list(records)
    ranks: dict[str, list[tuple[str, str]]] = {}
    for record, _ in listed:
        key = key_of(record)
        ranks.setdefault(record.source, []).append((hashlib.sha256(key.encode()).hexdigest(), key))
    kept = {key for ranked in ranks.values() for _, key in sorted(ranked)[:limit]}
    yield from ((record, place) for record, place in listed if key_of(record) in kept)


def find_examples(data: Data, settings: Settings, split: str = "train") -> Shots:
    """For each set and category the objects of the training split that serve as examples, drawn by the seed.

    An object is fit if at least half of its points are visible and its box is 64 pixels long; others serve where there
    are no such. Examples of one class come from different pictures where there are enough.
    """
    if settings.prompts == "text":
        return {}
    fit: dict[SetCategory, list[Example]] = {}
    unfit: dict[SetCategory, list[Example]] = {}
    for record, place in data.records(split):
        for number, instance in enumerate(record.instances):
            seen = sum(v == VISIBLE for *_, v in instance.keypoints.values())
            if seen and not instance.iscrowd:
                table = fit if 2 * seen >= len(instance.category.keypoints) else unfit
                table.setdefault((record.source, instance.category), []).append(Example(record, place, number))
    return {kind: _drawn(kind, found, settings) for kind, found in {**unfit, **fit}.items()}


def _drawn(kind: SetCategory, found: list[Example], settings: Settings) -> tuple[Example, ...]:
    large: list[Example] = []
    for share in _SMALLER:
        large = [one for one in found if max(one.instance.box[2:]) >= share * LEAST_SIDE]
        if len({key_of(one.record) for one in large}) >= settings.shots:
            break
    random.Random(f"{settings.seed}/{kind[0]}/{kind[1].name}/{kind[1].skeleton}").shuffle(large)
    first = {key_of(one.record): one for one in reversed(large)}
    distinct = [one for one in large if first[key_of(one.record)] is one]
    return tuple([*distinct, *(one for one in large if one not in distinct)][: settings.shots])


def ask(record: Record, category: Category, settings: Settings, shots: Shots) -> Asked | None:
    """A category of a record as the settings want it asked; None where examples are wanted and there are none."""
    examples = shots.get((record.source, category), ())
    if settings.prompts != "text" and not examples:
        return None
    return Asked.of(category, settings.prompts, examples)


def per_category(settings: Settings, shots: Shots, *, whole: Iterable[str] = ()) -> Questions:
    """One question per category that a picture shows, with as many answers as it shows objects of it.

    Args:
        settings: how to ask.
        shots: examples by set and category.
        whole: sets of which all answers are wanted, for average precision; only as many as there are objects may stand
            for one.
    """
    all_wanted = set(whole)

    def questions(record: Record) -> Iterator[Question | str]:
        for category, truth, count in present(record):
            asked = ask(record, category, settings, shots)
            if asked is None:
                yield f"{record.source}: {category.name}, of which the training split shows no visible point"
            else:
                most = None if record.source in all_wanted else count
                yield Question((asked,), truth, most, record.source, matched=count)

    return questions
