"""Animal-Pose as json (`keypoints.json`), and in its first form: XML, one file per animal, in two parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from xpose.data.datasets.converters.base import HOME, Converter, NameTable, Need, PictureEntry, stem_of
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.sources import Fields, SourceFolder, grouped, parse_number
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Box, Instance, Picture, Point, Record, Skipped

PICTURES = "images"
ANIMAL = NameTable.from_file("animal_pose", "animalpose")

SPECIES = ("cat", "cow", "dog", "horse", "sheep")
XML_FOLDERS = {"part1": "PASCAL2011_animal_annotation", "part2": "animalpose_anno2"}
XML_PICTURES = {"part1": "keypoint_image_part1", "part2": "animalpose_image_part2"}
VOC_PICTURES = tuple(f"{place}VOC{year}/JPEGImages" for place in ("", "VOCdevkit/") for year in (2011, 2012))


class AnimalPose(CocoLike):
    """Dogs, cats, sheep, horses and cows with 20 points: the papers' unseen test set."""

    picture_folder = PICTURES
    own_folders = True
    states_sizes = False
    tables = {"animal": ANIMAL}

    def content(self, source: SourceFolder, split: str) -> Fields:
        """The file in COCO's form: a list of images, and annotations with their index in the file as id."""
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
        names = category.list("keypoints")
        ANIMAL.check(map(str, names))
        if names != list(ANIMAL.names):
            raise DataError(f"{category.where}: its keypoints are in another order than this release's: {names}")
        return tuple(names)

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        triples = annotation.list("keypoints", len(names))
        points: dict[str, Point] = {}
        for name, triple in zip(names, triples, strict=True):
            x, y, v = Fields({name: triple}, annotation.where).numbers(name, 3)
            if v not in (0, 1):  # a 2 never occurs; the meaning of 1 would then be unknown
                raise DataError(f"{annotation.where}: {quote(name)} is {quote(triple)}, not x, y and 0 or 1")
            points[name] = x, y, VISIBLE if v else NOT_LABELLED
        return points

    def box(self, annotation: Fields, points: Mapping[str, Point], picture: Picture) -> Box:
        left, top, right, bottom = annotation.numbers("bbox", 4)
        return left, top, right - left, bottom - top

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """Refuse a picture without annotation: it shows an animal, so it must not count as empty."""
        if not entry.data.annotations:
            raise DataError("no annotation belongs to it, though it shows an animal")
        return super().record(source, split, entry)


def _shortened(renamed: Mapping[str, str]) -> NameTable:
    """The JSON names as shortened in the XML files, in lower case; the parts have "L_F_Elbow" or "L_F_elbow"."""
    names = {}
    for name, unified in ANIMAL.names.items():
        short = re.sub("(left|right|front|back)_", lambda word: f"{word[0][0]}_", name)
        names[renamed.get(short, short)] = unified
    return NameTable(ANIMAL.skeleton, names)


class AnimalPoseXml(Converter):
    """The animals of `animalpose` in its first form; do not use both sets together."""

    needs = (
        Need(XML_FOLDERS["part1"], HOME, ("part1",)),
        Need(XML_PICTURES["part1"], f"{HOME}, or instead {VOC_PICTURES[0]} of PASCAL VOC", ("part1",)),
        Need(XML_FOLDERS["part2"], HOME, ("part2",)),
        Need(XML_PICTURES["part2"], HOME, ("part2",)),
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
        folders = (XML_PICTURES[split], *(VOC_PICTURES if split == "part1" else ()))
        names = [name for folder in folders for name in source.pictures(folder, deep=True)]
        pictures = {_key_of_picture(name, split): name for name in reversed(names)}  # the set's own folder wins
        xml_files = source.files(XML_FOLDERS[split], (".xml",), deep=True)
        files = grouped((_key(file, split), file) for file in xml_files)
        for key, of_picture in files.items():
            if key in pictures:
                yield PictureEntry(pictures[key], source.stamped(of_picture))
            else:
                yield from (Skipped(name, f"there is no picture {quote(key)}") for name in of_picture)
        for name in source.pictures(XML_PICTURES[split], deep=True):
            key = _key_of_picture(name, split)
            if key not in files:
                yield Skipped(name, "no annotation names this picture")
            elif pictures[key] != name:
                yield Skipped(name, f"the same picture as {pictures[key]}, whose record has all of its animals")

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        picture = source.picture(entry.name)
        files = [file for file, *_ in entry.data]
        instances, dropped = self.read_each(entry.name, files, lambda file, _: self._instance(source, split, file))
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
    """The key shared by a picture and its animals' files: the VOC number, or the species and number."""
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
        name, visible = (Fields(element.attrib, where).text(key) for key in ("name", "visible"))
        name = name.casefold()
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
    where = f"{file}: visible_bounds"
    x, y, width, height = (_number(bounds, name, where) for name in ("xmin", top, "width", "height"))
    return x, y, width, height


def _number(element: Element, name: str, where: str) -> float:
    return parse_number(Fields(element.attrib, where).text(name), f"{where}: {name}")
