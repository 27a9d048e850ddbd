"""A prepared set on disk: COCO keypoint JSON, readable by pycocotools, that is streamed and not held in memory.

The file is plain JSON with one image, annotation or category per line, sorted keys and numbers rounded to a thousandth
of a pixel. Annotations follow the order of their images, and the same records give the same bytes. COCO's tools ignore
the additional fields: images have `source`, `split`, `style`, `left_right`, `group`, `stored` and `source_id`;
categories have `skeleton_name` and `taxonomy`. Skeleton pairs are 1-based in the file, as in COCO; everywhere else
edges are pairs of names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

from xpose.errors import DataError, quote
from xpose.pictures import atomic
from xpose.records import Category, Instance, Picture, Point, Record, Taxonomy

LAYOUT = 1  # version of the layout in the module's docstring
_OPTIONAL = ("style", "group", "source_id")  # fields of a record


@dataclass
class Counts:
    """The counts of a file's contents."""

    images: int = 0
    images_with_keypoints: int = 0
    instances: int = 0
    instances_with_keypoints: int = 0
    keypoints: int = 0
    per_category: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Count one more record."""
        labelled = [instance for instance in record.instances if instance.keypoints]
        self.images += 1
        self.images_with_keypoints += bool(labelled)
        self.instances += len(record.instances)
        self.instances_with_keypoints += len(labelled)
        self.keypoints += sum(len(instance.keypoints) for instance in labelled)
        self.per_category.update(instance.category.name for instance in record.instances)

    def to_json(self) -> dict[str, Any]:
        """The counts for a manifest."""
        return {**vars(self), "per_category": dict(sorted(self.per_category.items()))}


def dump(value: Any) -> str:
    """Canonical JSON on one line: sorted keys, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def tidy(value: float) -> float | int:
    """Round a number for storage; whole numbers become integers."""
    rounded = round(float(value), 3)
    return int(rounded) if rounded.is_integer() else rounded


def write_atomically(path: Path, write: Callable[[IO[str]], object]) -> None:
    """Write a text file atomically and flush it to disk."""

    def whole(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    atomic.write_atomically(path, whole)


def sha256_of(path: Path) -> str:
    """The checksum of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_coco(path: Path, records: Callable[[], Iterable[Record]], info: Mapping[str, Any]) -> Counts:
    """Write the records as one COCO file.

    `records` is called twice and must give the same records both times: the first pass finds the categories and
    licences, which precede the images; the second writes. The records themselves are not held in memory.
    """
    counts, categories, licences = Counts(), set[Category](), set[str]()
    for record in records():
        counts.add(record)
        licences.add(record.licence)
        categories.update(instance.category for instance in record.instances)
    category_ids = {category: i for i, category in enumerate(sorted(categories, key=_order), start=1)}
    licence_ids = {licence: i for i, licence in enumerate(sorted(licences), start=1)}
    annotations = path.with_name(f".{path.name}.{os.getpid()}.annotations.tmp")

    def write(file: IO[str]) -> None:
        file.write(f'{{"info":{dump({**info, "xpose_layout": LAYOUT})},\n')
        file.write(f'"licenses":{dump([{"id": i, "name": name} for name, i in licence_ids.items()])},\n"categories":[')
        _write_lines(file, (_category_json(category, i) for category, i in category_ids.items()))
        file.write('],\n"images":[')
        with open(annotations, "w", encoding="utf-8", newline="\n") as second:
            _write_lines(file, _images_json(records(), licence_ids, category_ids, second))
        file.write('],\n"annotations":[')
        with open(annotations, encoding="utf-8") as second:
            shutil.copyfileobj(second, file)
        file.write("]}\n")

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_atomically(path, write)
    finally:
        annotations.unlink(missing_ok=True)
    return counts


def _order(category: Category) -> tuple[Any, ...]:
    return category.name, category.skeleton, category.keypoints, category.edges, dump(category.taxonomy.to_json())


def _write_lines(file: IO[str], values: Iterable[Any]) -> None:
    for number, value in enumerate(values):
        file.write(f"{',' if number else ''}\n{dump(value)}")
    file.write("\n")


def _images_json(
    records: Iterable[Record], licences: Mapping[str, int], categories: Mapping[Category, int], second: IO[str]
) -> Iterator[dict[str, Any]]:
    """Yield the images' entries and write their annotations to the second file."""
    numbers = count(1)
    for image_id, record in enumerate(records, start=1):
        yield {"id": image_id, "license": licences[record.licence], **image_to_json(record)}
        for instance in record.instances:
            number = next(numbers)
            ids = {"id": number, "image_id": image_id, "category_id": categories[instance.category]}
            second.write(f"{'' if number == 1 else ','}\n{dump({**ids, **instance_to_json(instance)})}")
    second.write("\n")


def image_to_json(record: Record) -> dict[str, Any]:
    """A record without its licence, objects and ids; unknown fields are omitted."""
    picture = record.picture
    entry = {"file_name": picture.file, "width": picture.width, "height": picture.height, "sha256": picture.sha256}
    entry["stored"] = None if picture.stored == "source" else picture.stored
    entry |= {name: getattr(record, name) for name in ("source", "split", "left_right", *_OPTIONAL)}
    return {key: value for key, value in entry.items() if value is not None}


def instance_to_json(instance: Instance) -> dict[str, Any]:
    """An object without its ids; an unknown area is replaced by the box's and marked."""
    flat: list[float] = []
    for name in instance.category.keypoints:
        x, y, v = instance.point(name)
        flat += [tidy(x), tidy(y), v] if v else [0, 0, 0]
    entry: dict[str, Any] = {
        "bbox": [tidy(value) for value in instance.box],
        "keypoints": flat,
        "num_keypoints": sum(1 for *_, v in instance.keypoints.values() if v),
        "iscrowd": int(instance.iscrowd),
        "area": tidy(instance.box[2] * instance.box[3] if instance.area is None else instance.area),
    }
    if instance.area is None:
        entry["area_is_box"] = True
    if instance.source_id is not None:
        entry["source_id"] = instance.source_id
    return entry


def _category_json(category: Category, number: int) -> dict[str, Any]:
    place = {name: i for i, name in enumerate(category.keypoints, start=1)}
    return {
        "id": number,
        "name": category.name,
        "supercategory": category.taxonomy.family or category.taxonomy.class_ or category.name,
        "keypoints": list(category.keypoints),
        "skeleton": [[place[a], place[b]] for a, b in category.edges],
        "skeleton_name": category.skeleton,
        "taxonomy": category.taxonomy.to_json(),
    }


_DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)


