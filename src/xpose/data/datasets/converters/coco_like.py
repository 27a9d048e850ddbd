"""Reading COCO keypoint files: categories with names and edges, and images and annotations joined by their ids.

Used by everything that reads foreign COCO files: converters of COCO sets, folders of sets, and importers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from xpose.data.datasets.converters.base import Converter, PictureEntry, digest_of
from xpose.data.datasets.sources import Fields, SourceFolder, safe_name
from xpose.errors import DataError, quote
from xpose.pictures import UPRIGHT
from xpose.records import Box, Category, Instance, Picture, Point, Record, Skipped, Taxonomy


@dataclass(frozen=True)
class CocoCategory:
    """A category of the file: the unified category, and the file's keypoint names in order."""

    category: Category
    names: tuple[str, ...]
    table: str  # key into the converter's `tables`


@dataclass(frozen=True)
class CocoImage:
    """An image of the file with annotations, categories and licences."""

    image: Mapping[str, Any]
    annotations: list[Any]
    stamp: str  # of the categories and licences, which the repr omits
    categories: Mapping[int, CocoCategory] = field(repr=False)
    licences: Mapping[int, str] = field(repr=False)
    upright: bool = field(default=False, repr=False)  # whether labels are continuous and of the upright picture

    def category_of(self, annotation: Fields) -> CocoCategory:
        """The category of an annotation."""
        number = annotation.integer("category_id")
        if number not in self.categories:
            raise DataError(f"{annotation.where}: there is no category {number} with keypoints")
        return self.categories[number]


