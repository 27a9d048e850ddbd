"""COCO annotation and results files: labels without pictures, and any program's answers, scored or as a source.

    [{"image_id": 42, "category_id": 1, "score": 0.9, "keypoints": [x, y, v, ...]},
     {"image_id": 42, "category_id": 1, "score": 0.8, "bbox": [x, y, width, height]}]

The same code measures the results of other systems and ours. Coordinates are those of the annotation file, which is
used without repairs or omissions. Keypoints get unified names if a skeleton of the vocabulary has all of a category's
points; otherwise they keep the file's names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xpose.data.collection.manifest import MANIFEST, read_manifest
from xpose.data.datasets.folder_sets import skeleton_for
from xpose.data.datasets.sources import Fields, box_of_points
from xpose.errors import ConfigError, DataError, UnmappedKeypointError, quote
from xpose.evaluation.answers import Answers
from xpose.evaluation.data import HELD_OUT, EvaluationData
from xpose.evaluation.matching import columns_of, same_category
from xpose.evaluation.metrics.average_precision import AveragePrecision, BoxAP, FoundObject, OksAP
from xpose.evaluation.metrics.points import Metric
from xpose.evaluation.questions import Question, Settings, Task
from xpose.evaluation.run_file import read_json
from xpose.model.checkpoints.calibration import DEFAULT_THRESHOLD
from xpose.pictures.atomic import write_text
from xpose.records import Category, Instance, Picture, Point, Record
from xpose.results import Poses
from xpose.results.formats import coco
from xpose.vocabulary import find_category

MOST = 1e9  # pixels; larger coordinates are an error of the file; diverged networks give large ones
RESULTS_RULE = (
    "Results are a list of objects with image_id, category_id, score and keypoints (x, y, v of each point) or bbox "
    "(x, y, width, height). Write the file again."
)


@dataclass(frozen=True)
class CocoTruth:
    """The labelled pictures of a COCO file."""

    path: Path
    name: str  # of the set
    records: Mapping[int, Record]  # by image id, in the order of the file
    categories: Mapping[int, Category]  # by category id, under the file's names

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        return iter(self.records.items())

    @cached_property
    def unified_categories(self) -> dict[int, Category]:
        """By id, under the records' names."""
        rename = dataclasses.replace
        return {number: rename(kind, name=unified_name(kind.name)) for number, kind in self.categories.items()}

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {record.picture.file.removeprefix("images/"): number for number, record in self}

    def id_of(self, record: Record) -> int:
        """The image id of a picture of the set; a DataError if the file does not have it."""
        # Folder sets omit the folder `images` in the file, but not in records.
        image_id = self._ids.get(record.picture.file.removeprefix("images/"))
        if image_id is None and record.source_id is not None and record.source_id.isdecimal():
            image_id = int(record.source_id) if int(record.source_id) in self.records else None
        if image_id is None:
            raise DataError(
                f"{quote(self.path)} has no picture {quote(record.picture.file)} of {quote(record.source)}. Labels and "
                "data must be the same set and split. Give the right file with --labels."
            )
        return image_id


def unified_name(name: str) -> str:
    """The vocabulary's name for an annotation file's category, as in records, or else the file's own."""
    category = find_category(name)
    return category.name if category else name


def annotation_file(data: EvaluationData, source: str, split: str) -> Path | None:
    """The annotation file of a set's split in the given folders; None for collections."""
    for folder in data.places:
        for place in (folder / source, folder):
            path = place / f"{'train' if split == HELD_OUT else split}.json"
            manifest = read_manifest(place) if (place / MANIFEST).is_file() else {}
            if path.is_file() and source in (place.name, manifest.get("name")):
                return path
    return None


def read_truth(path: str | Path, split: str = "val") -> CocoTruth:
    """Read the labels in a COCO file, or of a split of a folder set (`NAME/val.json`).

    Raises:
        DataError: the file breaks COCO's format.
    """
    path = Path(path).expanduser()
    name = path.name if path.is_dir() else path.stem
    path = path / f"{split}.json" if path.is_dir() else path
    content = Fields(read_json(path, "An annotation file in COCO's format"), path.name)
    try:
        return _truth(content, path, name, split)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}. Labels are scored as they are, so correct {quote(path)}.") from None


def _truth(content: Fields, path: Path, name: str, split: str) -> CocoTruth:
    categories = {fields.integer("id"): _category(fields) for fields in _entries(content, "categories", "category")}
    pictures: dict[int, Picture] = {}
    for fields in _entries(content, "images", "image"):
        image_id = fields.integer("id")
        if image_id in pictures:
            raise DataError(f"{fields.where}: its id {image_id} is also that of another image")
        width, height = (fields.integer(key) if key in fields else 0 for key in ("width", "height"))
        pictures[image_id] = Picture(str(fields.value.get("file_name") or image_id), width, height)
    instances: dict[int, list[Instance]] = {image_id: [] for image_id in pictures}
    for fields in _entries(content, "annotations", "annotation"):
        for what, ids in (("image", pictures), ("category", categories)):
            if fields.integer(f"{what}_id") not in ids:
                raise DataError(f"{fields.where}: there is no {what} {fields.integer(f'{what}_id')}")
        category = categories[fields.integer("category_id")]
        instances[fields.integer("image_id")].append(_instance(fields, category))
    records = {
        image_id: Record(
            picture, tuple(instances[image_id]), name, split, "not stated", "not stated", source_id=str(image_id)
        )
        for image_id, picture in pictures.items()
    }
    return CocoTruth(path, name, records, categories)


