"""Assign found poses to labelled objects, and pair their points by name.

Letters: N poses found, M objects labelled, K keypoints of an object's category.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal, get_args

import numpy as np

from xpose.errors import ConfigError, VocabularyError, did_you_mean, quote
from xpose.geometry import pairwise_iou
from xpose.records import Instance, Record
from xpose.results import Poses
from xpose.vocabulary import flip_name, load_skeleton, normalise

Match = Literal["given", "best box", "best score"]
MATCHES: tuple[str, ...] = get_args(Match)
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aligned:
    """An object's keypoints and those of its assigned pose, in the order of the object's category."""

    names: Names
    true: np.ndarray  # [K, 2] pixels; 0 if not labelled
    visibility: np.ndarray  # [K], 2 visible, 1 hidden, 0 not labelled
    predicted: np.ndarray  # [K, 2] pixels; NaN if not found
    scores: np.ndarray  # [K] confidences; NaN if not found or without a confidence

    @property
    def distances(self) -> np.ndarray:
        """[K] in pixels: infinite if a point was not found. Only labelled points are meaningful."""
        offsets = self.predicted - self.true
        distances = np.sqrt(offsets[:, 0] ** 2 + offsets[:, 1] ** 2)
        distances[np.isnan(distances)] = np.inf
        return distances

    def counted(self, points: str) -> np.ndarray:
        """[K] bool: the points that count, "labelled" (visible or hidden) or "visible"."""
        return self.visibility > (0 if points == "labelled" else 1)


def match(truth: Record, predicted: Poses, how: Match = "best box", *, any_category: bool = False) -> list[int | None]:
    """The row of the pose assigned to each object of the record, including objects that no metric counts.

    `how` is "given": row i for object i, for methods that are given the objects; "best box": the pose whose box has the
    highest IoU with the object's (the first among ties); or "best score". The last two match objects independently, so
    two objects may be assigned the same pose. `any_category` also assigns poses of other categories.
    """
    if how == "given":
        if len(predicted) != len(truth.instances):
            counts = f"{quote(truth.picture.file)} has {len(truth.instances)} objects and {len(predicted)} poses"
            raise ConfigError(f'{counts}. Matching by "given" needs one pose for each object. Use "best box".')
        return list(range(len(predicted)))
    if not len(predicted):
        return [None] * len(truth.instances)
    if not truth.instances:
        return []
    allowed = same_categories(truth, predicted).T | any_category  # [M, N]
    if how == "best box":
        goodness = pairwise_iou(boxes_of(truth), predicted.boxes.astype(np.float64))  # [M, N]
    else:
        goodness = np.broadcast_to(predicted.scores.astype(np.float64), allowed.shape)
    goodness = np.where(allowed, goodness, -1.0)
    return [int(best) if any(row) else None for best, row in zip(goodness.argmax(1), allowed, strict=True)]


def check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(
            f"Unknown {what} {quote(value)}.{did_you_mean(value, choices)} It must be one of {', '.join(choices)}."
        )


HIT, FALSE, IGNORED = 1, 0, -1
LEAST_IOU = 0.5


def judge(truth: Record, predicted: Poses) -> tuple[np.ndarray, np.ndarray]:
    """Match poses and objects one to one, best scores first.

    Each pose is matched to the free object of its category with the highest box IoU, if this is at least 0.5. A pose is
    ignored if at least half of it is inside a crowd of its category. A crowd cannot be missed.

    Returns:
        verdicts: [N], `HIT`, `FALSE` or `IGNORED` for each pose.
        missed: [M] bool, objects without a pose.
    """
    crowd = np.array([instance.iscrowd for instance in truth.instances], dtype=bool)
    verdicts, missed = np.full(len(predicted), FALSE), ~crowd
    if not len(predicted) or not truth.instances:
        return verdicts, missed
    overlap, inside = overlaps(truth, predicted)
    for row in np.argsort(-predicted.scores, kind="stable"):
        free = np.where(missed, overlap[row], -1.0)
        best = int(free.argmax())
        if free[best] >= LEAST_IOU:
            verdicts[row], missed[best] = HIT, False
        elif inside[row] >= LEAST_IOU:
            verdicts[row] = IGNORED
    return verdicts, missed


def overlaps(truth: Record, predicted: Poses) -> tuple[np.ndarray, np.ndarray]:
    """[N, M] IoU of boxes, 0 if categories differ, and [N] the share of each pose inside a crowd of its category."""
    crowd = np.array([instance.iscrowd for instance in truth.instances], dtype=bool)
    same = same_categories(truth, predicted)
    corners, boxes = boxes_of(truth), predicted.boxes.astype(np.float64)
    overlap = np.where(same, pairwise_iou(boxes, corners), 0.0)
    shared = np.maximum(boxes[:, None, :2], corners[None, :, :2]), np.minimum(boxes[:, None, 2:], corners[None, :, 2:])
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-9)
    inside = np.clip(shared[1] - shared[0], 0, None).prod(-1) / areas[:, None]
    return overlap, np.where(same & crowd, inside, 0.0).max(axis=1, initial=0.0)


def same_categories(truth: Record, predicted: Poses) -> np.ndarray:
    """[N, M] bool: whether a pose has an object's category."""
    labelled = np.array([plain_name(instance.category.name) for instance in truth.instances], dtype=str)
    return np.array([plain_name(name) for name in predicted.categories], dtype=str)[:, None] == labelled


