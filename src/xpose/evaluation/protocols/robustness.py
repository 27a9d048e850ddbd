"""How much the words matter: synonyms, narrower words, typos, another order, left and right exchanged, unrelated words.

Every object is asked for in each of these ways, and the table shows PCK and the mean score of the answers beside those
of the usual words. A detector that reads keeps its numbers with synonyms, another order and narrower words (a "pony"),
loses a little with typos, follows an exchange of left and right, and scores low for unrelated words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import mirror_names
from xpose.evaluation.protocols import Cell, Findings, Table, percent, stated
from xpose.evaluation.questions import AskedClass, Question, Settings, Task, present, tasks_about
from xpose.evaluation.scores import ObjectScore, Scores, mean, pck
from xpose.records import Category, Record
from xpose.vocabulary import find_category

USUAL = "usual words"
# Narrower words for a category, which no set uses.
NARROWER = {"horse": "pony", "cow": "calf", "cattle": "calf", "sheep": "lamb"}
NARROWER |= {"dog": "puppy", "cat": "kitten", "bird": "hen"}
UNRELATED_WORDS = ("teapot", "cathedral", "saxophone", "bulldozer", "snowflake", "typewriter")

Variant = Callable[[Category, random.Random], AskedClass | None]


def _synonym(category: Category, stream: random.Random) -> AskedClass | None:
    """Another name of the vocabulary for the category; None if there is none."""
    entry = find_category(category.name)
    others = [name for name in (entry.also if entry else ()) if name != category.name]
    return _named(category, stream.choice(others)) if others else None


def _typos(category: Category, stream: random.Random) -> AskedClass:
    names: dict[str, str] = {}
    for name in category.keypoints:
        wrong = misspelt(name, stream)
        names[wrong if wrong not in names else name] = name
    return _named(category, misspelt(category.name, stream), names)


def _order(category: Category, stream: random.Random) -> AskedClass:
    names = list(category.keypoints)
    stream.shuffle(names)
    return _named(category, category.name, {name: name for name in names})


def _shuffled(category: Category, stream: random.Random) -> AskedClass | None:
    """Every point asked by the word of another one."""
    names = list(category.keypoints)
    if len(names) < 2:
        return None
    stream.shuffle(names)
    return _named(category, category.name, dict(zip(names, names[1:] + names[:1], strict=True)))


def _mirror(category: Category) -> dict[str, str] | None:
    mirrored = mirror_names(category.skeleton, category.keypoints)
    complete = set(mirrored.values()) == set(mirrored)
    return mirrored if complete and any(a != b for a, b in mirrored.items()) else None


def _swapped(category: Category, stream: random.Random) -> AskedClass | None:
    """The list with left and right exchanged: each word is in its partner's place, with its own meaning."""
    mirrored = _mirror(category)
    return None if mirrored is None else _named(category, category.name, {name: name for name in mirrored.values()})


def _ignored(category: Category, stream: random.Random) -> AskedClass | None:
    """The same question, judged by places in the list and not by words: high only if words are ignored."""
    mirrored = _mirror(category)
    return None if mirrored is None else _named(category, category.name, {mirrored[n]: n for n in category.keypoints})


VARIANTS: dict[str, Variant] = {
    USUAL: lambda category, _: AskedClass.of(category),
    "synonym": _synonym,
    "related word": lambda category, _: (
        _named(category, NARROWER[category.name]) if category.name in NARROWER else None
    ),
    "typos": _typos,
    "other order": _order,
    "shuffled points": _shuffled,
    "left/right exchanged": _swapped,
    "exchange ignored": _ignored,
    "unrelated words": lambda category, stream: _named(category, stream.choice(UNRELATED_WORDS)),
}


def _named(category: Category, label: str, names: Mapping[str, str] | None = None) -> AskedClass:
    return AskedClass(category, label, names if names is not None else {name: name for name in category.keypoints})


def misspelt(words: str, stream: random.Random) -> str:
    """One typing error: two neighbouring letters exchanged, one left out, or one doubled; short words do not change."""
    places = [i for i in range(len(words) - 1) if words[i].isalpha() and words[i + 1].isalpha()]
    if len(words) < 4 or not places:
        return words
    at = stream.choice(places)
    before, a, b, after = words[:at], words[at], words[at + 1], words[at + 2 :]
    return stream.choice((before + b + a + after, before + b + after, before + a + a + b + after))


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            for name, vary in VARIANTS.items():
                # One wording per category, not per picture, so that prompts are encoded once.
                stream = random.Random(f"{settings.seed}/{category.name}/{category.skeleton}/{name}")
                asked = vary(category, stream)
                if asked is not None:
                    yield Question((asked,), truth, count, record.source, name)

    return tasks_about(data, settings, questions)


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for name in VARIANTS:
        objects = scores.of(variant=name)
        # The same objects by the usual words: not every category has a synonym or a left and a right.
        same = {(one.task, one.category, one.number) for one in objects}
        usual = [one for one in scores.of(variant=USUAL) if (one.task, one.category, one.number) in same]
        value, before = _by_sets(objects), _by_sets(usual)
        score = mean(one.score or 0.0 for one in objects)
        values |= {f"PCK@0.2/{name}": value, f"score/{name}": score}
        shown = (percent(value), percent(before), percent(value - before), percent(score))
        rows.append((name, len(objects), *shown))
    columns = ("words", "objects", "PCK@0.2", "usual words, same objects", "difference", "mean score")
    note = (
        '"left/right exchanged" writes each left name in place of the right one: the points should follow the words. '
        '"exchange ignored" judges the same answers by place, and "shuffled points" asks for each point by the word of '
        "another: a detector that reads scores low there."
    )
    return Findings(values, (Table("Robustness to words", columns, rows, (note,)),))


def _by_sets(objects: list[ObjectScore]) -> float:
    groups = sorted({one.group for one in objects})
    return mean(pck([one for one in objects if one.group == group], 0.2) for group in groups)


PROTOCOL = stated("robustness", tasks=_tasks, conclude=_conclude)