class CocoLike(Converter):
    """Base class of converters for COCO json. A subclass gives the files and overrides hooks where needed."""

    annotation_files: ClassVar[Mapping[str, str]]  # split -> json file
    picture_folder: ClassVar[str] = ""  # prefix of file_name; can contain {split}
    region_keys: ClassVar[tuple[str, ...]] = ("iscrowd",)  # mark regions that count neither for nor against
    states_sizes: ClassVar[bool] = True
    licence_form: ClassVar[str] = "{}"  # of a picture with a licence in the file
    visibility = "as in the file: 2 visible, 1 labelled but hidden"
    boxes = "as in the file"
    own_folders: ClassVar[bool] = False  # each split has its own folder, so unlisted pictures are reported

    # Hooks, in the order in which they are called.

    def content(self, source: SourceFolder, split: str) -> Fields:
        """The file, with `images`, `annotations` and `categories` as in COCO."""
        file = self.annotation_files[split]
        return Fields(source.json(file), file)

    def categories(self, content: Fields) -> Iterator[tuple[int, CocoCategory]]:
        """The categories by id."""
        for number, value in enumerate(content.list("categories"), start=1):
            fields = Fields(value, f"{content.where}: category {id_of(value, number)}")
            names = self.names_of(fields)
            key = self.table_of(fields)
            self.tables[key].check(names)
            category = self.tables[key].category(self.category_name(fields), self.taxonomy(fields))
            yield fields.integer("id"), CocoCategory(category, names, key)

    def names_of(self, category: Fields) -> tuple[str, ...]:
        """The file's keypoint names, in the order of their numbers."""
        return keypoints_of(category)

    def table_of(self, category: Fields) -> str:
        """The key into `tables` for a file's category."""
        return next(iter(self.tables))

    def category_name(self, category: Fields) -> str:
        """The unified name of a category."""
        return category.text("name")

    def taxonomy(self, category: Fields) -> Taxonomy:
        """The file's taxonomy of an animal."""
        return Taxonomy()

    def file_name(self, image: Fields, split: str) -> str:
        """The picture's path relative to the root."""
        folder, name = self.picture_folder.format(split=split), safe_name(image.text("file_name"))
        return safe_name(f"{folder}/{name}") if folder else name

    def style(self, image: Fields) -> str | None:
        """The picture's style, if the file gives it."""

    def group(self, image: Fields) -> str | None:
        """A unit that splits keep whole: a video, a person."""

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        """The keypoints of an annotation by the file's names."""
        return annotation.points("keypoints", names) if "keypoints" in annotation.value else {}

    def box(self, annotation: Fields, points: Mapping[str, Point], picture: Picture) -> Box:
        """The box of an annotation with these points, by the file's names."""
        x, y, width, height = annotation.numbers("bbox", 4)
        return x, y, width, height

    # Reading.

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per image, in the file's order; annotations without an image are reported."""
        content = self.content(source, split)
        file, images = content.where, content.list("images")
        categories = dict(self.categories(content))
        licences = dict(_licences(content))
        info = content.value.get("info")
        upright = isinstance(info, Mapping) and info.get("coordinates") == UPRIGHT  # results and labels of xpose
        stamp = digest_of([*sorted(categories.items()), *sorted(licences.items()), *([UPRIGHT] if upright else [])])
        by_image: dict[int | None, list[Any]] = {_integer(image, "id"): [] for image in images}
        by_image.pop(None, None)
        for number, annotation in enumerate(content.list("annotations"), start=1):
            owner = _integer(annotation, "image_id")
            if owner in by_image:
                by_image[owner].append(annotation)
            else:
                yield Skipped(file, f"annotation {id_of(annotation, number)} belongs to no image", "object")
        listed = []
        for number, image in enumerate(images, start=1):
            try:
                fields = Fields(image, f"{file}: image {id_of(image, number)}")
                name = self.file_name(fields, split)
                annotations = by_image.pop(fields.integer("id"), None)
                if annotations is None:
                    raise DataError(f"{fields.where}: its id occurs twice, or is not written as a whole number")
            except DataError as error:
                yield Skipped(_name_of(image, file, number), str(error))
                continue
            listed.append(name)
            yield PictureEntry(name, CocoImage(image, annotations, stamp, categories, licences, upright))
        if self.own_folders:
            yield from self.unlisted(source, self.picture_folder.format(split=split), listed)

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The picture with its well-formed annotations."""
        data: CocoImage = entry.data
        image = Fields(data.image, entry.name)
        picture = self.open_picture(source, entry)
        stated = data.licences.get(image.integer("license")) if "license" in image else None
        instances, dropped = self.instances(data, picture)
        return self.make(
            picture,
            instances,
            split,
            licence=self.licence_form.format(stated) if stated else None,
            style=self.style(image),
            group=self.group(image),
            source_id=str(image.integer("id")),
            dropped=dropped,
        )

    def open_picture(self, source: SourceFolder, entry: PictureEntry) -> Picture:
        """The picture of an entry, in the size that the file states."""
        image = Fields(entry.data.image, entry.name)
        return source.picture(
            entry.name, (image.integer("width"), image.integer("height")) if self.states_sizes else None
        )

    def instances(self, data: CocoImage, picture: Picture) -> tuple[list[Instance], list[Skipped]]:
        """The objects of a picture, and a report of invalid annotations."""

        def read(value: Any, number: int) -> Instance:
            name = id_of(value, number)
            return self.instance(Fields(value, f"annotation {name}"), name, data, picture)

        return self.read_each(picture.file, data.annotations, read)

    def instance(self, annotation: Fields, number: str, data: CocoImage, picture: Picture) -> Instance:
        """One annotation of the file."""
        category = data.category_of(annotation)
        points = self.points(annotation, category.names)
        if data.upright:  # records state pixel indices
            points = {name: (x - 0.5, y - 0.5, v) for name, (x, y, v) in points.items()}
        return Instance(
            category.category,
            self.box(annotation, points, picture),
            self.tables[category.table].unify(points),
            iscrowd=any(annotation.flag(key) for key in self.region_keys if key in annotation),
            area=annotation.number("area") if "area" in annotation else None,
            source_id=number,
        )


def keypoints_of(category: Fields) -> tuple[str, ...]:
    """The keypoint names of a COCO category, which must differ."""
    names = category.list("keypoints")
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{category.where}: the keypoint names are not all texts. Name each point in the file.")
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        shown = ", ".join(map(quote, repeated))
        raise DataError(f"{category.where} names the keypoints {shown} more than once. Names differ: correct the file.")
    return tuple(names)


def edges_of(category: Fields, names: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], int]:
    """The edges of a COCO category by name, and the number of entries omitted because they are not edges.

    COCO numbers keypoints from 1. Files whose numbers include 0 and fit the keypoints number them from 0.
    """
    entries = category.value.get("skeleton")
    entries = entries if isinstance(entries, list) else []
    pairs = [pair for pair in entries if isinstance(pair, list) and len(pair) == 2 and {*map(type, pair)} == {int}]
    numbers = {number for pair in pairs for number in pair}
    first = 0 if 0 in numbers and max(numbers) < len(names) else 1
    by_number = dict(enumerate(names, start=first))
    edges = [(by_number[a], by_number[b]) for a, b in pairs if a in by_number and b in by_number]
    return tuple(edges), len(entries) - len(edges)


def _licences(content: Fields) -> Iterator[tuple[int, str]]:
    """The pictures' licences by id; none if the file's list is empty or malformed."""
    for value in content.list("licenses") if isinstance(content.value.get("licenses"), list) else []:
        if isinstance(value, Mapping) and type(value.get("id")) is int and isinstance(value.get("name"), str):
            yield value["id"], value["name"] or "not stated"


def id_of(value: object, number: int) -> str:
    """How messages call an image or annotation: its id, or its list number."""
    stated = _integer(value, "id")
    return f"number {number}" if stated is None else str(stated)


def _integer(value: object, key: str) -> int | None:
    stated = value.get(key) if isinstance(value, Mapping) else None
    return stated if type(stated) is int else None


def _name_of(image: object, file: str, number: int) -> str:
    name = image.get("file_name") if isinstance(image, Mapping) else None
    return name if isinstance(name, str) and name else f"{file}: image {id_of(image, number)} ({quote(name)})"
