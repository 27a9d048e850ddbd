"""Two figures of the ECCV paper: class against point accuracy, and 68 face points on animals and drawings.

*Figure 7*, `class-point`: by kind of prompt and style of picture. Each picture is asked for a category that it shows
and four others of the data that it does not show, all in one list, by words, by examples, and by both. An object's
class is right if the answer that fits its box best, whatever its class, has it; its points are those of that answer.

*Figure 5*, `faces68`, measured where labels share their names: no set labels 68 points on a cat. So every object whose
category labels at least three of the 68 names is asked for as a face with all 68 points, and those that its set labels
are measured: eyes and nose of animals, all 68 of drawn faces.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.protocols import Cell, Findings, Table, percent, stated
from xpose.evaluation.questions import (
    KINDS,
    AskedClass,
    Question,
    SetCategory,
    Settings,
    Shots,
    Task,
    categories_of,
    find_examples,
    key_of,
    known_categories,
    present,
    tasks_about,
)
from xpose.evaluation.scores import Scores, mean, pck
from xpose.records import Category, Record
from xpose.vocabulary import load_skeleton

OTHERS = 4  # classes asked for that the picture does not show

Known = dict[str, SetCategory]  # by name, the first of that name


def _class_tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    first: Known = {}
    for source, categories in known_categories(data.records()).items():
        first |= {name: (source, category) for name, category in categories.items() if name not in first}
    known = dict(sorted(first.items()))
    shots = find_examples(data, replace(settings, prompts="combined"))

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            others = _others(record, category, known, settings.seed)
            for kind in KINDS:
                asked = _asked(kind, (record.source, category), others, shots)
                if asked:
                    group = record.source if record.style is None else f"{record.source}: {record.style}"
                    yield Question(asked, truth, None, group, kind, matched=count + OTHERS)

    return tasks_about(data, settings, questions)


def _others(record: Record, category: Category, known: Known, seed: int) -> list[SetCategory]:
    here = {one.name for one in categories_of(record)}
    names = [name for name in known if name not in here]
    drawn = random.Random(f"{seed}/{key_of(record)}/{category.name}").sample(names, min(OTHERS, len(names)))
    return [known[name] for name in drawn]


def _asked(kind: str, shown: SetCategory, others: Sequence[SetCategory], shots: Shots) -> tuple[AskedClass, ...]:
    """The classes of a question; empty if the kind needs an example of the shown class and there is none."""
    if kind != "text" and not shots.get(shown):
        return ()
    classes = [shown, *(one for one in others if kind == "text" or shots.get(one))]
    return tuple(AskedClass.of(category, kind, shots.get((source, category), ())) for source, category in classes)


def _conclude_classes(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[list[Cell]] = []
    for group in [*scores.groups(), None]:
        cells: list[Cell] = [group or "all", len(scores.of(group, KINDS[0]))]
        for kind in KINDS:
            objects = scores.of(group, kind)
            accuracy = mean(float(one.called == one.category) for one in objects)
            points = pck(objects, 0.2)
            where = "" if group is None else f"/{group}"
            values |= {f"class accuracy/{kind}{where}": accuracy, f"PCK@0.2/{kind}{where}": points}
            cells += [percent(accuracy), percent(points)]
        rows.append(cells)
    columns = [f"{kind}: {what}" for kind in KINDS for what in ("class", "PCK@0.2")]
    note = f"Asked together with up to {OTHERS} classes that the picture does not show; chance is one in {OTHERS + 1}."
    table = Table("Class against points", ("set: style", "objects", *columns), rows, (note,))
    return Findings(values, (table,), {"PCK@0.2": "objects"})


CLASS_POINT = stated(
    "class-point",
    tasks=_class_tasks,
    scores=lambda data, settings: Scores(PointRules(any_category=True)),
    conclude=_conclude_classes,
)

LEAST_SHARED = 3  # names shared with the 68
FACE = load_skeleton("face")


def _face_tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    names = {name: name for name in FACE.keypoints}

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            if sum(name in FACE.keypoints for name in category.keypoints) >= LEAST_SHARED:
                # Further names of the set stay, so that its labels still fit; they are not asked.
                face = Category(category.name, FACE.name, category.keypoints)
                label = category.name if category.name.endswith("face") else f"{category.name} face"
                yield Question((AskedClass(face, label, names),), truth, count, record.source, matched=count)

    return tasks_about(data, settings, questions)


def _conclude_faces(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for group in scores.groups():
        objects = [one for one in scores.of(group) if set(one.names) & set(FACE.keypoints)]
        shared = {name for one in objects for name in one.names if name in FACE.keypoints}
        value = mean(
            mean(float(error <= 0.2) for name, error in one.errors.items() if name in shared) for one in objects
        )
        values[f"PCK@0.2/set/{group}"] = value
        styles = sorted({one.style for one in objects if one.style})
        rows.append((group, ", ".join(styles[:4]) or "–", len(objects), len(shared), percent(value)))
    values["PCK@0.2"] = mean(value for name, value in values.items() if name.startswith("PCK@0.2/set/"))
    columns = ("set", "styles", "objects", "names measured", "PCK@0.2")
    return Findings(values, (Table("Faces asked for all 68 points", columns, rows),))


FACES68 = stated("faces68", tasks=_face_tasks, conclude=_conclude_faces)
