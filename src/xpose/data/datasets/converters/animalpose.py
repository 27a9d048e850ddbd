"""Animal-Pose as json (`keypoints.json`): images by id, boxes by their corners, points as triples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xpose.data.datasets.converters.base import SEEN, Converter, Entry, Need, read_each
from xpose.data.datasets.converters.names import underscored
from xpose.data.datasets.journal import digest_of
from xpose.data.datasets.sources import Fields, Source, as_number, safe_name
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Category, Instance, Point, Record, Skipped

FILE, PICTURES = "keypoints.json", "images"
WHERE = "the home page"

ANIMAL = underscored(
    "animal_pose",
    {
        "left stifle": "left_back_elbow",
        "right stifle": "right_back_elbow",
        "left hock": "left_back_knee",
        "right hock": "right_back_knee",
        "tail base": "tailbase",
    },
)


class AnimalPose(Converter):
    """Dogs, cats, sheep, horses and cows with 20 points: the papers' unseen test set."""

    name = "animalpose"
    title = "Animal-Pose (json)"
    licence = "research"
    terms = "part of the pictures come from PASCAL VOC 2011"
    homepage = "https://sites.google.com/view/animal-pose/"
    status = SEEN
    left_right = "anatomical"
    origin = "not stated; taken as 0-based"
    visibility = "only labelled (1 in the file) or not: labelled points become 2"
    boxes = "as in the file"
    evaluation = "PCK over everything, as a set that training has not seen"
    splits = {"test": "everything: the original ships no split, and the papers test on it"}
    needs = (Need(FILE, WHERE), Need(PICTURES, WHERE))
    tables = {"animal": ANIMAL}

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per image, in the file's order."""
        content = Fields(source.json(FILE), FILE)
        categories = dict(_categories(content))
        stamp = digest_of(sorted(categories.items()))
        images = content.object("images").value
        by_image: dict[str, list[tuple[int, Any]]] = {}
        for number, annotation in enumerate(content.list("annotations"), start=1):
            owner = annotation.get("image_id") if isinstance(annotation, Mapping) else None
            if type(owner) is int and str(owner) in images:
                by_image.setdefault(str(owner), []).append((number, annotation))
            else:
                yield Skipped(FILE, f"annotation number {number} belongs to no image", "object")
        listed = []
        for key, value in images.items():
            try:
                name = f"{PICTURES}/{safe_name(value)}"
            except DataError as error:
                yield Skipped(f"{FILE}: image {key} ({quote(value)})", str(error))
                continue
            listed.append(name)
            yield Entry(name, _Animals(key, by_image.get(key, []), stamp, categories))
        yield from self.unlisted(source, PICTURES, listed)

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """One picture with its animals."""
        data: _Animals = entry.data
        picture = source.picture(entry.name)
        if not data.annotations:
            raise DataError("no annotation belongs to it, though it shows an animal")
        instances, dropped = read_each(entry.name, data.annotations, lambda item, _: _instance(*item, data.categories))
        return self.make(picture, instances, split, source_id=data.key, dropped=dropped)


@dataclass(frozen=True)
class _Animals:
    """What belongs to one image."""

    key: str  # its id
    annotations: list[tuple[int, Any]]  # numbered from 1 in the file
    stamp: str  # of the categories, in whose place it is printed
    categories: Mapping[int, Category] = field(repr=False)


def _categories(content: Fields) -> Iterator[tuple[int, Category]]:
    for number, value in enumerate(content.list("categories"), start=1):
        fields = Fields(value, f"{content.where}: category number {number}")
        names = fields.list("keypoints")
        ANIMAL.check(map(str, names))
        if names != list(ANIMAL.names):
            raise DataError(f"{fields.where}: its keypoints stand in another order than this release's: {names}")
        yield fields.integer("id"), ANIMAL.category(fields.text("name"))


def _instance(number: int, annotation: Any, categories: Mapping[int, Category]) -> Instance:
    fields = Fields(annotation, f"annotation number {number}")
    category = categories.get(fields.integer("category_id"))
    if category is None:
        raise DataError(f"{fields.where}: there is no category {fields.integer('category_id')}")
    left, top, right, bottom = fields.numbers("bbox", 4)
    points = ANIMAL.by_order(_points(fields))
    return Instance(category, (left, top, right - left, bottom - top), points, source_id=str(number))


def _points(fields: Fields) -> Iterator[Point]:
    for number, triple in enumerate(fields.list("keypoints")):
        numbers = [as_number(value) for value in triple] if isinstance(triple, list) else []
        x, y, v = numbers if len(numbers) == 3 else (None, None, None)
        # A 2 has never been seen there; what 1 would mean beside it is unknown, so it is refused.
        if x is None or y is None or v not in (0, 1):
            raise DataError(f"{fields.where}: keypoint {number} is {quote(triple)}, not x, y and 0 or 1")
        yield x, y, VISIBLE if v else NOT_LABELLED
