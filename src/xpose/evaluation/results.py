"""COCO results files, keypoints and boxes: written, read back from any program, scored, and as a source of answers.

    [{"image_id": 42, "category_id": 1, "score": 0.9, "keypoints": [x, y, v, ...]},
     {"image_id": 42, "category_id": 1, "score": 0.8, "bbox": [x, y, width, height]}]

So the results of other systems are measured by the same code as ours. Coordinates are those of the annotation file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xpose.errors import ConfigError, DataError, quote
from xpose.evaluation.answers import Answers
from xpose.evaluation.coco_truth import CocoTruth, annotation_file, read_truth, unified_name
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import columns_of, same_category
from xpose.evaluation.metrics import Metric
from xpose.evaluation.metrics.average_precision import AveragePrecision, BoxAP, FoundObject, OksAP
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.run_file import read_json
from xpose.evaluation.settings import Settings
from xpose.model.checkpoints.calibration import DEFAULT_THRESHOLD
from xpose.pictures.atomic import write_text
from xpose.records import Category
from xpose.results import Poses
from xpose.results.formats import coco

MOST = 1e9  # pixels; larger coordinates are an error of the file, though networks that diverge go far
Shape = Literal["keypoints", "boxes"]


@dataclass(frozen=True)
class ResultsFile:
    """A results file, sorted by picture."""

    answers: Mapping[int, Sequence[FoundObject]]  # by image id, in the file's order
    keypoints: bool  # whether the answers are poses rather than boxes only
    boxes: bool  # whether the file itself states boxes; otherwise they are those around the keypoints
    shares: bool  # whether all scores are from 0 to 1; otherwise only their order means something
    ignored: int  # entries about categories that the annotation file does not have

    def poses(self, image_id: int, size: tuple[int, int]) -> Poses:
        """The answers about a picture, best first; scores beyond 0..1 are squeezed into it, in order."""
        answers = self.answers.get(image_id, ())
        scores = np.array([one.score for one in answers])
        if not self.shares:
            scores = 0.5 + scores / (1 + np.abs(scores)) / 2
        order = np.argsort(-scores, kind="stable")
        answers = [answers[row] for row in order]
        widest = max((len(one.xy) for one in answers), default=0)
        xy, confidences = np.full((len(order), widest, 2), np.nan), np.full((len(order), widest), np.nan)
        for row, one in enumerate(answers):
            xy[row, : len(one.xy)] = one.xy
            if one.confidences is not None:
                confidences[row, : len(one.xy)] = one.confidences
        boxes = np.array([one.box for one in answers]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return Poses(
            boxes=boxes,
            scores=scores[order],
            categories=tuple(one.category for one in answers),
            xy=xy,
            keypoint_scores=confidences,
            visibility=np.where(np.isfinite(xy).all(-1), 2, 0),
            keypoint_names=tuple(one.names for one in answers),
            image_size=(max(size[0], 1), max(size[1], 1)),
        )


def read_results(path: str | Path, truth: CocoTruth) -> ResultsFile:
    """Read a results file that belongs to these labels; a DataError names the faulty entry."""
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
    """Checks entry by entry; the first entry decides the kind of file, as with COCO's own reader."""

    def __init__(self, path: Path, truth: CocoTruth) -> None:
        self.path, self.truth = path, truth
        self.answers: dict[int, list[FoundObject]] = {}
        self.thirds: list[tuple[FoundObject, np.ndarray]] = []  # the third numbers of each answer's keypoints

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
        third = np.concatenate([np.zeros(0), *(values for _, values in self.thirds)])
        # Third numbers are confidences rather than visibilities if they are all from 0 to 1, and not all 0 or 1.
        if keypoints and ((third >= 0) & (third <= 1)).all() and ((third > 0) & (third < 1)).any():
            for answer, values in self.thirds:
                answer.confidences = values if answer.confidences is None else answer.confidences
        shares = all(0 <= one.score <= 1 for answers in self.answers.values() for one in answers)
        return ResultsFile(self.answers, keypoints, boxes, shares, ignored)

    def _take(self, number: int, entry: Mapping[str, Any], boxes: bool, keypoints: bool) -> bool:
        image_id, category_id = (self._whole(number, entry, key) for key in ("image_id", "category_id"))
        if image_id not in self.truth.records:
            raise self._wrong(number, f"is about the image {image_id}, which the labels {quote(self.truth.name)} lack")
        category = self.truth.categories.get(category_id)
        if category is None:
            return False
        score = self._numbers(number, "score", [entry.get("score")], 1)[0]
        names = category.keypoints
        points = np.full((len(names), 3), np.nan)
        if keypoints:
            points = self._numbers(number, "keypoints", entry.get("keypoints"), points.size).reshape(-1, 3)
        area = None
        if boxes:
            box = self._numbers(number, "bbox", entry.get("bbox"), 4)
            if (box[2:] < 0).any():
                raise self._wrong(number, f'has the "bbox" {box.tolist()}, whose width and height must be at least 0')
            area = float(box[2] * box[3])
        elif names:
            box = np.concatenate((points[:, :2].min(0), np.ptp(points[:, :2], axis=0)))
        else:
            box = np.zeros(4)
        confidences = self._confidences(number, entry.get("keypoint_scores"), len(names))
        answer = FoundObject(category.name, float(score), names, names, box, points[:, :2], area, confidences)
        self.answers.setdefault(image_id, []).append(answer)
        self.thirds.append((answer, points[:, 2]))
        return True

    def _confidences(self, number: int, values: Any, count: int) -> np.ndarray | None:
        if values is None:
            return None
        if isinstance(values, list):  # null: the program gave none for this point
            values = [0.0 if value is None else value for value in values]
        confidences = self._numbers(number, "keypoint_scores", values, count)
        if ((confidences < 0) | (confidences > 1)).any():
            raise self._wrong(number, 'has "keypoint_scores" that are not from 0 to 1')
        return confidences

    def _whole(self, number: int, entry: Mapping[str, Any], key: str) -> int:
        value = entry.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(number, f'has the "{key}" {quote(value)}, which must be a whole number')
        return value

    def _numbers(self, number: int, key: str, values: Any, count: int) -> np.ndarray:
        # By type first: numpy would take "1" and true for numbers. NaN may pass min and max.
        plain = isinstance(values, list) and len(values) == count and set(map(type, values)) <= {int, float}
        if plain and min(values, default=0) >= -MOST and max(values, default=0) <= MOST:
            array = np.array(values, dtype=np.float64)
            if not np.isnan(array.sum()):
                return array
        rule = "a finite number" if key == "score" else f"a list of {count} finite numbers"
        stated = values[0] if key == "score" else values
        raise self._wrong(number, f'has the "{key}" {quote(stated)}, which must be {rule}')

    def _wrong(self, number: int, fault: str) -> DataError:
        return DataError(
            f"{quote(self.path)}: entry {number} {fault}. Results are a list of objects with image_id, category_id, "
            "score and keypoints (x, y, v of each point) or bbox (x, y, width, height). Write the file again."
        )


