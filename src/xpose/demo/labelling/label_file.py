"""Files of labels: the COCO keypoint file that is written, and COCO files and results of xpose that are read.

Like results of xpose, the labels that we write are pixels of the upright picture, and `info` says so. Other COCO files
state pixel indices, which are half a pixel smaller.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xpose.demo.examples import Box
from xpose.demo.labelling.objects import LabelledObject, Mark
from xpose.errors import DataError, first_line, quote
from xpose.pictures import AS_STORED, UPRIGHT
from xpose.pictures.atomic import write_text
from xpose.records import HIDDEN, NOT_LABELLED, VISIBLE, Category
from xpose.results.formats.json import FORMAT, json_text, number
from xpose.results.poses import Pose, Poses

LABEL_FILE = "labels.json"  # in the folder of the pictures
_WRITER = "Labelled with xpose label"  # `info.description` of our files
_NOT_VISIBLE = "not_visible"  # our addition to annotations: keypoints that a person marked as not visible


@dataclass(frozen=True)
class SavedPicture:
    """The objects of one category in one picture, as a file states them."""

    width: int
    height: int
    objects: tuple[LabelledObject, ...]


FileContent = dict[Category, dict[str, SavedPicture]]  # by category and by the picture's file name


class LabelFile:
    """The labels of one category in the pictures of a folder; each change is written at once, atomically."""

    def __init__(self, path: Path, category: Category, pictures: Mapping[str, SavedPicture] | None = None) -> None:
        self.path, self.category, self.pictures = path, category, dict(pictures or {})
        self._stamp = _stamp(path)

    @classmethod
    def read(cls, path: Path) -> LabelFile:
        """The file that an earlier session wrote; `DataError` for a damaged file or another program's."""
        stamp, content = _stamp(path), read_json(path)
        info = content.get("info") if isinstance(content, dict) else None
        if not isinstance(info, dict) or info.get("description") != _WRITER:
            raise DataError(
                f"{quote(path)} was not written by xpose label, which would replace it. Rename it; to correct its "
                "labels, give it under its new name with --from."
            )
        by_category = _from_coco(content, path)
        if len(by_category) != 1:
            raise DataError(f"{quote(path)} has {len(by_category)} categories with keypoints, and must have one.")
        ((category, pictures),) = by_category.items()
        file = cls(path, category, pictures)
        file._stamp = stamp
        return file

    def save(self, name: str, picture: SavedPicture) -> None:
        """Replace the labels of one picture; `XPoseError` if the file cannot be written or has changed meanwhile."""
        if self._stamp != _stamp(self.path) and self.path.exists():
            raise DataError(
                f"Another program has changed {quote(self.path)}, so nothing was written. Close that program and start "
                "xpose label again, which reads the new content."
            )
        pictures = {**self.pictures, name: picture}
        write_text(self.path, json_text(coco(self.category, pictures)) + "\n")
        self.pictures, self._stamp = pictures, _stamp(self.path)


def coco(category: Category, pictures: Mapping[str, SavedPicture]) -> dict[str, Any]:
    """The content of a COCO keypoint file."""
    place = {name: row for row, name in enumerate(category.keypoints, start=1)}  # COCO counts from 1
    labelled = [
        (ids, picture, item) for ids, picture in enumerate(pictures.values(), start=1) for item in picture.objects
    ]
    return {
        "info": {"description": _WRITER, "coordinates": UPRIGHT},
        "licenses": [],
        "images": [
            {"id": image_id, "file_name": name, "width": picture.width, "height": picture.height}
            for image_id, (name, picture) in enumerate(pictures.items(), start=1)
        ],
        "annotations": [
            {"id": row, "image_id": image_id, **_annotation(item, category, picture)}
            for row, (image_id, picture, item) in enumerate(labelled, start=1)
        ],
        "categories": [
            {
                "id": 1,
                "name": category.name,
                "supercategory": "",
                "keypoints": list(category.keypoints),
                "skeleton": [[place[start], place[end]] for start, end in category.edges],
            }
        ],
    }


