"""COCO results files, keypoints and boxes: written from what was found, read back from any program, scored.

    [{"image_id": 42, "category_id": 1, "score": 0.9, "keypoints": [x, y, v, ...]},
     {"image_id": 42, "category_id": 1, "score": 0.8, "bbox": [x, y, width, height]}]

So the results of other systems are measured by the same code as ours. Coordinates are those of the annotation file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xpose.errors import ConfigError, DataError, quote
from xpose.evaluation.coco_truth import CocoTruth
from xpose.evaluation.matching import columns_of, same_category
from xpose.evaluation.metrics.average_precision import AveragePrecision, FoundObject
from xpose.evaluation.metrics.base import Metric
from xpose.evaluation.metrics.box_ap import BoxAP
from xpose.evaluation.metrics.oks_ap import OksAP
from xpose.evaluation.reading import read_json
from xpose.pictures.atomic import write_text
from xpose.records import Category
from xpose.results import Poses
from xpose.results.formats import coco

MOST = 1e9  # pixels; a coordinate past it is a fault of the file, though networks that diverge come far
_PLAIN = {int, float}


@dataclass(slots=True)
class FileAnswer:
    """One entry of a results file, in double precision."""

    category: Category
    score: float
    box: np.ndarray  # [4] x, y, width, height
    points: np.ndarray  # [k, 3] x, y and the file's third number
    confidences: np.ndarray | None  # [k], where "keypoint_scores" gives them


@dataclass(frozen=True)
class ResultsFile:
    """A results file, sorted by picture.

    Attributes:
        answers: by image id, in the file's order; pictures without an answer are missing.
        keypoints: whether the answers are poses rather than boxes only.
        boxes: whether the file itself states boxes; otherwise they are those round the keypoints.
        shares: whether all scores lie from 0 to 1. If not, they only say which answer is better.
        confident: whether the third numbers of keypoints are confidences rather than the visibilities 0, 1, 2.
        ignored: how many entries are about categories that the annotation file does not have.
    """

    answers: Mapping[int, Sequence[FileAnswer]]
    keypoints: bool
    boxes: bool
    shares: bool
    confident: bool
    ignored: int

    def objects(self, image_id: int) -> Iterator[FoundObject]:
        """The answers about a picture as average precision takes them, in the file's order."""
        for one in self.answers.get(image_id, ()):
            names, area = one.category.keypoints, float(one.box[2] * one.box[3]) if self.boxes else None
            yield FoundObject(one.category.name, one.score, names, names, one.box, one.points[:, :2], area)

    def poses(self, image_id: int, size: tuple[int, int]) -> Poses:
        """The answers about a picture, best first; scores beyond 0..1 are squeezed into it, in order."""
        answers = self.answers.get(image_id, ())
        scores = np.array([one.score for one in answers])
        if not self.shares:
            scores = 0.5 + scores / (1 + np.abs(scores)) / 2
        order = np.argsort(-scores, kind="stable")
        answers = [answers[row] for row in order]
        widest = max((len(one.points) for one in answers), default=0)
        xy, confidences = np.full((len(order), widest, 2), np.nan), np.full((len(order), widest), np.nan)
        for row, one in enumerate(answers):
            xy[row, : len(one.points)] = one.points[:, :2]
            if one.confidences is not None:
                confidences[row, : len(one.points)] = one.confidences
            elif self.confident:
                confidences[row, : len(one.points)] = one.points[:, 2]
        boxes = np.array([one.box for one in answers]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return Poses(
            boxes=boxes,
            scores=scores[order],
            categories=tuple(one.category.name for one in answers),
            xy=xy,
            keypoint_scores=confidences,
            visibility=np.where(np.isfinite(xy).all(-1), 2, 0),
            keypoint_names=tuple(one.category.keypoints for one in answers),
            image_size=(max(size[0], 1), max(size[1], 1)),
        )


def read_results(path: str | Path, truth: CocoTruth) -> ResultsFile:
    """A results file that belongs to these labels.

    Raises:
        DataError: it is not a results file, or an entry is faulty or about an unknown picture; the message names it.
    """
    path = Path(path).expanduser()
    entries = read_json(path, "A COCO results file")
    if isinstance(entries, Mapping) and isinstance(entries.get("annotations"), list):
        entries = entries["annotations"]  # an annotation file with scores, as some programs write
    if not isinstance(entries, list):
        raise DataError(
            f"{quote(path)} holds no list. COCO results are a list of objects with image_id, category_id, score and "
            "keypoints or bbox. Write it again."
        )
    return _Reader(path, truth).read(entries)


class _Reader:
    """Checks entry by entry; the first entry decides what kind of file it is, as with COCO's own reader."""

    def __init__(self, path: Path, truth: CocoTruth) -> None:
        self.path, self.truth = path, truth
        self.answers: dict[int, list[FileAnswer]] = {}

    def read(self, entries: list[Any]) -> ResultsFile:
        first = entries[0] if entries and isinstance(entries[0], Mapping) else {}
        boxes, keypoints = bool(first.get("bbox")), not entries or bool(first.get("keypoints"))
        ignored = 0
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, Mapping):
                raise self._wrong(number, f"is {quote(entry)}, not an object with named fields")
            if not boxes and not keypoints:
                raise self._wrong(number, 'has neither "keypoints" nor "bbox"')
            ignored += not self._take(number, entry, boxes, keypoints)
        return ResultsFile(
            self.answers,
            keypoints=keypoints,
            boxes=boxes,
            shares=all(0 <= one.score <= 1 for answers in self.answers.values() for one in answers),
            confident=keypoints and self._confident(),
            ignored=ignored,
        )

    def _take(self, number: int, entry: Mapping[str, Any], boxes: bool, keypoints: bool) -> bool:
        image_id, category_id = (self._whole(number, entry, key) for key in ("image_id", "category_id"))
        if image_id not in self.truth.records:
            raise self._wrong(number, f"is about the image {image_id}, which the labels {quote(self.truth.name)} lack")
        category = self.truth.categories.get(category_id)
        if category is None:
            return False
        score = self._numbers(number, "score", [entry.get("score")], 1)[0]
        count = len(category.keypoints)
        points = np.full((count, 3), np.nan)
        if keypoints:
            points = self._numbers(number, "keypoints", entry.get("keypoints"), 3 * count).reshape(count, 3)
        if boxes:
            box = self._numbers(number, "bbox", entry.get("bbox"), 4)
            if (box[2:] < 0).any():
                raise self._wrong(number, f'has the "bbox" {box.tolist()}, whose width and height must be at least 0')
        else:
            low, high = (points[:, :2].min(0), points[:, :2].max(0)) if count else (np.zeros(2), np.zeros(2))
            box = np.concatenate((low, high - low))
        confidences = entry.get("keypoint_scores")
        checked = None if confidences is None else self._confidences(number, confidences, count)
        self.answers.setdefault(image_id, []).append(FileAnswer(category, float(score), box, points, checked))
        return True

    def _confident(self) -> bool:
        """Whether the third numbers of keypoints are confidences: all from 0 to 1, and not all of them 0 or 1."""
        third = [one.points[:, 2] for answers in self.answers.values() for one in answers]
        every = np.concatenate([np.zeros(0), *third])
        return bool(((every >= 0) & (every <= 1)).all() and ((every > 0) & (every < 1)).any())

    def _confidences(self, number: int, values: Any, count: int) -> np.ndarray:
        if isinstance(values, list):  # null: the program gave none for this point
            values = [0.0 if value is None else value for value in values]
        checked = self._numbers(number, "keypoint_scores", values, count)
        if ((checked < 0) | (checked > 1)).any():
            raise self._wrong(number, 'has "keypoint_scores" that are not from 0 to 1')
        return checked

    def _whole(self, number: int, entry: Mapping[str, Any], key: str) -> int:
        value = entry.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(number, f'has the "{key}" {quote(value)}, which must be a whole number')
        return value

    def _numbers(self, number: int, key: str, values: Any, count: int) -> np.ndarray:
        # By type first: numpy would take "1" and true for numbers. NaN may slip past min and max.
        usual = isinstance(values, list) and len(values) == count and set(map(type, values)) <= _PLAIN
        if usual and min(values, default=0) >= -MOST and max(values, default=0) <= MOST:
            array = np.array(values, dtype=np.float64)
            if not np.isnan(array.sum()):
                return array
        rule = "a finite number" if key == "score" else f"a list of {count} finite numbers"
        found = values[0] if key == "score" else values
        raise self._wrong(number, f'has the "{key}" {quote(found)}, which must be {rule}')

    def _wrong(self, number: int, what: str) -> DataError:
        return DataError(
            f"{quote(self.path)}: entry {number} {what}. Results are a list of objects with image_id, category_id, "
            "score and keypoints (x, y, v of each point) or bbox (x, y, width, height). Write the file again."
        )


