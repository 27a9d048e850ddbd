"""Animal Kingdom: the authors' json, a list of records as in MPII, and their COCO form, which MMPose uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, category_of
from xpose.data.datasets.converters.coco_like import CocoImage, CocoLike
from xpose.data.datasets.sources import Fields, SourceFolder, box_of_points, safe_name
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Category, Instance, Picture, Point, Record, Skipped, Taxonomy, replaced

PICTURES = "dataset"
ABSENT = -1.0
CLASSES = {"Amphibian": "Amphibia", "Bird": "Aves", "Mammal": "Mammalia", "Reptile": "Reptilia"}  # no class: "Fish"

ANIMAL = NameTable.from_skeleton("animal_kingdom")  # in the order of `joints`


class AnimalKingdom(Converter):
    """Animals of 850 species with 23 points, in video frames; splits must not divide a video (`group`)."""

    annotation_files: ClassVar[Mapping[str, str]]
    tables = {"animal": ANIMAL}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        file = self.annotation_files[split]
        content = source.json(file)
        if not isinstance(content, list):
            raise DataError(f"{quote(file)} is {quote(content)}, not a list of records")
        records: dict[str, list[Any]] = {}
        for number, value in enumerate(content, start=1):
            try:
                name = Fields(value, f"{file}: record {number}").text("image")
                records.setdefault(f"{PICTURES}/{safe_name(name)}", []).append(value)
            except DataError as error:
                yield Skipped(f"{file}: record {number}", str(error))
        yield from (PictureEntry(name, values) for name, values in records.items())

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One picture; it always shows one labelled animal in all files seen so far."""
        picture = source.picture(entry.name)
        instances, dropped = self.read_each(entry.name, entry.data, _instance)
        return self.make(picture, instances, split, group=_video_of(entry.name), dropped=dropped)


class AnimalKingdomCoco(CocoLike, AnimalKingdom):
    """The same pictures and points; the file's categories are classes; annotations name the animals."""

    picture_folder = PICTURES

    def group(self, image: Fields) -> str | None:
        return _video_of(image.text("file_name"))

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """Refuse a picture without annotation: it shows an animal, so it must not count as empty."""
        if not entry.data.annotations:
            raise DataError("it has no annotation: the COCO form leaves out animals with a single labelled point")
        return super().record(source, split, entry)

    def instance(self, annotation: Fields, number: str, data: CocoImage, picture: Picture) -> Instance:
        """Use the annotation's animal as category, and 2 for every labelled point."""
        instance = super().instance(annotation, number, data, picture)
        points = {name: (x, y, VISIBLE) for name, (x, y, _) in instance.keypoints.items()}
        return replaced(instance, category=_species_of(annotation), keypoints=points)


def _instance(value: Any, number: int) -> Instance:
    fields = Fields(value, f"record {number} of the picture")
    points = ANIMAL.by_order(_joints(fields))
    return Instance(_species_of(fields), box_of_points(points.values()), points)


def _species_of(fields: Fields) -> Category:
    class_name = fields.text("animal_parent_class")
    return ANIMAL.category(category_of(fields.text("animal")), Taxonomy(class_=CLASSES.get(class_name, class_name)))


def _video_of(name: str) -> str:
    """The video of a frame `VIDEO/VIDEO_f000011.jpg`, also below `dataset/`."""
    return safe_name(name).removeprefix(f"{PICTURES}/").split("/")[0]


def _joints(fields: Fields) -> Iterator[Point]:
    joints = fields.list("joints")
    visible = fields.numbers("joints_vis", len(joints))
    for number, (joint, v) in enumerate(zip(joints, visible, strict=True)):
        name = f"joint {number}"
        x, y = Fields({name: joint}, fields.where).numbers(name, 2)
        if v not in (0, 1):
            raise DataError(f"{fields.where}: the visibility of {name} is {v}, not 0 or 1")
        if v and x == ABSENT and y == ABSENT:
            raise DataError(f"{fields.where}: {name} counts as visible, but has no place")
        yield x, y, VISIBLE if v else 0
