"""The effect of wording (`robustness`), and the answers for classes that a picture lacks (`negatives`).

A picture certainly lacks the other categories of its set, and what the set is known not to show
(`xpose.data.loading.labelling`). Other sets only provide categories that no photograph shows by chance (a set of people
does not label dogs).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from xpose.data.loading.labelling import Labelling, Rule, labelling_beside, labelling_of
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import LEAST_IOU, mirror_names, same_category
from xpose.evaluation.metrics.confidence import FalseAlarms
from xpose.evaluation.metrics.points import Metric
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
from xpose.evaluation.scores import ObjectScore, Scores, mean, pck
from xpose.records import Category, Record
from xpose.results import Poses
from xpose.vocabulary import default_skeleton, find_category, load_skeleton
from xpose.vocabulary.categories import FALLBACK

USUAL = "usual words"
# Narrower words for categories; no set uses them.
NARROWER = {"horse": "pony", "cow": "calf", "cattle": "calf", "sheep": "lamb"}
NARROWER |= {"dog": "puppy", "cat": "kitten", "bird": "hen"}
UNRELATED_WORDS = ("teapot", "cathedral", "saxophone", "bulldozer", "snowflake", "typewriter")

Variant = Callable[[Category, random.Random], AskedClass | None]


def _synonym(category: Category, stream: random.Random) -> AskedClass | None:
    """Another name of the category in the vocabulary; None if there is none."""
    entry = find_category(category.name)
    others = [name for name in (entry.also if entry else ()) if name != category.name]
    return _worded(category, stream.choice(others)) if others else None


def _typos(category: Category, stream: random.Random) -> AskedClass:
    names: dict[str, str] = {}
    for name in category.keypoints:
        wrong = misspelt(name, stream)
        names[wrong if wrong not in names else name] = name
    return _worded(category, misspelt(category.name, stream), names)


def _order(category: Category, stream: random.Random) -> AskedClass:
    names = list(category.keypoints)
    stream.shuffle(names)
    return _worded(category, category.name, {name: name for name in names})


def _shuffled(category: Category, stream: random.Random) -> AskedClass | None:
    """Query every point by another point's word."""
    names = list(category.keypoints)
    if len(names) < 2:
        return None
    stream.shuffle(names)
    return _worded(category, category.name, dict(zip(names, names[1:] + names[:1], strict=True)))


def _mirror(category: Category) -> dict[str, str] | None:
    mirrored = mirror_names(category.skeleton, category.keypoints)
    complete = set(mirrored.values()) == set(mirrored)
    return mirrored if complete and any(a != b for a, b in mirrored.items()) else None


def _swapped(category: Category, stream: random.Random) -> AskedClass | None:
    """The list with left and right exchanged: each word keeps its meaning in its partner's place."""
    mirrored = _mirror(category)
    return None if mirrored is None else _worded(category, category.name, {name: name for name in mirrored.values()})


def _ignored(category: Category, stream: random.Random) -> AskedClass | None:
    """The same question, judged by position in the list: high only if words are ignored."""
    mirrored = _mirror(category)
    return None if mirrored is None else _worded(category, category.name, {mirrored[n]: n for n in category.keypoints})


VARIANTS: dict[str, Variant] = {
    USUAL: lambda category, _: AskedClass.of(category),
    "synonym": _synonym,
    "related word": lambda kind, _: _worded(kind, NARROWER[kind.name]) if kind.name in NARROWER else None,
    "typos": _typos,
    "other order": _order,
    "shuffled points": _shuffled,
    "left/right exchanged": _swapped,
    "exchange ignored": _ignored,
    "unrelated words": lambda category, stream: _worded(category, stream.choice(UNRELATED_WORDS)),
}


def _worded(category: Category, label: str, names: Mapping[str, str] | None = None) -> AskedClass:
    return AskedClass(category, label, names if names is not None else {name: name for name in category.keypoints})


def misspelt(words: str, stream: random.Random) -> str:
    """Make one typing error: swap two neighbouring letters, omit or double one; short words do not change."""
    places = [i for i in range(len(words) - 1) if words[i].isalpha() and words[i + 1].isalpha()]
    if len(words) < 4 or not places:
        return words
    at = stream.choice(places)
    before, a, b, after = words[:at], words[at], words[at + 1], words[at + 2 :]
    return stream.choice((before + b + a + after, before + b + after, before + a + a + b + after))


def _robustness_tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            for name, vary in VARIANTS.items():
                # Use one wording per category, so that prompts are encoded once.
                stream = random.Random(f"{settings.seed}/{category.name}/{category.skeleton}/{name}")
                asked = vary(category, stream)
                if asked is not None:
                    yield Question((asked,), truth, count, record.source, name)

    return tasks_about(data, settings, questions)


