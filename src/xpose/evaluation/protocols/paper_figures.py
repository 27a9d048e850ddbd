"""Two figures and a table of the ECCV paper; docs/evaluation.md describes each.

*Figure 7*, `class-point`: class against point accuracy by kind of prompt and style of picture. *Figure 5*, `faces68`,
measures labels that share names with the 68 points, since no set labels 68 points on a cat. *Table 7*, `similarity`:
the cosine between the embeddings of a region and of words, mapped to 0..1, for right and for wrong words.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import match
from xpose.evaluation.metrics.confidence import auroc
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
    ask,
    categories_of,
    find_examples,
    key_of,
    known_categories,
    present,
    tasks_about,
)
from xpose.evaluation.scores import Scores, mean, pck
from xpose.evaluation.sources import DetectorSource, in_records_words, open_detector, options_of
from xpose.records import Category, Record
from xpose.results import Poses
from xpose.vocabulary import load_skeleton

if TYPE_CHECKING:
    from xpose.inference import EncodedImage

OTHERS = 4  # queried classes that the picture does not show

Known = dict[str, SetCategory]  # the first category of each name


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
    here = {shown.name for shown in categories_of(record)}
    names = [name for name in known if name not in here]
    drawn = random.Random(f"{seed}/{key_of(record)}/{category.name}").sample(names, min(OTHERS, len(names)))
    return [known[name] for name in drawn]


def _asked(kind: str, shown: SetCategory, others: Sequence[SetCategory], shots: Shots) -> tuple[AskedClass, ...]:
    """The classes of a question; empty if the kind needs an example of the shown class and none exists."""
    if kind != "text" and not shots.get(shown):
        return ()
    classes = [shown, *(other for other in others if kind == "text" or shots.get(other))]
    return tuple(AskedClass.of(category, kind, shots.get((source, category), ())) for source, category in classes)


def _conclude_classes(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[list[Cell]] = []
    for group in [*scores.groups(), None]:
        cells: list[Cell] = [group or "all", len(scores.of(group, KINDS[0]))]
        for kind in KINDS:
            objects = scores.of(group, kind)
            accuracy = mean(float(score.called == score.category) for score in objects)
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
                # The set's other names stay, so that its labels still fit, but are not queried.
                face = Category(category.name, FACE.name, category.keypoints)
                label = category.name if category.name.endswith("face") else f"{category.name} face"
                yield Question((AskedClass(face, label, names),), truth, count, record.source, matched=count)

    return tasks_about(data, settings, questions)


def _conclude_faces(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for group in scores.groups():
        objects = [score for score in scores.of(group) if set(score.names) & set(FACE.keypoints)]
        shared = {name for score in objects for name in score.names if name in FACE.keypoints}
        value = mean(
            mean(float(error <= 0.2) for name, error in score.errors.items() if name in shared) for score in objects
        )
        values[f"PCK@0.2/set/{group}"] = value
        styles = sorted({score.style for score in objects if score.style})
        rows.append((group, ", ".join(styles[:4]) or "–", len(objects), len(shared), percent(value)))
    values["PCK@0.2"] = mean(value for name, value in values.items() if name.startswith("PCK@0.2/set/"))
    columns = ("set", "styles", "objects", "names measured", "PCK@0.2")
    return Findings(values, (Table("Faces asked for all 68 points", columns, rows),))


FACES68 = stated("faces68", tasks=_face_tasks, conclude=_conclude_faces)


RIGHT, WRONG = "right words", "wrong class"
LEVELS = ("instance", "keypoint")


class Likeness:
    """The similarities of the answers that best fit labelled boxes, by level."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {level: [] for level in LEVELS}

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        for instance, row in zip(truth.instances, match(truth, predicted, any_category=True), strict=True):
            if instance.iscrowd or row is None:
                continue
            points = predicted.keypoint_scores[row]
            self.values["instance"].append(float(predicted.scores[row]))
            self.values["keypoint"] += points[np.isfinite(points)].tolist()

    def compute(self) -> dict[str, float]:
        """The means."""
        return {level: mean(values) for level, values in self.values.items()}


