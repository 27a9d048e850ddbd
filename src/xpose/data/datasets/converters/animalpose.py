"""Animal-Pose as json (`keypoints.json`): images by id, boxes by their corners, points as triples."""

from __future__ import annotations

from collections.abc import Mapping

from xpose.data.datasets.converters.base import SEEN, Entry, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.converters.names import underscored
from xpose.data.datasets.sources import Fields, Source, as_number
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Box, Picture, Point, Record

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


class AnimalPose(CocoLike):
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
    evaluation = "PCK over everything, as a set that training has not seen"
    splits = {"test": "everything: the original ships no split, and the papers test on it"}
    annotation_files = {"test": FILE}
    picture_folders = {"test": PICTURES}
    own_folders = True
    needs = (Need(FILE, WHERE), Need(PICTURES, WHERE))
    tables = {"animal": ANIMAL}

    def content(self, source: Source, split: str) -> Fields:
        """The file as COCO would have it: images in a list, annotations with their place in the file as id."""
        content = super().content(source, split)
        images = content.object("images").value
        numbers = {key: int(key) if key.isdecimal() and len(key) < 16 else key for key in images}
        annotations = enumerate(content.list("annotations"), start=1)
        values = {
            "categories": content.list("categories"),
            "images": [{"id": numbers[key], "file_name": name} for key, name in images.items()],
            "annotations": [{**value, "id": i} if isinstance(value, Mapping) else value for i, value in annotations],
        }
        return Fields(values, content.where)

    def names_of(self, category: Fields) -> tuple[str, ...]:
        """The points of this release, in its order."""
        names = category.list("keypoints")
        ANIMAL.check(map(str, names))
        if names != list(ANIMAL.names):
            raise DataError(f"{category.where}: its keypoints stand in another order than this release's: {names}")
        return tuple(names)

    def size(self, image: Fields) -> None:
        """The file does not state sizes."""

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        """The points, which the file gives as triples."""
        triples = annotation.list("keypoints")
        if len(triples) != len(names):
            raise DataError(f"{annotation.where}: there are {len(triples)} points, but must be {len(names)}")
        points: dict[str, Point] = {}
        for name, triple in zip(names, triples, strict=True):
            numbers = [as_number(value) for value in triple] if isinstance(triple, list) else []
            x, y, v = numbers if len(numbers) == 3 else (None, None, None)
            # A 2 has never been seen there; what 1 would mean beside it is unknown, so it is refused.
            if x is None or y is None or v not in (0, 1):
                raise DataError(f"{annotation.where}: {quote(name)} is {quote(triple)}, not x, y and 0 or 1")
            points[name] = x, y, VISIBLE if v else NOT_LABELLED
        return points

    def box(self, annotation: Fields, points: Mapping[str, Point], picture: Picture) -> Box:
        """The box, which the file gives by its corners."""
        left, top, right, bottom = annotation.numbers("bbox", 4)
        return left, top, right - left, bottom - top

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """A picture without annotation still shows an animal, so it must not count as an empty picture."""
        if not entry.data.annotations:
            raise DataError("no annotation belongs to it, though it shows an animal")
        return super().record(source, split, entry)
