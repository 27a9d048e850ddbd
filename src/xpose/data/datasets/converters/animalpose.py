"""Animal-Pose as json (`keypoints.json`), and in the authors' first form: XML, one file per animal, in two parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry, stem_of
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.sources import Fields, SourceFolder, as_number, parse_number
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Box, Instance, Picture, Point, Record, Skipped

FILE, PICTURES = "keypoints.json", "images"
WHERE = "the home page"

ANIMAL = NameTable.underscored(
    "animal_pose",
    {
        "left stifle": "left_back_elbow",
        "right stifle": "right_back_elbow",
        "left hock": "left_back_knee",
        "right hock": "right_back_knee",
        "tail base": "tailbase",
    },
)

SPECIES = ("cat", "cow", "dog", "horse", "sheep")
XML_FOLDERS = {"part1": "PASCAL2011_animal_annotation", "part2": "animalpose_anno2"}
XML_PICTURES = {"part1": "keypoint_image_part1", "part2": "animalpose_image_part2"}
VOC_PICTURES = tuple(f"{place}VOC{year}/JPEGImages" for place in ("", "VOCdevkit/") for year in (2011, 2012))


class AnimalPose(CocoLike):
    """Dogs, cats, sheep, horses and cows with 20 points: the papers' unseen test set."""

    name = "animalpose"
    splits = {"test": "everything: the original ships no split, and the papers test on it"}
    annotation_files = {"test": FILE}
    picture_folders = {"test": PICTURES}
    own_folders = True
    needs = (Need(FILE, WHERE), Need(PICTURES, WHERE))
    tables = {"animal": ANIMAL}

    def content(self, source: SourceFolder, split: str) -> Fields:
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

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """A picture without annotation still shows an animal, so it must not count as an empty picture."""
        if not entry.data.annotations:
            raise DataError("no annotation belongs to it, though it shows an animal")
        return super().record(source, split, entry)


def _shortened(renamed: Mapping[str, str]) -> NameTable:
    """The names of the JSON form as the XML files shorten them, in lower case: parts have "L_F_Elbow", "L_F_elbow"."""
    names = {}
    for name, unified in ANIMAL.names.items():
        short = re.sub("(left|right|front|back)_", lambda word: f"{word[0][0]}_", name)
        names[renamed.get(short, short)] = unified
    return NameTable(ANIMAL.skeleton, names)


class AnimalPoseXml(Converter):
    """The animals of `animalpose` in the authors' first form; do not use both sets side by side."""

    name = "animalpose-xml"
    splits = {"part1": "pictures of PASCAL VOC", "part2": "pictures from elsewhere; MMPose tests on them"}
    needs = (
        Need(XML_FOLDERS["part1"], WHERE, ("part1",)),
        Need(XML_PICTURES["part1"], f"{WHERE}, or instead {VOC_PICTURES[0]} of PASCAL VOC", ("part1",)),
        Need(XML_FOLDERS["part2"], WHERE, ("part2",)),
        Need(XML_PICTURES["part2"], WHERE, ("part2",)),
    )
    tables = {
        "part1": _shortened({"l_ear": "l_earbase", "r_ear": "r_earbase"}),
        "part2": _shortened({"tailbase": "tail"}),
    }

    def missing(self, source: SourceFolder, split: str) -> list[Need]:
        """Part 1 can also use the pictures of PASCAL VOC itself."""
        has_voc = split == "part1" and any(map(source.has, VOC_PICTURES))
        return [need for need in super().missing(source, split) if not (has_voc and need.path == XML_PICTURES[split])]

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per picture, with the files of all its animals."""
        folders = (XML_PICTURES[split], *(VOC_PICTURES if split == "part1" else ()))
        pictures: dict[str, str] = {}  # by key, those in the set's own folder first
        for name in (name for folder in folders for name in source.pictures(folder, deep=True)):
            pictures.setdefault(_key_of_picture(name, split), name)
        files: dict[str, list[str]] = {}
        for file in source.files(XML_FOLDERS[split], (".xml",), deep=True):
            files.setdefault(_key(file, split), []).append(file)
        for key, names in files.items():
            if key in pictures:
                yield PictureEntry(pictures[key], source.stamped(names))
            else:
                yield from (Skipped(name, f"there is no picture {quote(key)}") for name in names)
        for name in source.pictures(XML_PICTURES[split], deep=True):
            key = _key_of_picture(name, split)
            if key not in files:
                yield Skipped(name, "no annotation names this picture")
            elif pictures[key] != name:
                yield Skipped(name, f"the same picture as {pictures[key]}, whose record has all of its animals")

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One picture with its animals."""
        picture = source.picture(entry.name)
        instances, dropped = self.read_each(
            entry.name, entry.data, lambda file, _: self._instance(source, split, file[0])
        )
        return self.make(picture, instances, split, dropped=dropped)

    def _instance(self, source: SourceFolder, split: str, file: str) -> Instance:
        root = source.xml(file)
        species, _, name = file.removeprefix(f"{XML_FOLDERS[split]}/").partition("/")
        if species not in SPECIES:
            raise DataError(f"{quote(file)} lies in none of the folders {', '.join(SPECIES)}")
        table = self.tables[split]
        points = table.unify(_points(root, file))
        return Instance(table.category(species), _box(root, file, split), points, source_id=stem_of(name))


def _key(file: str, split: str) -> str:
    """What a picture and the files of its animals have in common: the VOC number, or the species and its number."""
    stem = stem_of(file)
    if split == "part1":
        return re.sub(r"_\d{1,2}$", "", stem.rpartition("/")[2])
    return "/".join(stem.split("/")[-2:])


def _key_of_picture(name: str, split: str) -> str:
    return stem_of(name).rpartition("/")[2] if split == "part1" else _key(name, split)


def _points(root: Element, file: str) -> dict[str, Point]:
    points: dict[str, Point] = {}
    for number, element in enumerate(root.findall("keypoints/keypoint"), start=1):
        where = f"{file}: keypoint {number}"
        name = _attribute(element, "name", where).casefold()
        visible = _attribute(element, "visible", where)
        if visible not in ("0", "1"):
            raise DataError(f'{where}: "visible" is {quote(visible)}, not 0 or 1')
        if name in points:
            raise DataError(f"{where}: {quote(name)} occurs twice")
        x, y = (_number(element, axis, where) for axis in "xy") if visible == "1" else (0.0, 0.0)
        points[name] = (x, y, VISIBLE if visible == "1" else 0)
    if not points:
        raise DataError(f"{quote(file)} holds no keypoints")
    return points


def _box(root: Element, file: str, split: str) -> Box:
    bounds = root.find("visible_bounds")
    if bounds is None:
        raise DataError(f"{quote(file)} holds no visible_bounds")
    top = "xmax" if split == "part2" and "ymin" not in bounds.attrib else "ymin"
    x, y, width, height = (
        _number(bounds, name, f"{file}: visible_bounds") for name in ("xmin", top, "width", "height")
    )
    return x, y, width, height


def _attribute(element: Element, name: str, where: str) -> str:
    value = element.get(name)
    if value is None:
        raise DataError(f"{where}: it has no {quote(name)}")
    return value


def _number(element: Element, name: str, where: str) -> float:
    return parse_number(_attribute(element, name, where), f"{where}: {name}")