class SimilaritySource(DetectorSource):
    """A detector whose answers have similarities as scores, mapped from -1..1 to 0..1."""

    together = False

    def _one(self, image: EncodedImage, question: Question, settings: Settings) -> Poses:
        options = options_of(settings, question.most).changed(threshold=0.0, rivals=())
        predicted = self.detector.similarity(image, question.prompts(), options=options)
        poses = predicted.poses
        points = np.full(poses.keypoint_scores.shape, np.nan)
        points[:, : predicted.keypoints.shape[1]] = predicted.keypoints
        objects, points = (np.clip((cosine + 1) / 2, 0, 1) for cosine in (predicted.objects, points))
        alike = replace(poses, scores=objects, keypoint_scores=points)
        return in_records_words(alike, question, settings)


def open_similarity(weights: str | None = None, **options: Any) -> SimilaritySource:
    """A detector as a source of similarities; options as for `open_detector`."""
    source = open_detector(weights, **options)
    return SimilaritySource(source.detector, source.batch)


def _similarity_tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    by_name: dict[str, Category] = {}
    for categories in known_categories(data.records()).values():
        by_name = categories | by_name  # keeps existing names
    known = [by_name[name] for name in sorted(by_name)]
    shots = find_examples(data, settings)

    def questions(record: Record) -> Iterator[Question]:
        for category, truth, count in present(record):
            asked = ask(record, category, settings, shots)
            if asked is None:
                continue
            yield Question((asked,), truth, count, record.source, RIGHT)
            here = {shown.name for shown in categories_of(record)}
            if others := [other for other in known if other.name not in here and other.keypoints]:
                other = random.Random(f"{settings.seed}/{key_of(record)}/{category.name}").choice(others)
                yield Question((AskedClass.of(other),), truth, count, record.source, WRONG)

    return tasks_about(data, settings, questions)


def _conclude_similarity(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    rows: list[Sequence[Cell]] = []
    pooled: dict[tuple[str, str], list[float]] = {(level, kind): [] for level in LEVELS for kind in (RIGHT, WRONG)}
    for group in scores.groups():
        lists = {key: _values(scores, group, *key) for key in pooled}
        for key, numbers in lists.items():
            pooled[key] += numbers
        rows.append((group, *map(percent, _numbers(lists).values())))
    values = _numbers(pooled)
    rows.append(("all", *map(percent, values.values())))
    columns = [f"{level}: {what}" for level in LEVELS for what in (RIGHT, WRONG, "AUROC")]
    note = (
        "Similarity is (1 + cosine) / 2 in percent; AUROC says how often a right pair is more alike than a wrong one."
    )
    return Findings(values, (Table("Similarity of regions and words", ("set", *columns), rows, (note,)),))


def _values(scores: Scores, group: str, level: str, variant: str) -> list[float]:
    metric = scores.metrics.get((group, variant), {}).get("likeness")
    return metric.values[level] if isinstance(metric, Likeness) else []


def _numbers(lists: dict[tuple[str, str], list[float]]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for level in LEVELS:
        right, wrong = lists[level, RIGHT], lists[level, WRONG]
        numbers |= {f"{level}/{RIGHT}": mean(right), f"{level}/{WRONG}": mean(wrong)}
        numbers[f"{level}/AUROC"] = auroc(np.array(right + wrong), np.arange(len(right) + len(wrong)) < len(right))
    return numbers


SIMILARITY = stated(
    "similarity",
    thresholds=(),
    tasks=_similarity_tasks,
    scores=lambda data, settings: Scores(PointRules(any_category=True), lambda key: {"likeness": Likeness()}),
    conclude=_conclude_similarity,
    open=open_similarity,
)