class CocoSet:
    """A file written by `write_coco`, read record by record; it can be iterated repeatedly."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            try:
                self.info = _header(file, '{"info":')
                if self.info.get("xpose_layout") != LAYOUT:
                    raise ValueError("another layout")
                self.licences = {entry["id"]: entry["name"] for entry in _header(file, '"licenses":')}
                self.categories = {entry["id"]: _category_of(entry) for entry in _entries(file, "categories")}
            except _DAMAGE:
                raise self._damaged() from None

    def __iter__(self) -> Iterator[Record]:
        with self._open() as images, self._open() as annotations:
            try:
                yield from self._joined(_entries(images, "images"), _entries(annotations, "annotations"))
            except _DAMAGE:
                raise self._damaged() from None

    def _joined(self, images: Iterator[Any], annotations: Iterator[Any]) -> Iterator[Record]:
        waiting = next(annotations, None)
        for image in images:
            instances = []
            while waiting is not None and waiting["image_id"] == image["id"]:
                instances.append(instance_from_json(waiting, self.categories[waiting["category_id"]]))
                waiting = next(annotations, None)
            yield record_from_json(image, tuple(instances), self.licences[image["license"]])
        if waiting is not None:
            raise ValueError("an annotation without an image")

    def _open(self) -> IO[str]:
        try:
            return open(self.path, encoding="utf-8", newline="\n")
        except OSError as error:
            raise DataError(f"{quote(self.path)} cannot be read: {error.strerror}. Run: xpose data prepare") from None

    def _damaged(self) -> DataError:
        return DataError(
            f"{quote(self.path)} is damaged or was not written by this version of xpose. "
            "Read foreign COCO files with: xpose data import coco; make a prepared set again with prepare."
        )


def _header(file: IO[str], start: str) -> Any:
    if not (line := file.readline()).startswith(start):
        raise ValueError(f"no {start}")
    return json.loads(line.removeprefix(start).rstrip("\n").removesuffix(","))


def _entries(file: IO[str], name: str) -> Iterator[Any]:
    """The entries of a list, one per line, from its opening to its closing bracket."""
    if not any(line.rstrip("\n") == f'"{name}":[' for line in file):
        raise ValueError(f"no {name}")
    for line in file:
        if line.startswith("]"):
            return
        yield json.loads(line.rstrip("\n").removesuffix(","))
    raise ValueError(f"{name} do not end")


def _category_of(entry: Mapping[str, Any]) -> Category:
    names = entry["keypoints"]
    edges = tuple((names[a - 1], names[b - 1]) for a, b in entry["skeleton"])
    return Category(entry["name"], entry["skeleton_name"], tuple(names), edges, Taxonomy.from_json(entry["taxonomy"]))


def instance_from_json(entry: Mapping[str, Any], category: Category) -> Instance:
    """The inverse of `instance_to_json`."""
    flat = entry["keypoints"]
    triples = zip(category.keypoints, flat[0::3], flat[1::3], flat[2::3], strict=True)
    points: dict[str, Point] = {name: (float(x), float(y), v) for name, x, y, v in triples if v}
    x, y, width, height = map(float, entry["bbox"])
    area = None if entry.get("area_is_box") else float(entry["area"])
    return Instance(category, (x, y, width, height), points, bool(entry["iscrowd"]), area, entry.get("source_id"))


def record_from_json(image: Mapping[str, Any], instances: tuple[Instance, ...], licence: str) -> Record:
    """The inverse of `image_to_json`."""
    size = image["width"], image["height"]
    picture = Picture(image["file_name"], *size, image.get("stored", "source"), image.get("sha256"))
    optional: dict[str, Any] = {name: image.get(name) for name in _OPTIONAL}
    return Record(picture, instances, image["source"], image["split"], licence, image["left_right"], **optional)