def _entries(content: Fields, key: str, kind: str) -> Iterator[Fields]:
    for number, value in enumerate(content.list(key), start=1):
        yield Fields(value, f"{content.where}: {kind} number {number}")


def _category(fields: Fields) -> Category:
    name, skeleton = fields.text("name"), ""
    names = tuple(map(str, fields.list("keypoints"))) if "keypoints" in fields else ()
    if names:
        try:
            known = skeleton_for(name, names)
            skeleton, names = known.name, tuple(known.point(point).name for point in names)
        except UnmappedKeypointError:
            pass  # the file's own names
    category = Category(name, skeleton, names)
    if faults := category.faults():
        raise DataError(f"{fields.where}: {'; '.join(faults)}")
    return category


def _instance(fields: Fields, category: Category) -> Instance:
    points: dict[str, Point] = {}
    if category.keypoints and "keypoints" in fields:
        rows = _numbers(fields, "keypoints", 3 * len(category.keypoints)).reshape(-1, 3)
        if not np.isin(rows[:, 2], (0, 1, 2)).all():
            raise DataError(f'{fields.where}: "keypoints" has a visibility that is not 0, 1 or 2')
        points = {name: (x, y, int(v)) for name, (x, y, v) in zip(category.keypoints, rows.tolist(), strict=True) if v}
    if "bbox" not in fields and not points:
        raise DataError(f"{fields.where}: it has neither a bbox nor a labelled keypoint")
    box: Any = tuple(fields.numbers("bbox", 4)) if "bbox" in fields else box_of_points(points.values())
    crowd = bool(fields.integer("iscrowd")) if "iscrowd" in fields else False
    area = fields.number("area") if "area" in fields else None
    return Instance(category, box, points, crowd, area, str(fields.value.get("id", "")))


def _numbers(fields: Fields, key: str, count: int) -> np.ndarray:
    """`Fields.numbers` as an array, five times as fast; null counts as 0 in "keypoint_scores"."""
    values: Any = fields.value.get(key)
    if key == "keypoint_scores" and isinstance(values, list):
        values = [0.0 if value is None else value for value in values]
    # Check types first: numpy accepts "1" and true. NaN can pass `max`.
    plain = isinstance(values, list) and len(values) == count and set(map(type, values)) <= {int, float}
    if plain and max(map(abs, values), default=0) <= MOST and not math.isnan(sum(values)):
        return np.array(values, dtype=np.float64)
    raise DataError(f"{fields.where}: {quote(key)} is {quote(values)}, but must be a list of {count} finite numbers")