def same_category(first: str, second: str) -> bool:
    """Whether two spellings mean the same category."""
    return plain_name(first) == plain_name(second)


def boxes_of(truth: Record) -> np.ndarray:
    """[M, 4] corners of the labelled boxes."""
    boxes = np.array([instance.box for instance in truth.instances], dtype=np.float64).reshape(-1, 4)
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def labelled_points(instances: Sequence[Instance], names: Names) -> np.ndarray:
    """[M, K, 3] x, y, v of these keypoints of each object; zeros if not labelled."""
    rows = (instance.keypoints.get(name, (0.0, 0.0, 0)) for instance in instances for name in names)
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=3 * len(names) * len(instances))
    return flat.reshape(len(instances), len(names), 3)


def align(instance: Instance, predicted: Poses, row: int | None) -> Aligned:
    """The object's points and those of pose `row`; NaN for points that the pose lacks, or without a pose."""
    names = instance.category.keypoints
    (true,) = labelled_points([instance], names)
    places = None if row is None else columns_of(names, predicted.keypoint_names[row], predicted.canonical_names[row])
    if row is None or places is None or not len(predicted.keypoint_names[row]):
        xy, scores = np.full((len(names), 2), np.nan), np.full(len(names), np.nan)
    else:
        xy, scores = (
            predicted.xy[row][places].astype(np.float64),
            predicted.keypoint_scores[row][places].astype(np.float64),
        )
        if places.min(initial=0) < 0:
            xy[places < 0], scores[places < 0] = np.nan, np.nan
    return Aligned(names, true[:, :2], true[:, 2].astype(np.int64), xy, scores)


@lru_cache(maxsize=4096)
def columns_of(labelled: Names, names: Names, canonical: Names) -> np.ndarray:
    """[K] the index of each labelled name among a pose's own or canonical names; -1 if missing."""
    rings = (names, canonical, tuple(map(plain_name, names)), tuple(map(plain_name, canonical)))
    places = []
    for name in labelled:
        forms = (name, name, plain_name(name), plain_name(name))
        places.append(next((ring.index(form) for ring, form in zip(rings, forms, strict=True) if form in ring), -1))
    columns = np.array(places, dtype=np.int64)
    columns.setflags(write=False)
    return columns


def as_poses(record: Record) -> Poses:
    """The labels of a record as poses, in its own pixels."""
    names = tuple(instance.category.keypoints for instance in record.instances)
    labelled = np.zeros((len(names), max(map(len, names), default=0), 3))
    for row, instance in enumerate(record.instances):
        labelled[row, : len(names[row])] = labelled_points([instance], names[row])[0]
    seen = labelled[..., 2]
    boxes = np.array([instance.box for instance in record.instances], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Poses(
        boxes=boxes,
        scores=np.ones(len(names)),
        categories=tuple(instance.category.name for instance in record.instances),
        xy=np.where(seen[..., None] > 0, labelled[..., :2], np.nan),
        keypoint_scores=np.where(seen > 0, 1.0, np.nan),
        visibility=seen,
        keypoint_names=names,
        edges=tuple(instance.category.edges for instance in record.instances),
        image_size=(record.picture.height, record.picture.width),
    )


def in_records_pixels(predicted: Poses) -> Poses:
    """A detector's result in the pixels of records, where (0, 0) is the centre of the first pixel: half a pixel less.

    Boxes do not change: COCO's boxes span a picture of width W from 0 to W, and so do a detector's.
    """
    return dataclasses.replace(predicted, xy=predicted.xy - np.float32(0.5))


plain_name = lru_cache(maxsize=65536)(normalise)


@lru_cache(maxsize=1024)
def mirror_names(skeleton: str, names: Names) -> dict[str, str]:
    """Map names to the mirrored picture's, by the skeleton or else the words "left" and "right"."""
    flips: dict[str, str] = {}
    if not skeleton.endswith(".toml"):  # annotation files contain the name and must not open arbitrary files
        with contextlib.suppress(VocabularyError):  # a user's own skeleton
            flips = dict(load_skeleton(skeleton).flips)
    return {name: flips.get(name, flip_name(name)) for name in names}
