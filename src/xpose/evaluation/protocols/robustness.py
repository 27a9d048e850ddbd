"""How much the words matter: synonyms, narrower words, typos, another order, left and right exchanged, unrelated words.

Every object is asked for in each of these ways, and the table shows PCK and the mean score of the answers beside those
of the usual words. A detector that reads should keep its numbers with synonyms, another order and narrower words (a
horse is a "pony"), lose a little with typos, follow an exchange of left and right (the point asked for as "left eye" is
compared with the right eye where the names were exchanged together with the truth, so the number stays only if it
follows), and score low for words that have nothing to do with the picture.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from xpose.evaluation.data import Data
from xpose.evaluation.names import mirror_names
from xpose.evaluation.protocols.base import Findings, Protocol
from xpose.evaluation.protocols.making_questions import limited, present, tasks_of
from xpose.evaluation.questions import Asked, Question, Task
from xpose.evaluation.scores import Scores, mean, pck
from xpose.evaluation.settings import Settings
from xpose.evaluation.tables import Cell, Table, percent
from xpose.records import Category, Record
from xpose.vocabulary import find_category

USUAL = "usual words"
# Narrower words for a category, which no set uses: who has only seen horses should know a pony.
NARROWER = {"horse": "pony", "cow": "calf", "cattle": "calf", "sheep": "lamb"}
NARROWER |= {"dog": "puppy", "cat": "kitten", "bird": "hen"}
UNRELATED_WORDS = ("teapot", "cathedral", "saxophone", "bulldozer", "snowflake", "typewriter")

Variant = Callable[[Category, random.Random], Asked | None]


def _usual(category: Category, stream: random.Random) -> Asked:
    return Asked.of(category)


def _synonym(category: Category, stream: random.Random) -> Asked | None:
    """Another name of the vocabulary for the category; None where it has none."""
    found = find_category(category.name)
    others = [name for name in (found.also if found else ()) if name != category.name]
    return _named(category, stream.choice(others)) if others else None


def _related(category: Category, stream: random.Random) -> Asked | None:
    """A narrower word; None where the list has none."""
    word = NARROWER.get(category.name)
    return None if word is None else _named(category, word)


def _typos(category: Category, stream: random.Random) -> Asked:
    names: dict[str, str] = {}
    for name in category.keypoints:
        wrong = misspelt(name, stream)
        names[wrong if wrong not in names else name] = name
    return _named(category, misspelt(category.name, stream), names)


def _order(category: Category, stream: random.Random) -> Asked:
    names = list(category.keypoints)
    stream.shuffle(names)
    return _named(category, category.name, {name: name for name in names})


def _shuffled(category: Category, stream: random.Random) -> Asked | None:
    """Every point asked by the word of another one: what is found there must be elsewhere, if the words are read."""
    names = list(category.keypoints)
    if len(names) < 2:
        return None
    stream.shuffle(names)
    return _named(category, category.name, dict(zip(names, names[1:] + names[:1], strict=True)))


def _mirror(category: Category) -> dict[str, str] | None:
    mirrored = mirror_names(category.skeleton, category.keypoints)
    complete = set(mirrored.values()) == set(mirrored)
    return mirrored if complete and any(a != b for a, b in mirrored.items()) else None


def _swapped(category: Category, stream: random.Random) -> Asked | None:
    """The list with left and right exchanged: each word stands where its partner stood, and means what it says."""
    mirrored = _mirror(category)
    if mirrored is None:
        return None
    return _named(category, category.name, {mirrored[name]: mirrored[name] for name in category.keypoints})


def _ignored(category: Category, stream: random.Random) -> Asked | None:
    """The same question, judged as if places in the list counted and not the words: high only where nothing is read."""
    mirrored = _mirror(category)
    return None if mirrored is None else _named(category, category.name, {mirrored[n]: n for n in category.keypoints})


def _unrelated(category: Category, stream: random.Random) -> Asked:
    return _named(category, stream.choice(UNRELATED_WORDS))


VARIANTS: dict[str, Variant] = {
    USUAL: _usual,
    "synonym": _synonym,
    "related word": _related,
    "typos": _typos,
    "other order": _order,
    "shuffled points": _shuffled,
    "left/right exchanged": _swapped,
    "exchange ignored": _ignored,
    "unrelated words": _unrelated,
}


def _named(category: Category, label: str, names: Mapping[str, str] | None = None) -> Asked:
    return Asked(category, label, names if names is not None else {name: name for name in category.keypoints})


def misspelt(words: str, stream: random.Random) -> str:
    """One slip of the fingers: two neighbouring letters exchanged, one left out, or one doubled; short words stay."""
    places = [i for i in range(len(words) - 1) if words[i].isalpha() and words[i + 1].isalpha()]
    if len(words) < 4 or not places:
        return words
    at = stream.choice(places)
    return stream.choice(
        (
            words[:at] + words[at + 1] + words[at] + words[at + 2 :],
            words[:at] + words[at + 1 :],
            words[:at] + words[at] + words[at:],
        )
    )


def _tasks(data: Data, settings: Settings) -> Iterator[Task]:
    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            for name, vary in VARIANTS.items():
                # One way per category, not per picture: prompts are encoded once, and all pictures get the same slip.
                stream = random.Random(f"{settings.seed}/{category.name}/{category.skeleton}/{name}")
                asked = vary(category, stream)
                if asked is not None:
                    yield Question((asked,), truth, count, record.source, name)

    return tasks_of(limited(data.records(), settings.limit), questions)


def _conclude(scores: Scores, data: Data, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for name in VARIANTS:
        own = scores.of(variant=name)
        # The same objects by the usual words: not every category has a synonym or a left and a right.
        same = {(one.task, one.category, one.number) for one in own}
        usual = [one for one in scores.of(variant=USUAL) if (one.task, one.category, one.number) in same]
        value, before = _by_sets(own), _by_sets(usual)
        score = mean(one.score or 0.0 for one in own)
        values |= {f"PCK@0.2/{name}": value, f"score/{name}": score}
        shown = (percent(value), percent(before), percent(value - before), percent(score))
        rows.append((name, len(own), *shown))
    columns = ("words", "objects", "PCK@0.2", "usual words, same objects", "difference", "mean score")
    note = (
        '"left/right exchanged" writes each left name where the right one stood: the points should follow the words. '
        '"exchange ignored" judges the same answers by place, and "shuffled points" asks for each point by the word of '
        "another: a detector that reads scores low there."
    )
    return Findings(values, (Table("Robustness to words", columns, tuple(rows), (note,)),))


def _by_sets(objects: list) -> float:
    groups = sorted({one.group for one in objects})
    return mean(pck([one for one in objects if one.group == group], 0.2) for group in groups)


PROTOCOL = Protocol(
    name="robustness",
    title="robustness to words: synonyms, narrower words, typos, order, left/right, unrelated words",
    source="this project",
    data="every set under the folder",
    boxes="found, not given; of as many answers as objects, the one whose box fits the labelled box best",
    prompts="one class per question, in nine wordings, each the same for all pictures of a category (by the seed)",
    pck="longer side of the labelled box; labelled points, 0.2; mean over objects, then over sets",
    metrics=("PCK@0.2", "mean score of the answers"),
    headline="PCK@0.2/usual words",
    tasks=_tasks,
    conclude=_conclude,
)
