"""MP-100, 1-shot and 5-shot on its five splits: visual prompts for categories that training has not seen.

Each test category has 200 episodes. An episode draws the examples and 15 queries from the category's objects without
repetition; one stream of Python's `random` with seed 1 serves all categories (the published numpy seed has no effect).
A point counts if it is labelled in the query and in every example. One pass gives the four published modes, which
differ only in the answer assigned to the query and the queries that count.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xpose.evaluation.data import EvaluationData, Placed
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.protocols import Cell, Findings, Table, percent, stated
from xpose.evaluation.questions import AskedClass, LabelledExample, Question, Settings, Task, key_of
from xpose.evaluation.scores import Scores, mean, pck

SET = "mp100"
SPLITS = tuple(f"split{n}-test" for n in range(1, 6))
ALL_SPLITS = "all five test splits"
SEED, EPISODES, QUERIES = 1, 200, 15

BOX, FREE = "with the labelled box", "without"
SINGLE, MULTI = "single-object pictures", "multi-object pictures"
MODES = (BOX, FREE, SINGLE, MULTI)


@dataclass(frozen=True)
class Episode:
    """The examples and queries of one draw; objects are named `FILE#ID`."""

    category: str
    number: int
    supports: tuple[str, ...]
    queries: tuple[str, ...]


def draw_episodes(
    objects: Mapping[str, Sequence[str]], shots: int, *, count: int = EPISODES, queries: int = QUERIES
) -> Iterator[Episode]:
    """Draw the episodes of all categories in the mapping's order; small categories have fewer queries or none."""
    stream = random.Random(SEED)
    for category, names in objects.items():
        if len(names) <= shots:
            continue
        for number in range(count):
            drawn = stream.sample(list(names), min(len(names), shots + queries))
            yield Episode(category, number, tuple(drawn[:shots]), tuple(drawn[shots:]))


def _objects(records: Iterable[Placed]) -> tuple[dict[str, LabelledExample], dict[str, list[str]]]:
    """The objects of a test split by name, and the names by category and skeleton."""
    objects: dict[str, LabelledExample] = {}
    names: dict[str, list[str]] = {}
    for record, place in records:
        for number, instance in enumerate(record.instances):
            if not instance.iscrowd and any(v for *_, v in instance.keypoints.values()):
                name = f"{record.picture.file}#{instance.source_id or number}"
                objects[name] = LabelledExample(record, place, number)
                names.setdefault(f"{instance.category.name}/{instance.category.skeleton}", []).append(name)
    return objects, dict(sorted(names.items()))


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    for split in SPLITS if data.split == ALL_SPLITS else (data.split,):
        objects, names = _objects(data.of_set(SET, split))
        # Group the questions by picture, so that each is encoded only once.
        asked: dict[str, list[tuple[Episode, str]]] = {}
        for episode in draw_episodes(names, settings.shots):
            for query in episode.queries:
                asked.setdefault(key_of(objects[query].record), []).append((episode, query))
        for key in sorted(asked)[: settings.limit]:
            questions = tuple(_question(objects, episode, query, split) for episode, query in asked[key])
            example = objects[asked[key][0][1]]
            yield Task(f"{split}:{key}", example.record, example.place, questions)


def _question(objects: Mapping[str, LabelledExample], episode: Episode, query: str, split: str) -> Question:
    target, shown = objects[query], tuple(objects[name] for name in episode.supports)
    labelled = set.intersection(*({n for n, (*_, v) in shot.instance.keypoints.items() if v} for shot in shown))
    shared = {name: point for name, point in target.instance.keypoints.items() if name in labelled}
    instance = replace(target.instance, keypoints=shared)
    truth = replace(target.record, instances=(instance,))
    return Question((AskedClass.of(instance.category, "visual", shown),), truth, None, split, trim=True)


def _modes(task: Task, question: Question) -> list[tuple[str, PointRules]]:
    category = question.truth.instances[0].category
    alone = sum(instance.category == category and not instance.iscrowd for instance in task.record.instances) == 1
    free = PointRules(match="best score")
    return [(BOX, PointRules(match="best box")), (FREE, free), (SINGLE if alone else MULTI, free)]


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[Sequence[Cell]] = []
    splits: list[dict[str, float]] = []
    for split in scores.groups():
        splits.append({mode: pck(scores.of(split, mode), 0.2) for mode in MODES})
        values |= {f"PCK@0.2/{mode}/{split}": value for mode, value in splits[-1].items()}
        rows.append((split, len(scores.of(split, BOX)), *map(percent, splits[-1].values())))
    means = {mode: mean(numbers[mode] for numbers in splits) for mode in MODES}
    values |= {f"PCK@0.2/{mode}": value for mode, value in means.items()}
    values["PCK@0.2"] = means[FREE]
    rows.append((f"mean ({len(rows)})", len(scores.of(variant=BOX)), *(percent(means[mode]) for mode in MODES)))
    side = f"the longer side of the input is {settings.side} pixels" if settings.side else "the weights' usual input"
    notes = (
        f"{settings.shots}-shot, {EPISODES} episodes per category, {QUERIES} queries each, seed {SEED}; {side}.",
        "A pair without a point that query and examples share is left out.",
    )
    table = Table(f"MP-100, {settings.shots}-shot, PCK@0.2", ("split", "pairs", *MODES), rows, notes, decimals=2)
    return Findings(values, (table,))


ONE_SHOT, FIVE_SHOT = (
    stated(
        f"mp100-{shots}shot",
        tasks=_tasks,
        scores=lambda data, settings: Scores(modes=_modes),
        conclude=_conclude,
        split=ALL_SPLITS,
        usual=Settings(prompts="visual", shots=shots, seed=SEED),
        sets=(SET,),
        published=("mp100",),
    )
    for shots in (1, 5)
)
