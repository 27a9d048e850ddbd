"""OKS-AP and box AP: each category is scored separately by COCO's rules.

COCO's measure never mixes categories. Each is scored with its own keypoints and sigmas on its own pictures, and the
tables are concatenated before averaging. This gives the same numbers for any mixture of skeletons. Categories without
labels do not count, as with COCO.

Letters: N answers, M objects, K keypoints, T thresholds, R recall levels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpose.errors import ConfigError, missing_extra, quote
from xpose.evaluation.matching import columns_of, labelled_points, plain_name
from xpose.records import Category, Instance, Record
from xpose.results import Poses
from xpose.vocabulary import keypoint_sigmas

Names = tuple[str, ...]
Fields = dict[str, Any]
SortKey = tuple[str, str, float, str]
CategoryKey = tuple[str, Names, str]  # name, keypoints, skeleton
AREAS = {"_S": "small", "_M": "medium", "_L": "large"}
LIMITS = {"_1": 0, "_10": 1}  # indices of COCO's limits of answers per picture; default: the last


@dataclass(slots=True)  # frozen would take three times as long
class FoundObject:
    """One answer in double precision, as in a results file."""

    category: str
    score: float
    names: Names
    canonical: Names  # in the vocabulary
    box: np.ndarray  # [4] x, y, width, height
    xy: np.ndarray  # [k, 2], NaN if a point was not found
    area: float | None = None  # of the box in the file; None for the box around the points
    confidences: np.ndarray | None = None  # [k] of the points, if a file has them


@dataclass(slots=True)
class CategoryObjects:
    """The labelled objects of one category and its answers, each with the picture's number."""

    category: Category
    truth: list[tuple[int, Instance]] = field(default_factory=list)
    answers: list[tuple[int, FoundObject]] = field(default_factory=list)