def _conclude_robustness(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for name in VARIANTS:
        objects = scores.of(variant=name)
        # Compare the same objects: not every category has a synonym or a left and a right.
        same = {(result.task, result.category, result.number) for result in objects}
        usual = [result for result in scores.of(variant=USUAL) if (result.task, result.category, result.number) in same]
        value, before = _by_sets(objects), _by_sets(usual)
        score = mean(result.score or 0.0 for result in objects)
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
    groups = sorted({result.group for result in objects})
    return mean(pck([result for result in objects if result.group == group], 0.2) for group in groups)


ROBUSTNESS = stated("robustness", tasks=_robustness_tasks, conclude=_conclude_robustness)


PRESENT, ABSENT = "present", "absent"
# Things that pictures can show although their set does not label them, and parts.
EVERYWHERE = (
    *("person", "face", "hand", "dog", "cat", "bird", "horse", "cow", "sheep", "car", "bus", "suv", "chair", "table"),
    *("sofa", "bed", "swivel chair", "trousers", "shorts", "skirt", "vest", "dress", "shirt", "outwear", "sling"),
)

Known = Mapping[str, Mapping[str, Category]]  # set -> name -> category
Labellings = Mapping[str, Labelling]  # by set, from the folders' files


def absent_classes(record: Record, known: Known, labelling: Labellings | None = None) -> list[Category]:
    """The categories of the data that the picture certainly lacks, sorted by name."""
    here = {instance.category.name for instance in record.instances}
    of_set = known.get(record.source, {})
    every = {name: category for table in (*known.values(), of_set) for name, category in table.items()}
    rule = Rule(labelling_of(record.source, labelling), frozenset(of_set))
    certain = set(rule.absent(every, record.picture.file, here))
    for name in every:
        common = any(word in name.split() for word in EVERYWHERE) or name in EVERYWHERE
        if name not in of_set and not common and not any(set(name.split()) & set(other.split()) for other in of_set):
            certain.add(name)
    return [every[name] for name in sorted(certain)]


def _negative_tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    known, labelling = known_categories(data.records()), labelling_beside(data.places)

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, _ in present(record):
            yield Question((AskedClass.of(category),), truth, None, record.source, PRESENT)
        nothing = replace(record, instances=())
        absent = [_named(name, known) for name in settings.absent if may_lack(name, record, labelling)]
        if not settings.absent:
            choices = absent_classes(record, known, labelling)
            stream = random.Random(f"{settings.seed}/{key_of(record)}")
            absent = stream.sample(choices, min(len(choices), max(1, len(categories_of(record)))))
        for category in absent:
            yield Question((AskedClass.of(category),), nothing, None, record.source, ABSENT)

    return tasks_about(data, settings, questions)


def may_lack(name: str, record: Record, labelling: Labellings | None = None) -> bool:
    """Whether no object of a class is labelled in a picture, and the set reports no unlabelled ones."""
    labelled = any(same_category(name, instance.category.name) for instance in record.instances)
    return not labelled and not labelling_of(record.source, labelling).may_show(record.picture.file)


def _named(name: str, known: Known) -> Category:
    """The class as labelled in the data, or with the points of the vocabulary."""
    for table in known.values():
        if name in table:
            return table[name]
    default = default_skeleton(name)
    skeleton = default.skeleton if default else load_skeleton(FALLBACK)
    return Category(name, skeleton.name, skeleton.keypoints)


class AnswerCounts:
    """The number of answers, and the share of questions with any."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.counts: list[int] = []

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add the answers to one question."""
        self.counts.append(int((predicted.scores > self.threshold).sum()))

    def compute(self) -> dict[str, float]:
        """Answers per question, and the share of questions with any."""
        return {"per question": mean(self.counts), "questions answered": mean(count > 0 for count in self.counts)}


def _negative_scores(data: EvaluationData, settings: Settings) -> Scores:
    threshold = settings.least_score(0.0)  # answers below the weights' own thresholds are removed already

    def metrics(key: tuple[str, str]) -> dict[str, Metric]:
        by_name: dict[str, Metric] = {"returned": AnswerCounts(threshold)}
        if key[1] == PRESENT:
            by_name["alarms"] = FalseAlarms(lambda record: [kind.name for kind in categories_of(record)], threshold)
        return by_name

    return Scores(metrics=metrics)


def _conclude_negatives(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for group in scores.groups():
        absent, shown = scores.numbers(group, ABSENT), scores.numbers(group, PRESENT)
        numbers = {
            "false alarms per picture": absent.get("per question", math.nan),
            "questions answered": absent.get("questions answered", math.nan),
            "recall": shown.get("recall", math.nan),
        }
        values |= {f"{name}/{group}": value for name, value in numbers.items()}
        alarms, *shares = numbers.values()
        rows.append((group, scores.pictures.get((group, ABSENT), 0), alarms, *map(percent, shares)))
    names = ("false alarms per picture", "questions answered", "recall")
    values |= {name: mean(value for key, value in values.items() if key.startswith(f"{name}/")) for name in names}
    alarms, *shares = (values[name] for name in names)
    count = sum(n for (_, kind), n in scores.pictures.items() if kind == ABSENT)
    rows.append(("mean over sets", count, alarms, *map(percent, shares)))
    columns = ("set", "absent classes asked", "false alarms per question", "answered at all", "recall of present ones")
    limit = "the thresholds of the weights" if settings.stored_thresholds else f"{settings.threshold:g}"
    note = (
        f"Scores above {limit}. Recall: labelled objects with an answer of their class that overlaps their box by "
        f"{LEAST_IOU:g} or more."
    )
    return Findings(values, (Table("Negative prompts", columns, rows, (note,), decimals=3),))


NEGATIVES = stated(
    "negatives",
    thresholds=(),
    tasks=_negative_tasks,
    scores=_negative_scores,
    conclude=_conclude_negatives,
    usual=Settings(threshold="weights"),
)