def _annotation(labelled: LabelledObject, category: Category, picture: SavedPicture) -> dict[str, Any]:
    flat: list[float] = []
    for name in category.keypoints:
        mark = labelled.points.get(name)
        flat += (
            [0, 0, NOT_LABELLED]
            if mark is None
            else [number(mark.x), number(mark.y), VISIBLE if mark.visible else HIDDEN]
        )
    x1, y1, x2, y2 = labelled.bounds(picture.width, picture.height)
    return {
        "category_id": 1,
        "bbox": [number(value) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": number((x2 - x1) * (y2 - y1)),
        "iscrowd": 0,
        "keypoints": flat,
        "num_keypoints": len(labelled.marks),
        _NOT_VISIBLE: [name for name, mark in labelled.points.items() if mark is None],
    }


def read_labels(path: Path) -> FileContent:
    """The content of a COCO keypoint file, or of a JSON file with results of xpose; `DataError` if it is neither."""
    content = read_json(path)
    try:
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return _from_poses([Poses.from_dict(content)])
        if isinstance(content, dict) and isinstance(content.get("pictures"), list):  # of `xpose detect --json`
            return _from_poses([Poses.from_dict(item) for item in content["pictures"]])
    except DataError as error:
        raise DataError(f"{quote(path)}: {error}") from None
    return _from_coco(content, path)


def object_of(pose: Pose) -> LabelledObject:
    """A detected object; its absent keypoints are left for a person to decide."""
    points = {name: Mark(point.x, point.y, point.v == VISIBLE) for name, point in pose.points.items() if point.v}
    x1, y1, x2, y2 = pose.box.tolist()
    return LabelledObject(points, (x1, y1, x2, y2), proposed=True)


def _from_poses(results: Iterable[Poses]) -> FileContent:
    content: FileContent = {}
    for poses in results:
        height, width = poses.image_size
        for pose in poses:
            pictures = content.setdefault(Category(pose.category, pose.category, pose.names, pose.edges), {})
            before = pictures.get(poses.source or "", SavedPicture(width, height, ()))
            pictures[poses.source or ""] = replace(before, objects=(*before.objects, object_of(pose)))
    return content


def _from_coco(content: Any, path: Path) -> FileContent:
    try:
        info = content.get("info")
        shift = 0.0 if isinstance(info, dict) and info.get("coordinates") in (UPRIGHT, AS_STORED) else 0.5
        categories = {entry["id"]: _category(entry) for entry in content["categories"] if entry.get("keypoints")}
        images = {
            entry["id"]: (_text(entry["file_name"]), _side(entry["width"]), _side(entry["height"]))
            for entry in content["images"]
        }
        if len({name for name, _, _ in images.values()}) < len(images):
            raise ValueError("two images have the same file_name")
        empty = {name: SavedPicture(width, height, ()) for name, width, height in images.values()}
        result = {category: dict(empty) for category in categories.values()}
        for entry in content["annotations"]:
            if entry["image_id"] not in images:
                raise ValueError(f"annotation {entry['id']} belongs to no image")
            category, (name, _, _) = categories.get(entry["category_id"]), images[entry["image_id"]]
            if category is not None and entry.get("keypoints") and not entry.get("iscrowd"):
                pictures = result[category]
                labelled = _object(entry, category, shift)
                pictures[name] = replace(pictures[name], objects=(*pictures[name].objects, labelled))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise DataError(
            f"{quote(path)} is not a usable COCO keypoint file: {what}. Nothing was changed. Repair it, or use another."
        ) from None
    return result


def _category(entry: Any) -> Category:
    names = tuple(_text(name) for name in entry["keypoints"])
    numbered = dict(enumerate(names, start=1))
    pairs = [(numbered.get(start), numbered.get(end)) for start, end in entry.get("skeleton") or ()]
    edges = tuple((start, end) for start, end in pairs if start is not None and end is not None)
    category = Category(_text(entry["name"]), _text(entry["name"]), names, edges)
    if faults := category.faults():
        raise ValueError(faults[0])
    return category


def _object(entry: Any, category: Category, shift: float) -> LabelledObject:
    where = f"annotation {entry['id']}"
    flat = [_number(value, where) for value in entry["keypoints"]]
    if len(flat) != 3 * len(category.keypoints):
        raise ValueError(f"{where} has {len(flat)} numbers for {len(category.keypoints)} keypoints")
    points: dict[str, Mark | None] = {}
    for name, x, y, v in zip(category.keypoints, flat[0::3], flat[1::3], flat[2::3], strict=True):
        if v not in (NOT_LABELLED, HIDDEN, VISIBLE):
            raise ValueError(f"{where}: the visibility of {quote(name)} is {v:g}, not 0, 1 or 2")
        if v:
            points[name] = Mark(x + shift, y + shift, v == VISIBLE)
        elif name in entry.get(_NOT_VISIBLE, ()):
            points[name] = None
    return LabelledObject(points, _box(entry.get("bbox"), where))


def _box(value: Any, where: str) -> Box | None:
    if not value:
        return None
    x, y, width, height = (_number(number, where) for number in value)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} has {quote(value)} in place of a number")
    return float(value)


def _side(value: object) -> int:
    if type(value) is not int or value <= 0:
        raise ValueError(f"a width or height is {quote(value)}, not a whole number of pixels")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{quote(value)} stands in place of a name")
    return value


def read_json(path: Path) -> Any:
    """The content of a JSON file; `DataError` if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{quote(path)} cannot be read ({error.strerror}). Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{quote(path)} is not valid JSON ({first_line(error)}). Nothing was changed. Repair it, or use another."
        ) from None


def _stamp(path: Path) -> tuple[int, int] | None:
    """Time and size of a file, which tell whether another program has written it; None if there is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
