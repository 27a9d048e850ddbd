"""Labels from a COCO file, without its pictures: what results files are scored against.

Nothing is repaired or left out, so that the numbers are those of the file. Keypoints take their unified names if a
skeleton of the vocabulary has all of a category's points; otherwise they keep the file's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import MANIFEST, read_manifest
from xpose.data.datasets.folder_sets import skeleton_for
from xpose.data.datasets.sources import MAX_NUMBER, Fields, box_of_points
from xpose.errors import DataError, UnmappedKeypointError, quote
from xpose.evaluation.data import HELD_OUT, EvaluationData
from xpose.evaluation.run_file import read_json
from xpose.records import Category, Instance, Picture, Point, Record
from xpose.vocabulary import find_category


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
        return {number: replace(one, name=unified_name(one.name)) for number, one in self.categories.items()}

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {_bare(record.picture.file): number for number, record in self}

    def id_of(self, record: Record) -> int:
        """The image id of a picture of the set; a DataError if the file does not have it."""
        image_id = self._ids.get(_bare(record.picture.file))
        if image_id is None and record.source_id is not None and record.source_id.isdecimal():
            image_id = int(record.source_id) if int(record.source_id) in self.records else None
        if image_id is None:
            raise DataError(
                f"{quote(self.path)} has no picture {quote(record.picture.file)} of {quote(record.source)}. Labels and "
                "data must be the same set and split. Give the right file with --labels."
            )
        return image_id


def unified_name(name: str) -> str:
    """The vocabulary's name for a category of an annotation file, which records use; else the file's own."""
    category = find_category(name)
    return category.name if category else name


def _bare(file: str) -> str:
    """Folder sets leave out the folder `images` in the file, but not in records."""
    return file.removeprefix("images/")


def annotation_file(data: EvaluationData, source: str, split: str) -> Path | None:
    """The annotation file of a set's split in the given folders; None for collections."""
    stored = "train" if split == HELD_OUT else split
    for folder in data.places:
        for place in (folder / source, folder):
            path = place / f"{stored}.json"
            is_set = place.name == source or (
                (place / MANIFEST).is_file() and read_manifest(place).get("name") == source
            )
            if path.is_file() and is_set:
                return path
    return None


def read_truth(path: str | Path, split: str = "val") -> CocoTruth:
    """The labels in a COCO file, or in that of a split of a folder set (`NAME/val.json`)."""
    path = Path(path).expanduser()
    name = path.name if path.is_dir() else path.stem
    if path.is_dir():
        file = f"{split}.json"
        if not (path / file).is_file():
            existing = ", ".join(sorted(place.name for place in path.glob("*.json"))) or "none"
            raise DataError(f"{quote(path)} has no {file}, only: {existing}. Name the split, or give the file itself.")
        path = path / file
    content = Fields(read_json(path, "An annotation file in COCO's format"), path.name)
    try:
        return _truth(content, path, name, split)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}. Labels are scored as they are, so correct {quote(path)}.") from None


def _truth(content: Fields, path: Path, name: str, split: str) -> CocoTruth:
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
            picture, tuple(instances[image_id]), name, split, "not stated", "not stated", source_id=str(image_id)
        )
        for image_id, picture in pictures.items()
    }
    return CocoTruth(path, name, records, categories)


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
    if "bbox" not in fields and not points:
        raise DataError(f"{fields.where}: it has neither a bbox nor a labelled keypoint")
    box: Any = tuple(fields.numbers("bbox", 4)) if "bbox" in fields else box_of_points(points.values())
    crowd = bool(fields.integer("iscrowd")) if "iscrowd" in fields else False
    area = fields.number("area") if "area" in fields else None
    return Instance(category, box, points, crowd, area, str(fields.value.get("id", "")))


def _points(fields: Fields, names: tuple[str, ...]) -> dict[str, Point]:
    """The same as `fields.points` in a fifth of the time if nothing is wrong."""
    flat = fields.value["keypoints"]
    if isinstance(flat, list) and len(flat) == 3 * len(names) and set(map(type, flat)) <= {int, float}:
        visibilities = flat[2::3]
        usual = set(visibilities) <= {0, 1, 2} and min(flat) >= -MAX_NUMBER and max(flat) <= MAX_NUMBER
        if usual and not math.isnan(sum(flat)):
            return {
                name: (float(x), float(y), int(v))
                for name, x, y, v in zip(names, flat[0::3], flat[1::3], visibilities, strict=True)
                if v
            }
    return fields.points("keypoints", names)  # names the fault
