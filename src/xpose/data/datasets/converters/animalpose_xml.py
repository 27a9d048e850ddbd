"""Animal-Pose as XML: one file per animal, part 1 over PASCAL VOC pictures, part 2 over pictures of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from xpose.data.datasets.converters.animalpose import ANIMAL, AnimalPose
from xpose.data.datasets.converters.base import (
    LOADER_ONLY,
    Converter,
    Entry,
    Expected,
    NameTable,
    Need,
    read_each,
    stamped,
    stem_of,
)
from xpose.data.datasets.sources import Source, parse_number
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Box, Instance, Point, Record, Skipped

WHERE = "the home page"
SPECIES = ("cat", "cow", "dog", "horse", "sheep")
FOLDERS = {"part1": "PASCAL2011_animal_annotation", "part2": "animalpose_anno2"}
OWN_PICTURES = {"part1": "keypoint_image_part1", "part2": "animalpose_image_part2"}
VOC_PICTURES = tuple(f"{place}VOC{year}/JPEGImages" for place in ("", "VOCdevkit/") for year in (2011, 2012))

SHORT = {"left_": "l_", "right_": "r_", "front_": "f_", "back_": "b_"}


def _short(renamed: Mapping[str, str]) -> NameTable:
    """The names of the JSON form as the XML files shorten them.

    They are compared in lower case, because the parts differ in it: "L_F_Elbow" and "L_F_elbow".
    """
    names = {}
    for name, unified in ANIMAL.names.items():
        for word, letter in SHORT.items():
            name = name.replace(word, letter)
        names[renamed.get(name, name)] = unified
    return NameTable(ANIMAL.skeleton, names)


class AnimalPoseXml(Converter):
    """The animals of `animalpose` in the authors' first form; do not use both sets side by side."""

    name = "animalpose-xml"
    title = "Animal-Pose (XML)"
    licence = AnimalPose.licence
    terms = AnimalPose.terms
    homepage = AnimalPose.homepage
    left_right = AnimalPose.left_right
    visibility = AnimalPose.visibility
    evaluation = AnimalPose.evaluation
    status = LOADER_ONLY
    origin = "undecided (one public loader takes the boxes as 1-based, two do not); taken as 0-based"
    boxes = 'as in the file; part 2 writes "xmax" where "ymin" is meant'
    expected = Expected(splits={"part1": 3_608, "part2": 1_000})
    splits = {"part1": "pictures of PASCAL VOC", "part2": "pictures from elsewhere; MMPose tests on them"}
    needs = (
        Need(FOLDERS["part1"], WHERE, ("part1",)),
        Need(OWN_PICTURES["part1"], f"{WHERE}, or instead {VOC_PICTURES[0]} of PASCAL VOC", ("part1",)),
        Need(FOLDERS["part2"], WHERE, ("part2",)),
        Need(OWN_PICTURES["part2"], WHERE, ("part2",)),
    )
    tables = {
        "part1": _short({"l_ear": "l_earbase", "r_ear": "r_earbase"}),
        "part2": _short({"tailbase": "tail"}),
    }

    def missing(self, source: Source, split: str) -> list[Need]:
        """Part 1 can also do with the pictures of PASCAL VOC itself."""
        voc = split == "part1" and any(source.has(folder) for folder in VOC_PICTURES)
        return [need for need in super().missing(source, split) if not (voc and need.path == OWN_PICTURES[split])]

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per picture, with the files of all its animals."""
        pictures = _pictures(source, split)
        files: dict[str, list[str]] = {}
        for file in source.files(FOLDERS[split], (".xml",), deep=True):
            files.setdefault(_key(file, split), []).append(file)
        for key, names in files.items():
            if key in pictures:
                yield Entry(pictures[key], stamped(source, names))
            else:
                yield from (Skipped(name, f"there is no picture {quote(key)}") for name in names)
        for name in source.pictures(OWN_PICTURES[split], deep=True):
            key = _key_of_picture(name, split)
            if key not in files:
                yield Skipped(name, "no annotation names this picture")
            elif pictures[key] != name:
                yield Skipped(name, f"the same picture as {pictures[key]}, whose record has all of its animals")

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """One picture with its animals."""
        picture = source.picture(entry.name)
        instances, dropped = read_each(entry.name, entry.data, lambda file, _: self._instance(source, split, file[0]))
        return self.make(picture, instances, split, dropped=dropped)

    def _instance(self, source: Source, split: str, file: str) -> Instance:
        root = source.xml(file)
        species, _, name = file.removeprefix(f"{FOLDERS[split]}/").partition("/")
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


def _pictures(source: Source, split: str) -> dict[str, str]:
    """The pictures by key, the set's own folder first."""
    pictures: dict[str, str] = {}
    for folder in (OWN_PICTURES[split], *(VOC_PICTURES if split == "part1" else ())):
        for name in source.pictures(folder, deep=True):
            pictures.setdefault(_key_of_picture(name, split), name)
    return pictures


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
    where = f"{file}: visible_bounds"
    top = "xmax" if split == "part2" and "ymin" not in bounds.attrib else "ymin"
    x, y, width, height = (_number(bounds, name, where) for name in ("xmin", top, "width", "height"))
    return x, y, width, height


def _attribute(element: Element, name: str, where: str) -> str:
    value = element.get(name)
    if value is None:
        raise DataError(f"{where}: it has no {quote(name)}")
    return value


def _number(element: Element, name: str, where: str) -> float:
    return parse_number(_attribute(element, name, where), f"{where}: {name}")