def score_results(truth: CocoTruth, results: ResultsFile, metrics: Iterable[Metric] | None = None) -> dict[str, float]:
    """The numbers of all metrics; box AP, and OKS-AP where there are keypoints, if None are named.

    Average precision is computed in the file's double precision, the rest in that of `Poses`.
    """
    chosen: Sequence[Metric] = [*metrics] if metrics is not None else [OksAP()] * results.keypoints + [BoxAP()]
    others = [metric for metric in chosen if not isinstance(metric, AveragePrecision)]
    for image_id, record in truth:
        for metric in chosen:
            if isinstance(metric, AveragePrecision):
                metric.take(record, results.objects(image_id))
        if others:
            found = results.poses(image_id, (record.picture.height, record.picture.width))
            for metric in others:
                metric.update(record, found)
    return {name: value for metric in chosen for name, value in metric.compute().items()}


def write_results(
    path: str | Path,
    found: Iterable[tuple[int, Poses]],
    categories: Mapping[int, Category],
    kind: Literal["keypoints", "boxes"] = "keypoints",
) -> int:
    """Write the results of pictures, by image id; the number of entries.

    Points are put into the order of the category, those that a pose lacks stand as zeros, and "keypoint_scores" gives
    their confidences. Poses of categories that are not listed are left out.

    Raises:
        ConfigError: the kind is unknown.
        XPoseError: the file cannot be written.
    """
    if kind not in ("keypoints", "boxes"):
        raise ConfigError(f'kind is {kind!r}. It must be "keypoints" or "boxes". Write them into two files.')
    entries = [entry for image_id, poses in found for entry in _entries(image_id, poses, categories, kind)]
    write_text(Path(path), "[" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries) + "]\n")
    return len(entries)


def _entries(
    image_id: int, poses: Poses, categories: Mapping[int, Category], kind: Literal["keypoints", "boxes"]
) -> Iterator[dict[str, Any]]:
    for pose in poses:
        columns = {
            number: columns_of(category.keypoints, pose.names, pose.canonical)
            for number, category in categories.items()
            if same_category(category.name, pose.category)
        }
        if not columns:
            continue
        best = max(columns, key=lambda number: int((columns[number] >= 0).sum()))
        yield coco.result_entry(pose, image_id, best, kind, columns[best])