def score_results(truth: CocoTruth, results: ResultsFile, metrics: Iterable[Metric] | None = None) -> dict[str, float]:
    """The numbers of all metrics; by default box AP, and OKS-AP if there are keypoints.

    Average precision is computed in the file's double precision, the rest in that of `Poses`.
    """
    chosen: Sequence[Metric] = [*metrics] if metrics is not None else [OksAP()] * results.keypoints + [BoxAP()]
    others = [metric for metric in chosen if not isinstance(metric, AveragePrecision)]
    for image_id, record in truth:
        for metric in chosen:
            if isinstance(metric, AveragePrecision):
                metric.take(record, results.answers.get(image_id, ()))
        if others:
            poses = results.poses(image_id, (record.picture.height, record.picture.width))
            for metric in others:
                metric.update(record, poses)
    return {name: value for metric in chosen for name, value in metric.compute().items()}


def write_results(
    path: str | Path,
    found: Iterable[tuple[int, Poses]],
    categories: Mapping[int, Category],
    kind: Shape = "keypoints",
) -> int:
    """Write the results of pictures by image id, and return the number of entries.

    Points are in the order of the category; missing ones are zeros, and "keypoint_scores" holds their confidences.
    Poses of other categories are left out.
    """
    if kind not in ("keypoints", "boxes"):
        raise ConfigError(f'kind is {kind!r}. It must be "keypoints" or "boxes". Write them into two files.')
    entries: list[dict[str, Any]] = []
    for image_id, poses in found:
        for pose in poses:
            columns = {
                number: columns_of(category.keypoints, pose.names, pose.canonical)
                for number, category in categories.items()
                if same_category(category.name, pose.category)
            }
            if columns:
                best = max(columns, key=lambda number: int((columns[number] >= 0).sum()))
                entries.append(coco.result_entry(pose, image_id, best, kind, columns[best]))
    write_text(Path(path), "[" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries) + "]\n")
    return len(entries)


