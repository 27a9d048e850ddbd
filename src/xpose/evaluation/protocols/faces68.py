"""The 68 points of faces on animals and drawings (the ECCV paper's figure 5), measured where labels share their names.

No set labels 68 points on a cat. So every object whose category labels at least three of the 68 names is asked for as a
face with all 68 points, and those that its set labels are measured: eyes and nose of animals, all 68 of drawn faces.
"""

from __future__ import annotations

from collections.abc import Iterator

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.protocols.base import Findings, Protocol
from xpose.evaluation.protocols.making_questions import present, tasks_about
from xpose.evaluation.questions import AskedClass, Question, Task
from xpose.evaluation.scores import Scores, mean
from xpose.evaluation.settings import Settings
from xpose.evaluation.tables import Cell, Table, percent
from xpose.records import Category, Record
from xpose.vocabulary import load_skeleton

LEAST = 3  # names shared with the 68
FACE = load_skeleton("face")


def face_of(category: Category) -> Category | None:
    """The category as a face with 68 points; None if its labels share too few names with them."""
    shared = [name for name in category.keypoints if name in FACE.keypoints]
    if len(shared) < LEAST:
        return None
    # Further names of the set stay, so that its labels still fit; they are not asked.
    return Category(category.name, FACE.name, category.keypoints)


def called(category: Category) -> str:
    """The name of a face of that category: "cat face", and "face" for faces."""
    return category.name if category.name.endswith("face") else f"{category.name} face"


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    names = {name: name for name in FACE.keypoints}

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            face = face_of(category)
            if face is not None:
                asked = AskedClass(face, called(category), names)
                yield Question((asked,), truth, count, record.source, matched=count)

    return tasks_about(data, settings, questions)


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
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
    return Findings(values, (Table("Faces asked for all 68 points", columns, tuple(rows)),))


PROTOCOL = Protocol(
    name="faces68",
    title="68 face points on animals and drawings",
    source="ECCV paper, figure 5, which shows pictures and no numbers",
    data=f"every category under the folder whose labels share {LEAST} names or more with the 68 points",
    boxes="found, not given; of as many answers as objects, the one whose box fits the labelled box best",
    prompts='"cat face" and the like, with the names of all 68 points',
    pck="longer side of the labelled box (the whole animal's, where a set boxes that); the shared names, 0.2",
    metrics=("PCK@0.2",),
    headline="PCK@0.2",
    tasks=_tasks,
    conclude=_conclude,
)