@dataclass(frozen=True)
class ResultsFile:
    """A results file, sorted by picture."""

    answers: Mapping[int, Sequence[FoundObject]]  # by image id, in the file's order
    keypoints: bool  # whether the answers are poses, not only boxes
    boxes: bool  # whether the file itself states boxes; otherwise they enclose the keypoints
    shares: bool  # whether all scores are from 0 to 1; otherwise only their order is used
    ignored: int  # entries about categories missing in the annotation file

    def poses(self, image_id: int, size: tuple[int, int]) -> Poses:
        """The answers about a picture, best first; scores outside 0..1 are rescaled, in order."""
        answers = self.answers.get(image_id, ())
        scores = np.array([answer.score for answer in answers])
        if not self.shares:
            scores = 0.5 + scores / (1 + np.abs(scores)) / 2
        order = np.argsort(-scores, kind="stable")
        answers = [answers[row] for row in order]
        widest = max((len(answer.xy) for answer in answers), default=0)
        xy, confidences = np.full((len(order), widest, 2), np.nan), np.full((len(order), widest), np.nan)
        for row, answer in enumerate(answers):
            xy[row, : len(answer.xy)] = answer.xy
            if answer.confidences is not None:
                confidences[row, : len(answer.xy)] = answer.confidences
        boxes = np.array([answer.box for answer in answers]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return Poses(
            boxes=boxes,
            scores=scores[order],
            categories=tuple(answer.category for answer in answers),
            xy=xy,
            keypoint_scores=confidences,
            visibility=np.where(np.isfinite(xy).all(-1), 2, 0),
            keypoint_names=tuple(answer.names for answer in answers),
            image_size=(max(size[0], 1), max(size[1], 1)),
        )


def read_results(path: str | Path, truth: CocoTruth) -> ResultsFile:
    """Read a results file that belongs to these labels; a DataError names the faulty entry.

    The first entry decides whether the file has keypoints, boxes or both, as with COCO's own reader.
    """
    path = Path(path).expanduser()
    entries = read_json(path, "A COCO results file")
    if isinstance(entries, Mapping) and isinstance(entries.get("annotations"), list):
        entries = entries["annotations"]  # some programs write an annotation file with scores
    if not isinstance(entries, list):
        raise DataError(f"{quote(path)} holds no list. {RESULTS_RULE}")
    first = entries[0] if entries and isinstance(entries[0], Mapping) else {}
    boxes, keypoints = bool(first.get("bbox")), not entries or bool(first.get("keypoints"))
    answers: dict[int, list[FoundObject]] = {}
    thirds: list[tuple[FoundObject, np.ndarray]] = []  # the third numbers of each answer's keypoints
    ignored = 0
    for number, entry in enumerate(entries, start=1):
        try:
            fields = Fields(entry, f"entry {number}")
            image_id, category = fields.integer("image_id"), truth.categories.get(fields.integer("category_id"))
            if image_id not in truth.records:
                raise DataError(
                    f"entry {number} is about the image {image_id}, which the labels {quote(truth.name)} lack"
                )
            if not boxes and not keypoints:
                raise DataError(f'entry {number} has neither "keypoints" nor "bbox"')
            if category is None:
                ignored += 1
                continue
            answer, third = _answer(fields, category, boxes, keypoints)
        except DataError as error:
            raise DataError(f"{quote(path)}: {error}. {RESULTS_RULE}") from None
        answers.setdefault(image_id, []).append(answer)
        thirds.append((answer, third))
    # Third numbers are confidences, not visibilities, if all are from 0 to 1 and not all are 0 or 1.
    values = np.concatenate([np.zeros(0), *(third for _, third in thirds)])
    if keypoints and ((values >= 0) & (values <= 1)).all() and ((values > 0) & (values < 1)).any():
        for answer, third in thirds:
            answer.confidences = third if answer.confidences is None else answer.confidences
    shares = all(0 <= answer.score <= 1 for of_image in answers.values() for answer in of_image)
    return ResultsFile(answers, keypoints, boxes, shares, ignored)


def _answer(fields: Fields, category: Category, boxes: bool, keypoints: bool) -> tuple[FoundObject, np.ndarray]:
    """The answer of an entry, and the third numbers of its keypoints."""
    names = category.keypoints
    points = np.full((len(names), 3), np.nan)
    if keypoints:
        points = _numbers(fields, "keypoints", points.size).reshape(-1, 3)
    area, box, confidences = None, np.zeros(4), None
    if boxes:
        box = _numbers(fields, "bbox", 4)
        if (box[2:] < 0).any():
            raise DataError(f'{fields.where} has the "bbox" {box.tolist()}; width and height must be at least 0')
        area = float(box[2] * box[3])
    elif names:
        box = np.concatenate((points[:, :2].min(0), np.ptp(points[:, :2], axis=0)))
    if "keypoint_scores" in fields:
        confidences = _numbers(fields, "keypoint_scores", len(names))
        if ((confidences < 0) | (confidences > 1)).any():
            raise DataError(f'{fields.where} has "keypoint_scores" that are not from 0 to 1')
    score = fields.number("score")
    return FoundObject(category.name, score, names, names, box, points[:, :2], area, confidences), points[:, 2]


def score_results(truth: CocoTruth, results: ResultsFile, metrics: Iterable[Metric] | None = None) -> dict[str, float]:
    """The numbers of all metrics; by default box AP, and OKS-AP if there are keypoints.

    Average precision uses the file's double precision, other metrics that of `Poses`.
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
    predicted: Iterable[tuple[int, Poses]],
    categories: Mapping[int, Category],
    kind: Literal["keypoints", "boxes"] = "keypoints",
) -> int:
    """Write the results of pictures by image id, and return the number of entries.

    Points are in the order of the category; missing ones are zeros, and "keypoint_scores" holds their confidences.
    Poses of other categories are omitted.
    """
    if kind not in ("keypoints", "boxes"):
        raise ConfigError(f'kind is {kind!r}. It must be "keypoints" or "boxes". Write them into two files.')
    entries: list[dict[str, Any]] = []
    for image_id, poses in predicted:
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
    """Answers from one results file per set, each read at its first picture."""

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
        """The file's answers about each task's picture, in the annotation file's coordinates."""
        return [tuple(self._answer(task, question, settings) for question in task.questions) for task in tasks]

    def _answer(self, task: Task, question: Question, settings: Settings) -> Poses:
        truth, results = self._of(task)
        picture = task.record.picture
        predicted = results.poses(truth.id_of(task.record), (picture.height, picture.width))
        rows, categories = [], []
        for row, name in enumerate(predicted.categories):
            names = predicted.keypoint_names[row], predicted.canonical_names[row]
            asked = (asked.category for asked in question.asked)
            fits = [category for category in asked if same_category(category.name, unified_name(name))]
            if fits:  # several can have the name: the one that shares most keypoints
                best = max(fits, key=lambda category: int((columns_of(category.keypoints, *names) >= 0).sum()))
                rows.append(row)
                categories.append(best.name)
        answer = dataclasses.replace(predicted[rows], categories=tuple(categories))
        least = settings.least_score(DEFAULT_THRESHOLD)
        # At 0 all answers count, since other programs' scores can be negative.
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
