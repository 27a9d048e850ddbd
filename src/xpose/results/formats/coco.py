"""COCO: complete instances files, and the result lists that COCO's evaluators read.

COCO has no null: absent keypoints (v = 0) are 0, 0, 0 in instances files, as the format requires. Result lists keep
their coordinates, because the evaluators compare every predicted keypoint and ignore its v.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.geometry import xyxy_to_xywh
from xpose.pictures import AS_STORED, UPRIGHT
from xpose.pictures.atomic import write_atomically
from xpose.results.formats.json import number, score

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

Kind = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def instances(
    results: Sequence[Poses],
    *,
    image_ids: Sequence[int] | None = None,
    category_ids: Mapping[str, int] | None = None,
    file_names: Sequence[str] | None = None,
    coordinates: bool = True,
) -> dict[str, Any]:
    """One COCO instances file for several pictures.

    Each annotation also has its `score`, `keypoint_scores` and, if the weights predict them, `keypoint_errors`, and
    `tentative` if it is, and `track_id` if it was tracked (see `Poses`).

    Args:
        results: one for each picture.
        image_ids: the ids of the pictures; default 1, 2, ...
        category_ids: id by category name; default 1, 2, ... in order of appearance.
        file_names: the names of the pictures; default their `source`.
        coordinates: state in `info` that they are those of `Poses`; labels of other programs need not be.

    Raises:
        ConfigError: counts differ, a category has no id, or two skeletons share an id.
    """
    ids = _image_ids(results, image_ids)
    if file_names is None:
        file_names = [poses.source or f"picture-{image_id}" for poses, image_id in zip(results, ids, strict=True)]
    if len(file_names) != len(results):
        raise ConfigError(f"Got {len(results)} results and {len(file_names)} file names. Each picture needs one.")
    kinds = _category_ids(results, category_ids)
    detected = [(pose, image_id) for poses, image_id in zip(results, ids, strict=True) for pose in poses]
    upright = all(poses.exif_applied for poses in results)
    stated = {"coordinates": UPRIGHT if upright else AS_STORED} if coordinates else {}
    return {
        "info": {"description": "Found by xpose", **stated},
        "licenses": [],
        "images": [
            {"id": image_id, "file_name": name, "height": poses.image_size[0], "width": poses.image_size[1]}
            for poses, image_id, name in zip(results, ids, file_names, strict=True)
        ],
        "annotations": [
            _annotation(pose, annotation_id, image_id, kinds[_kind(pose)])
            for annotation_id, (pose, image_id) in enumerate(detected, start=1)
        ],
        "categories": [_category(kind, category_id) for kind, category_id in kinds.items()],
    }


def results(
    results: Sequence[Poses],
    *,
    image_ids: Sequence[int] | None = None,
    category_ids: Mapping[str, int] | None = None,
    kind: Literal["keypoints", "boxes"] = "keypoints",
) -> list[dict[str, Any]]:
    """COCO results for several pictures, as `COCO.loadRes` of pycocotools reads them.

    The ids are as for `instances`, and must match the annotation file. `kind` is "keypoints" (objects without any are
    omitted) or "boxes"; pycocotools would read an entry with both as a box.
    """
    if kind not in ("keypoints", "boxes"):
        raise ConfigError(f'kind is {kind!r}. It must be "keypoints" or "boxes". Write them into two files.')
    kinds = _category_ids(results, category_ids, alone=False)
    return [
        result_entry(pose, image_id, kinds[_kind(pose)], kind)
        for poses, image_id in zip(results, _image_ids(results, image_ids), strict=True)
        for pose in poses
        if pose.names or kind == "boxes"
    ]


def result_entry(
    pose: Pose,
    image_id: int,
    category_id: int,
    kind: Literal["keypoints", "boxes"] = "keypoints",
    columns: np.ndarray | None = None,
) -> dict[str, Any]:
    """One entry of a results file in full precision, with `keypoint_scores` and, if predicted, `keypoint_errors`.

    `columns` [K] has the row in the pose for each keypoint of the category, or -1 (zeros) if the pose lacks it. By
    default the category has the pose's own keypoints.
    """
    entry: dict[str, Any] = {"image_id": image_id, "category_id": category_id, "score": float(pose.score)}
    if kind == "boxes":
        return {**entry, "bbox": xyxy_to_xywh(pose.box.astype(np.float64)).tolist()}
    if columns is None:
        columns = np.arange(len(pose.names))
    flat: list[float] = []
    # -1 selects the row that is appended.
    places = np.vstack((pose.xy, np.full((1, 2), np.nan)))[columns].astype(np.float64).tolist()
    for (x, y), v in zip(places, np.append(pose.visibility, 0)[columns].tolist(), strict=True):
        flat += [x, y, v] if math.isfinite(x + y) else [0, 0, 0]
    entry |= {"keypoints": flat, "keypoint_scores": _listed(pose.keypoint_scores, columns)}
    if pose.keypoint_errors is not None:
        entry["keypoint_errors"] = _listed(pose.keypoint_errors, columns)
    return entry


def _nameless(folder: Path) -> IO[str]:
    """A file without a name, which is gone after a crash."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)