class ResultsSource:
    """Answers from one results file for each set, each read when its first picture comes."""

    batch = 16

    def __init__(self, path: Path, labels: Path | None, data: EvaluationData) -> None:
        if not path.exists():
            raise DataError(f"There is no file {quote(path)}. --results is a COCO results file. Check the path.")
        self.path, self.labels, self.data = path, labels, data
        self.name = str(path)
        self._sets: dict[tuple[str, str], tuple[CocoTruth, ResultsFile]] = {}

    @property
    def identity(self) -> str:
        """The sha256 of the files."""
        state = hashlib.sha256()
        for path in sorted(self.path.glob("*.json")) if self.path.is_dir() else [self.path]:
            state.update(path.name.encode() + path.read_bytes())
        return state.hexdigest()

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """For each task the file's answers about its picture, in the annotation file's coordinates."""
        return [tuple(self._answer(task, question, settings) for question in task.questions) for task in tasks]

    def _answer(self, task: Task, question: Question, settings: Settings) -> Poses:
        truth, results = self._of(task)
        picture = task.record.picture
        found = results.poses(truth.id_of(task.record), (picture.height, picture.width))
        rows, categories = [], []
        for row, name in enumerate(found.categories):
            called = unified_name(name)
            names = found.keypoint_names[row], found.canonical_names[row]
            fits = [one.category for one in question.asked if same_category(one.category.name, called)]
            if fits:  # of several categories of one name the one that shares most keypoints
                best = max(fits, key=lambda category: int((columns_of(category.keypoints, *names) >= 0).sum()))
                rows.append(row)
                categories.append(best.name)
        answer = dataclasses.replace(found[rows], categories=tuple(categories))
        least = settings.least_score(DEFAULT_THRESHOLD)
        # At 0 all answers count, since scores of other programs may be below it.
        return (answer.filter(threshold=least) if least > 0 else answer)[: question.most]

    def _of(self, task: Task) -> tuple[CocoTruth, ResultsFile]:
        key = (task.record.source, task.record.split)
        if key not in self._sets:
            path = self.path / f"{key[0]}.json" if self.path.is_dir() else self.path
            if self._sets and not self.path.is_dir():
                raise ConfigError(
                    f"{quote(self.path)} is one file, but the data holds several sets. Name its set with --only, or "
                    "give a folder with SET.json for each set."
                )
            labels = self.labels or annotation_file(self.data, *key)
            if labels is None:
                raise ConfigError(
                    f"The annotation file of {quote(key[0])}, whose ids the results use, is not in the given folders. "
                    "Give it with --labels."
                )
            truth = read_truth(labels)
            self._sets[key] = truth, read_results(path, truth)
        return self._sets[key]
