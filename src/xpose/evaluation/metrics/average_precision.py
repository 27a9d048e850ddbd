"""What OKS-AP and box AP share: truth and answers sorted into categories, each scored by COCO's rules on its own.

Categories never mix in COCO's measure, so each is scored alone, with its own keypoints and sigmas and only the pictures
that concern it, and the tables are put side by side before the mean is taken: the same numbers, for any mixture of
skeletons. Categories without truth do not count, as with COCO.

Letters: N answers, K keypoints, T thresholds, R recall levels, A ranges of area, M limits of answers per picture.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpose.errors import missing_extra
from xpose.evaluation.matching import columns_of, plain_name
from xpose.records import Category, Instance, Record
from xpose.results import Poses

Names = tuple[str, ...]
Fields = dict[str, Any]
SortKey = tuple[str, str, float, str]
KindKey = tuple[str, Names, str]  # name, keypoints, skeleton

# Name of a number -> precision or recall, threshold (None: the mean over all), range of area, place among the limits.
Summary = dict[str, tuple[str, float | None, str, int]]


@dataclass(slots=True)  # not frozen: there are very many, and frozen ones take three times as long to make
class FoundObject:
    """One answer in double precision, as a results file gives it."""

    category: str
    score: float
    names: Names
    canonical: Names  # the same points' names in the vocabulary
    box: np.ndarray  # [4] x, y, width, height
    xy: np.ndarray  # [k, 2], NaN where a point was not found
    area: float | None = None  # of the box that a file states beside the points; None for that round the points


@dataclass(slots=True)
class CategoryObjects:
    """Everything of one category: its labelled objects and the answers about it, each with its picture's number."""

    category: Category
    truth: list[tuple[int, Instance]] = field(default_factory=list)
    answers: list[tuple[int, FoundObject]] = field(default_factory=list)


class AveragePrecision(ABC):
    """Collects pictures; a subclass says what the similarity of an answer and an object is, and which numbers to give.

    The order of equal scores is decided as COCO does, by the pictures' ids: here by set, split, number (the original's
    id, where it is one) and file name.
    """

    prefix: str
    summary: Summary

    def __init__(self) -> None:
        self._pictures: list[SortKey] = []
        self._kinds: dict[KindKey, CategoryObjects] = {}
        self._called: dict[tuple[str, str], list[KindKey]] = {}  # set, plain name
        self._answers: list[tuple[str, int, FoundObject]] = []  # set, picture
        self._tables: tuple[list[str], dict[str, np.ndarray], Any] | None = None

    def _concerns(self, category: Category) -> bool:
        """Whether the measure makes sense for a category at all."""
        return True

    @abstractmethod
    def _evaluator(self, kind: CategoryObjects, ids: dict[int, int]) -> Any:
        """A COCO evaluator of one category, ready to run; `ids` numbers the pictures."""

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        boxes, xy = found.boxes.astype(np.float64), found.xy.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        scores = found.scores.astype(np.float64).tolist()
        names, canonical = found.keypoint_names, found.canonical_names
        self.take(
            truth,
            (
                FoundObject(category, score, names[row], canonical[row], boxes[row], xy[row, : len(names[row])])
                for row, (category, score) in enumerate(zip(found.categories, scores, strict=True))
            ),
        )

    def take(self, truth: Record, answers: Iterable[FoundObject]) -> None:
        """Take in one picture whose answers come in double precision."""
        self._tables = None
        picture = len(self._pictures)
        self._pictures.append(_sort_key(truth))
        for instance in truth.instances:
            self._kind(truth.source, instance.category).truth.append((picture, instance))
        self._answers += [(truth.source, picture, answer) for answer in answers]

    def compute(self) -> dict[str, float]:
        """The numbers over all categories, the first of them for each category, and "objects" and "pictures"."""
        names, tables, evaluated = self._evaluated()
        numbers = {}
        for name, rule in self.summary.items():
            numbers[self.prefix + name] = _mean(self._cells(tables, evaluated, rule))
        first = next(iter(self.summary))
        by_name: dict[str, list[int]] = {}
        for column, name in enumerate(names):
            by_name.setdefault(name, []).append(column)
        for name, columns in sorted(by_name.items()):
            cells = self._cells(tables, evaluated, self.summary[first])[..., columns]
            if (cells > -1).any():
                numbers[f"{self.prefix}{first}/category/{name}"] = _mean(cells)
        numbers["objects"] = float(sum(not one.iscrowd for kind in self._kinds.values() for _, one in kind.truth))
        numbers["pictures"] = float(len(self._pictures))
        return numbers

    def curves(self) -> dict[str, list[float]]:
        """Precision at 101 recall levels, averaged over categories: "recall", "precision@0.5", "@0.75", "" for all."""
        _, tables, evaluated = self._evaluated()
        curves = {"recall": np.linspace(0, 1, 101).tolist()}
        for label, threshold in (("precision", None), ("precision@0.5", 0.5), ("precision@0.75", 0.75)):
            last = next(iter(self.summary.values()))[-1]
            cells = self._cells(tables, evaluated, ("precision", threshold, "all", last))  # [T, R, categories]
            counts = cells > -1
            total = np.where(counts, cells, 0).sum(axis=(0, 2)) if cells.size else np.zeros(101)
            number = counts.sum(axis=(0, 2)) if cells.size else np.zeros(101)
            curves[label] = np.where(number > 0, total / np.maximum(number, 1), np.nan).tolist()
        return curves

    def _cells(
        self, tables: dict[str, np.ndarray], params: Any, rule: tuple[str, float | None, str, int]
    ) -> np.ndarray:
        """What one number is the mean of, categories last; -1 where there is nothing to find."""
        what, threshold, area, limit = rule
        if params is None:
            return np.zeros((0, 0, 0))
        table = tables[what][..., params.areaRngLbl.index(area), limit]  # [T, R, categories] or [T, categories]
        return table if threshold is None else table[np.isclose(params.iouThrs, threshold)]

    def _evaluated(self) -> tuple[list[str], dict[str, np.ndarray], Any]:
        if self._tables is not None:
            return self._tables
        self._sort_answers()
        ranks = sorted(range(len(self._pictures)), key=lambda picture: self._pictures[picture])
        ids = {picture: rank for rank, picture in enumerate(ranks, start=1)}
        names, precision, recall, params = [], [], [], None
        for _, kind in sorted(self._kinds.items()):
            if not self._concerns(kind.category):
                continue
            evaluator = self._evaluator(kind, ids)
            evaluator.evaluate()
            evaluator.accumulate()
            params = evaluator.params
            names.append(kind.category.name)
            precision.append(np.asarray(evaluator.eval["precision"]))  # [T, R, 1, A, M]
            recall.append(np.asarray(evaluator.eval["recall"]))  # [T, 1, A, M]
            kind.answers = []
        tables = {}
        if names:
            tables = {"precision": np.concatenate(precision, axis=2), "recall": np.concatenate(recall, axis=1)}
        self._tables = names, tables, params
        return self._tables

    def _sort_answers(self) -> None:
        """Give each answer to the category it is about: of one name and set, the one with most of its keypoints."""
        for kind in self._kinds.values():
            kind.answers = []
        for source, picture, answer in self._answers:
            choices = self._called.get((source, plain_name(answer.category)), ())
            if choices:
                best = choices[0] if len(choices) == 1 else max(choices, key=lambda key: _shared(key[1], answer))
                self._kinds[best].answers.append((picture, answer))

    def _kind(self, source: str, category: Category) -> CategoryObjects:
        key = (category.name, category.keypoints, category.skeleton)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = CategoryObjects(category)
        called = self._called.setdefault((source, plain_name(category.name)), [])
        if key not in called:
            called.append(key)
            called.sort()  # so that no order of pictures matters
        return kind


