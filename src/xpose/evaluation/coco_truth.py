"""Labels straight from a COCO file, without looking at its pictures: what results files are scored against.

Nothing is repaired and nothing left out, so that the numbers are those of the file. Keypoints take their unified names
where a skeleton of the vocabulary knows all of a category's points, else they keep the file's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import NOT_STATED
from xpose.data.datasets.folder_sets import SPLITS, skeleton_for
from xpose.data.datasets.sources import MAX_NUMBER, Fields, box_of_points
from xpose.errors import DataError, UnmappedKeypointError, quote
from xpose.evaluation.reading import read_json
from xpose.records import Box, Category, Instance, Picture, Point, Record


@dataclass(frozen=True)
class CocoTruth:
    """The labelled pictures of a COCO file.

    Attributes:
        name: of the set.
        records: by image id, in the order of the file.
        categories: by category id.
    """

    name: str
    records: Mapping[int, Record]
    categories: Mapping[int, Category]

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        return iter(self.records.items())


def read_truth(path: str | Path, split: str = "val") -> CocoTruth:
    """The labels in a COCO file, or in that of a split of a folder set (`NAME/val.json`).

    Raises:
        DataError: there is no such file, or it is damaged; the message names the entry.
    """
    path = Path(path).expanduser()
    name = path.name if path.is_dir() else path.stem
    if path.is_dir():
        file = SPLITS.get(split, f"{split}.json")
        if not (path / file).is_file():
            there = ", ".join(sorted(one.name for one in path.glob("*.json"))) or "none"
            raise DataError(
                f"{quote(path)} has no {file}. A folder set holds one annotation file for each split; here are: "
                f"{there}. Name the split, or give the file itself."
            )
        path = path / file
    content = Fields(read_json(path, "An annotation file in COCO's format"), path.name)
    try:
        return _truth(content, name, split)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}. Labels are scored as they are, so mend {quote(path)}.") from None


def _truth(content: Fields, name: str, split: str) -> CocoTruth:
    categories: dict[int, Category] = {}
    for number, value in enumerate(content.list("categories"), start=1):
        fields = Fields(value, f"{content.where}: category number {number}")
        categories[fields.integer("id")] = _category(fields)
    pictures: dict[int, Picture] = {}
    for number, value in enumerate(content.list("images"), start=1):
        fields = Fields(value, f"{content.where}: image number {number}")
        image_id = fields.integer("id")
        if image_id in pictures:
            raise DataError(f"{fields.where}: its id {image_id} is also that of another image")
        pictures[image_id] = Picture(
            str(fields.value.get("file_name") or image_id),
            fields.integer("width") if "width" in fields else 0,
            fields.integer("height") if "height" in fields else 0,
        )
    instances: dict[int, list[Instance]] = {image_id: [] for image_id in pictures}
    for number, value in enumerate(content.list("annotations"), start=1):
        fields = Fields(value, f"{content.where}: annotation number {number}")
        owner, kind = fields.integer("image_id"), fields.integer("category_id")
        for key, known, what in (("image_id", pictures, "image"), ("category_id", categories, "category")):
            if fields.integer(key) not in known:
                raise DataError(f"{fields.where}: there is no {what} {fields.integer(key)}")
        instances[owner].append(_instance(fields, categories[kind]))
    records = {
        image_id: Record(
            picture, tuple(instances[image_id]), name, split, NOT_STATED, "not stated", source_id=str(image_id)
        )
        for image_id, picture in pictures.items()
    }
    return CocoTruth(name, records, categories)


def _category(fields: Fields) -> Category:
    name = fields.text("name")
    names = tuple(str(one) for one in fields.list("keypoints")) if "keypoints" in fields else ()
    skeleton = ""
    if names:
        try:
            known = skeleton_for(name, names)
        except UnmappedKeypointError:
            pass
        else:
            skeleton, names = known.name, tuple(known.point(one).name for one in names)
    category = Category(name, skeleton, names)
    if faults := category.faults():
        raise DataError(f"{fields.where}: {'; '.join(faults)}")
    return category


def _instance(fields: Fields, category: Category) -> Instance:
    points: dict[str, Point] = {}
    if category.keypoints and "keypoints" in fields:
        points = _points(fields, category.keypoints)
    box: Any = tuple(fields.numbers("bbox", 4)) if "bbox" in fields else _box_round(fields, points)
    crowd = bool(fields.integer("iscrowd")) if "iscrowd" in fields else False
    area = fields.number("area") if "area" in fields else None
    return Instance(category, box, points, crowd, area, str(fields.value.get("id", "")))


def _points(fields: Fields, names: tuple[str, ...]) -> dict[str, Point]:
    """What `fields.points` gives, in a fifth of the time where nothing is wrong."""
    flat = fields.value["keypoints"]
    if isinstance(flat, list) and len(flat) == 3 * len(names) and set(map(type, flat)) <= {int, float}:
        marks = flat[2::3]
        usual = set(marks) <= {0, 1, 2} and min(flat) >= -MAX_NUMBER and max(flat) <= MAX_NUMBER
        if usual and not math.isnan(sum(flat)):
            return {
                name: (float(x), float(y), int(v))
                for name, x, y, v in zip(names, flat[0::3], flat[1::3], marks, strict=True)
                if v
            }
    return fields.points("keypoints", names)  # finds and names the fault


def _box_round(fields: Fields, points: Mapping[str, Point]) -> Box:
    if not points:
        raise DataError(f"{fields.where}: it has neither a bbox nor a labelled keypoint")
    return box_of_points(points.values())