class AveragePrecision(ABC):
    """Collects pictures; a subclass defines the similarity of answers and objects, and the numbers to return.

    COCO orders equal scores by the pictures' ids. Here the order is set, split, number (the original id, if it is a
    number) and file name.
    """

    prefix: str
    of_points: bool  # categories without keypoints do not count
    summary: tuple[str, ...]  # COCO's names of the numbers, such as "AP50" and "AR_M", the headline first

    def __init__(self) -> None:
        self._pictures: list[SortKey] = []
        self._categories: dict[CategoryKey, CategoryObjects] = {}
        self._called: dict[tuple[str, str], list[CategoryKey]] = {}  # set, plain name
        self._answers: list[tuple[str, int, FoundObject]] = []  # set, picture
        self._tables: tuple[list[str], dict[str, np.ndarray], Any] | None = None

    @abstractmethod
    def _evaluator(self, objects: CategoryObjects, ids: dict[int, int]) -> Any:
        """A COCO evaluator of one category, ready to run; `ids` maps pictures to image ids."""

    def update(self, truth: Record, predicted: Poses) -> None:
        """Add one picture."""
        boxes, xy = predicted.boxes.astype(np.float64), predicted.xy.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        rows = zip(
            predicted.categories,
            predicted.scores.tolist(),
            predicted.keypoint_names,
            predicted.canonical_names,
            strict=True,
        )
        self.take(truth, (FoundObject(*row, boxes[n], xy[n, : len(row[2])]) for n, row in enumerate(rows)))

    def take(self, truth: Record, answers: Iterable[FoundObject]) -> None:
        """Add one picture whose answers are in double precision."""
        self._tables = None
        picture = len(self._pictures)
        number = truth.source_id or ""
        number_key = float(number) if number.isdecimal() else math.inf
        self._pictures.append((truth.source, truth.split, number_key, truth.picture.file))
        for instance in truth.instances:
            self._of(truth.source, instance.category).truth.append((picture, instance))
        self._answers += [(truth.source, picture, answer) for answer in answers]

    def compute(self) -> dict[str, float]:
        """All numbers over all categories, the first also by category, and "objects" and "pictures"."""
        names, tables, evaluated = self._evaluated()
        numbers = {self.prefix + name: _mean(_cells(tables, evaluated, name)) for name in self.summary}
        first = self.summary[0]
        for name in sorted(set(names)):
            cells = _cells(tables, evaluated, first)[..., np.array(names) == name]
            if (cells > -1).any():
                numbers[f"{self.prefix}{first}/category/{name}"] = _mean(cells)
        instances = [instance for objects in self._categories.values() for _, instance in objects.truth]
        numbers["objects"] = float(sum(not instance.iscrowd for instance in instances))
        numbers["pictures"] = float(len(self._pictures))
        return numbers

    def curves(self) -> dict[str, list[float]]:
        """Precision at 101 levels of "recall", averaged over categories: "precision", "precision@0.5" and "@0.75"."""
        _, tables, evaluated = self._evaluated()
        curves = {"recall": np.linspace(0, 1, 101).tolist()}
        for label, name in (("precision", "AP"), ("precision@0.5", "AP50"), ("precision@0.75", "AP75")):
            cells = _cells(tables, evaluated, name) if tables else np.zeros((0, 101, 0))  # [T, R, categories]
            number = (cells > -1).sum(axis=(0, 2))
            total = np.where(cells > -1, cells, 0).sum(axis=(0, 2))
            curves[label] = np.where(number > 0, total / np.maximum(number, 1), np.nan).tolist()
        return curves

    def _evaluated(self) -> tuple[list[str], dict[str, np.ndarray], Any]:
        if self._tables is not None:
            return self._tables
        self._sort_answers()
        ranks = sorted(range(len(self._pictures)), key=self._pictures.__getitem__)
        ids = {picture: rank for rank, picture in enumerate(ranks, start=1)}
        names, precision, recall, params = [], [], [], None
        for _, objects in sorted(self._categories.items()):
            if self.of_points and not objects.category.keypoints:
                continue
            evaluator = self._evaluator(objects, ids)
            evaluator.evaluate()
            evaluator.accumulate()
            params = evaluator.params
            names.append(objects.category.name)
            precision.append(np.asarray(evaluator.eval["precision"]))  # [T, R, 1, areas, limits]
            recall.append(np.asarray(evaluator.eval["recall"]))  # [T, 1, areas, limits]
            objects.answers = []
        parts = {"precision": (precision, 2), "recall": (recall, 1)} if names else {}
        self._tables = names, {name: np.concatenate(part, axis) for name, (part, axis) in parts.items()}, params
        return self._tables

    def _sort_answers(self) -> None:
        """Assign each answer to the category of its name and set that shares the most keypoints with it."""
        for objects in self._categories.values():
            objects.answers = []
        for source, picture, answer in self._answers:
            if choices := self._called.get((source, plain_name(answer.category))):
                shared = [columns_of(names, answer.names, answer.canonical) >= 0 for _, names, _ in choices]
                best = choices[int(np.argmax([columns.sum() for columns in shared]))]
                self._categories[best].answers.append((picture, answer))

    def _of(self, source: str, category: Category) -> CategoryObjects:
        key = (category.name, category.keypoints, category.skeleton)
        objects = self._categories.setdefault(key, CategoryObjects(category))
        called = self._called.setdefault((source, plain_name(category.name)), [])
        if key not in called:
            called.append(key)
            called.sort()  # independent of the pictures' order
        return objects


class BoxAP(AveragePrecision):
    """COCO's twelve box numbers, each with the prefix "box " to tell them from those of poses."""

    prefix = "box "
    of_points = False
    summary = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR_1", "AR_10", "AR", "AR_S", "AR_M", "AR_L")

    def _evaluator(self, objects: CategoryObjects, ids: dict[int, int]) -> Any:
        truth = ({"bbox": list(instance.box), "area": _area(instance)} for _, instance in objects.truth)
        boxes = (answer.box.tolist() for _, answer in objects.answers)
        answers = ({"bbox": box, "area": box[2] * box[3]} for box in boxes)
        return coco_library().COCOeval_faster(*coco_pair(objects, ids, truth, answers), "bbox")