def coco_library() -> Any:
    """The module `faster_coco_eval`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError:
        raise missing_extra("Average precision", "faster-coco-eval", "eval") from None
    return faster_coco_eval


def coco_pair(
    kind: CategoryObjects, ids: dict[int, int], labels: Iterable[Fields], answers: Iterable[Fields]
) -> tuple[Any, Any]:
    """The labels and the answers of one category as faster-coco-eval's COCO objects.

    Args:
        kind: the category with its objects and answers.
        ids: image id by picture.
        labels: what each object's annotation says about its shape, in the order of `kind.truth`.
        answers: the same for `kind.answers`.
    """
    library = coco_library()

    def dataset(annotations: list[Fields]) -> Any:
        made = library.COCO()
        made.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "category"}]}
        made.createIndex()
        return made

    concerned = sorted({ids[picture] for picture, _ in kind.truth} | {ids[picture] for picture, _ in kind.answers})
    images = [{"id": number} for number in concerned]
    labelled = [
        {"id": number, "category_id": 1, "image_id": ids[picture], "iscrowd": int(one.iscrowd), **shape}
        for number, ((picture, one), shape) in enumerate(zip(kind.truth, labels, strict=True), start=1)
    ]
    found = [
        {"id": number, "category_id": 1, "image_id": ids[picture], "score": one.score, "iscrowd": 0, **shape}
        for number, ((picture, one), shape) in enumerate(zip(kind.answers, answers, strict=True), start=1)
    ]
    return dataset(labelled), dataset(found)


def area_of(instance: Instance) -> float:
    """The area that the original states, else that of the box."""
    return instance.box[2] * instance.box[3] if instance.area is None else instance.area


def _shared(keypoints: Names, answer: FoundObject) -> int:
    return int((columns_of(keypoints, answer.names, answer.canonical) >= 0).sum())


def _sort_key(truth: Record) -> SortKey:
    number = truth.source_id or ""
    return truth.source, truth.split, float(number) if number.isdecimal() else math.inf, truth.picture.file


def _mean(cells: np.ndarray) -> float:
    counted = cells[cells > -1]
    return float(counted.mean()) if counted.size else math.nan