class InstancesFile:
    """An instances file that is written picture by picture, in constant memory; it appears when it is finished."""

    def __init__(self, path: Path, labels: Sequence[str], info: Mapping[str, str]) -> None:
        """`labels` are the names of the categories, which are numbered from 1."""
        self._path, self._info = path, info
        self._ids = {label: number for number, label in enumerate(labels, start=1)}
        self._parts = {key: _nameless(path.parent) for key in ("images", "annotations")}
        self._counts = dict.fromkeys(self._parts, 0)
        self._categories: dict[int, Any] = {}

    def add(
        self,
        poses: Poses,
        image_id: int,
        file_name: str,
        image: Mapping[str, Any] = _NOTHING,
        annotations: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Write a picture to temporary files; `image` and `annotations` (one for each pose) are further values."""
        content = instances([poses], image_ids=[image_id], category_ids=self._ids, file_names=[file_name])
        (entry,) = content["images"]
        self._write("images", {**entry, **image})
        for row, annotation in enumerate(content["annotations"]):
            more = _NOTHING if annotations is None else annotations[row]
            self._write("annotations", {**annotation, "id": self._counts["annotations"] + 1, **more})
        self._categories |= {category["id"]: category for category in content["categories"]}

    def _write(self, key: str, value: object) -> None:
        self._parts[key].write((",\n" if self._counts[key] else "") + json.dumps(value, allow_nan=False))
        self._counts[key] += 1

    def finish(self) -> None:
        """Join the parts."""
        categories = [self._categories[key] for key in sorted(self._categories)]

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8") as file:
                file.write(f'{{"info": {json.dumps(dict(self._info))}, "licenses": [],\n')
                file.write(f'"categories": {json.dumps(categories)}')
                for key, part in self._parts.items():
                    part.seek(0)
                    file.write(f',\n"{key}": [\n')
                    shutil.copyfileobj(part, file)
                    file.write("\n]")
                file.write("}\n")

        write_atomically(self._path, write)
        for part in self._parts.values():
            part.close()


def _listed(values: np.ndarray, columns: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in np.append(values, np.nan)[columns].tolist()]


def _kind(pose: Pose) -> Kind:
    return pose.category, pose.names, pose.edges


def _annotation(pose: Pose, annotation_id: int, image_id: int, category_id: int) -> dict[str, Any]:
    flat: list[float] = []
    for x, y, _, v in pose.points.values():
        flat += [number(x), number(y), v] if v else [0, 0, 0]
    annotation = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [number(value) for value in xyxy_to_xywh(pose.box.astype(np.float64))],
        "area": number(pose.area),
        "iscrowd": 0,
        "keypoints": flat,
        "num_keypoints": int((pose.visibility > 0).sum()),
        "score": score(pose.score),
        "keypoint_scores": [score(value) for value in pose.keypoint_scores.tolist()],
    }
    if pose.keypoint_errors is not None:  # not part of COCO; its tools ignore unknown keys
        annotation["keypoint_errors"] = [score(value, 2) for value in pose.keypoint_errors.tolist()]
    if pose.tentative:
        annotation["tentative"] = True
    if pose.track_id is not None:  # as in PoseTrack
        annotation["track_id"] = pose.track_id
    return annotation


def _category(kind: Kind, category_id: int) -> dict[str, Any]:
    name, names, edges = kind
    place = {point: position for position, point in enumerate(names, start=1)}  # COCO counts from 1
    return {
        "id": category_id,
        "name": name,
        "supercategory": "",
        "keypoints": list(names),
        "skeleton": [[place[start], place[end]] for start, end in edges],
    }


def _image_ids(results: Sequence[Poses], given: Sequence[int] | None) -> list[int]:
    ids = list(range(1, len(results) + 1)) if given is None else list(given)
    if len(ids) != len(results) or len(set(ids)) < len(ids):
        raise ConfigError(
            f"Got {len(results)} results and {len(set(ids))} different image ids. Each picture needs its own."
        )
    return ids


def _category_ids(results: Sequence[Poses], given: Mapping[str, int] | None, *, alone: bool = True) -> dict[Kind, int]:
    """The id of each pair of category and keypoints; with `alone`, all ids must differ."""
    kinds = list(dict.fromkeys(_kind(pose) for poses in results for pose in poses))
    if given is None:
        return {kind: position for position, kind in enumerate(kinds, start=1)}
    ids: dict[Kind, int] = {}
    for kind in kinds:
        if kind[0] not in given:
            raise ConfigError(f"The category {quote(kind[0])} has no id. Add it to category_ids, or filter its poses.")
        if alone and given[kind[0]] in ids.values():
            raise ConfigError(
                f"The category {quote(kind[0])} shares its id with other keypoints. COCO has one list for each id."
            )
        ids[kind] = given[kind[0]]
    return ids