class OksAP(AveragePrecision):
    """COCO's ten keypoint numbers, from "AP" to "AR_L"; `sigmas` by keypoint name override those of the skeletons.

    At most 20 answers count per picture and category. A point that an answer lacks is placed at (0, 0), as in a results
    file. The area of an answer is that of the box around its points.
    """

    prefix = ""
    of_points = True
    summary = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")

    def __init__(self, *, sigmas: Mapping[str, float] | None = None) -> None:
        self._sigmas = dict(sigmas or {})
        for name, sigma in self._sigmas.items():
            if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma <= 1:
                raise ConfigError(f"The sigma of {quote(name)} is {sigma!r}. It must be above 0 and at most 1.")
        super().__init__()

    def sigmas(self, category: Category) -> tuple[float, ...]:
        """The constants of a category's keypoints, in their order."""
        sigmas = keypoint_sigmas(category.skeleton, category.keypoints)
        return tuple(self._sigmas.get(name, stored) for name, stored in zip(category.keypoints, sigmas, strict=True))

    def _evaluator(self, objects: CategoryObjects, ids: dict[int, int]) -> Any:
        names = objects.category.keypoints
        labelled = labelled_points([instance for _, instance in objects.truth], names)
        counts = (labelled[..., 2] > 0).sum(1).tolist()
        truth = (
            {"keypoints": points.ravel(), "num_keypoints": count, "bbox": list(instance.box), "area": _area(instance)}
            for (_, instance), points, count in zip(objects.truth, labelled, counts, strict=True)
        )
        predicted = [answer for _, answer in objects.answers]
        points = answered_points(predicted, names)
        areas = np.ptp(points[..., :2], axis=1).prod(-1).tolist()
        answers = (
            {"keypoints": placed.ravel(), "area": area if answer.area is None else answer.area}
            for answer, placed, area in zip(predicted, points, areas, strict=True)
        )
        pair, sigmas = coco_pair(objects, ids, truth, answers), np.array(self.sigmas(objects.category))
        return coco_library().COCOeval_faster(*pair, "keypoints", kpt_oks_sigmas=sigmas)


def answered_points(answers: list[FoundObject], names: tuple[str, ...]) -> np.ndarray:
    """[N, K, 3] x, y, 0 of answers in the order of the names; zeros if a point is missing."""
    points = np.zeros((len(answers), len(names), 3))
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for row, answer in enumerate(answers):
        groups.setdefault((answer.names, answer.canonical), []).append(row)
    for (pose_names, canonical), rows in groups.items():
        columns = columns_of(names, pose_names, canonical)
        if pose_names:
            given = np.stack([answers[row].xy for row in rows])[:, columns]
            there = (columns >= 0) & np.all(np.isfinite(given), axis=-1)
            points[rows, :, :2] = np.where(there[..., None], given, 0.0)
    return points


def _cells(tables: dict[str, np.ndarray], params: Any, name: str) -> np.ndarray:
    """The values that one of COCO's numbers averages, categories last; -1 without objects."""
    if params is None:
        return np.zeros((0, 0, 0))
    suffix = name[2:]
    table = tables["precision" if name.startswith("AP") else "recall"]
    table = table[..., params.areaRngLbl.index(AREAS.get(suffix, "all")), LIMITS.get(suffix, -1)]
    return table[np.isclose(params.iouThrs, int(suffix) / 100)] if suffix.isdigit() else table


def coco_library() -> Any:
    """The module `faster_coco_eval`; a MissingExtraError if it is not installed."""
    try:
        import faster_coco_eval
    except ImportError:
        raise missing_extra("Average precision", "faster-coco-eval", "eval") from None
    return faster_coco_eval


def coco_pair(
    objects: CategoryObjects, ids: dict[int, int], labels: Iterable[Fields], answers: Iterable[Fields]
) -> tuple[Any, Any]:
    """The labels and the answers of one category as faster-coco-eval's COCO objects.

    `labels` and `answers` describe the shapes of `objects.truth` and `objects.answers`, in their order.
    """

    def dataset(annotations: list[Fields]) -> Any:
        made = coco_library().COCO()
        made.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "category"}]}
        made.createIndex()
        return made

    concerned = sorted({ids[picture] for picture, _ in (*objects.truth, *objects.answers)})
    images = [{"id": number} for number in concerned]
    labelled = [
        {"id": number, "category_id": 1, "image_id": ids[picture], "iscrowd": int(instance.iscrowd), **shape}
        for number, ((picture, instance), shape) in enumerate(zip(objects.truth, labels, strict=True), start=1)
    ]
    predicted = [
        {"id": number, "category_id": 1, "image_id": ids[picture], "score": answer.score, "iscrowd": 0, **shape}
        for number, ((picture, answer), shape) in enumerate(zip(objects.answers, answers, strict=True), start=1)
    ]
    return dataset(labelled), dataset(predicted)


def _area(instance: Instance) -> float:
    """The original's area, or else the area of the box."""
    return instance.box[2] * instance.box[3] if instance.area is None else instance.area


def _mean(cells: np.ndarray) -> float:
    counted = cells[cells > -1]
    return float(counted.mean()) if counted.size else math.nan
