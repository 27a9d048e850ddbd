"""YOLO-pose: data.yaml, and one text file per picture with a line per object in shares of the picture's sides.

sleap-io is not used here, because it drops the boxes of poses and does not tell hidden points from visible ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from xpose.data.datasets.converters.base import SEEN, Entry, read_each
from xpose.data.datasets.importers.base import Importer, LabelledObject, LabelledPicture
from xpose.data.datasets.importers.names import MAX_POINTS, ObjectKind
from xpose.data.datasets.importers.places import refuse_turned
from xpose.data.datasets.sources import Source, parse_number
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Picture, Point, Skipped

SPLITS = ("train", "val", "test")
HEAD = 5  # class, and the box's middle, width and height
WAY_OUT = 'See docs/data-import.md for a whole data.yaml; it needs "names", "kpt_shape" and "train".'


class YoloPose(Importer):
    """YOLO-pose: boxes as in the labels, points by number or by `kpt_names`, mirror partners by `flip_idx`."""

    format = "yolo-pose"
    what = "the data.yaml, or the folder with it"
    title = "YOLO-pose"
    takes_pictures = False
    status = SEEN
    origin = "shares of the picture's sides, times these"
    visibility = "as in the labels: 2 visible, 1 hidden; with two numbers per point 0 0 and negative pairs are absent"
    boxes = "as in the labels"

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The splits and classes of data.yaml."""
        self.file = self._yaml_name()
        content = self.files.yaml(self.file)
        self.classes = _classes(content, self.file)
        self.count, self.numbers = _shape(content, self.file)
        kinds = [self._kind(number, content) for number in self.classes]
        self.folders = {
            split: list(self._places(content[split], content.get("path"))) for split in SPLITS if content.get(split)
        }
        if not self.folders:
            raise DataError(f"{quote(self.file)} names no pictures: no {', '.join(SPLITS)}. {WAY_OUT}")
        return {split: f"{split} of {self.file}" for split in self.folders}, kinds

    def listing(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per picture; labels without a picture and pictures without labels are reported."""
        seen, folders = set(), set()
        for place in self.folders[split]:
            for name in self._pictures(source, place):
                label = _label_of(name)
                folders.add(label.rpartition("/")[0])
                seen.add(label)
                if not source.has(label):
                    yield Skipped(name, f"it has no label file {quote(label)}; an empty one says: no objects")
                    continue
                if not source.path(label).stat().st_size:
                    yield Skipped(label, "is empty, so the picture counts as one without objects", "object")
                yield Entry(name, None, label)
        for folder in sorted(folders):
            for label in source.files(folder, (".txt",)):
                if label not in seen:
                    yield Skipped(label, "no picture belongs to these labels")

    def look(self, source: Source, split: str, entry: Entry) -> LabelledPicture:
        """One picture with its lines."""
        picture = source.picture(entry.name)
        refuse_turned(source.path(entry.name))
        lines = [(number, line.split()) for number, line in enumerate(source.lines(str(entry.file)), start=1)]
        things, dropped = read_each(
            entry.name,
            [(number, cells) for number, cells in lines if cells],
            lambda line, _: self._thing(line[1], picture, f"line {line[0]}"),
        )
        return LabelledPicture(picture, things, dropped)

    def _thing(self, cells: list[str], picture: Picture, where: str) -> LabelledObject:
        size = HEAD + self.count * self.numbers
        if len(cells) != size:
            raise DataError(f"{where} has {len(cells)} numbers, but must have {size}")
        values = [parse_number(cell, where) for cell in cells]
        kind = self.classes.get(int(values[0])) if values[0].is_integer() else None
        if kind is None:
            raise DataError(f"{where}: {cells[0]} is not a class of {self.file}")
        x, y, width, height = (
            value * side for value, side in zip(values[1:HEAD], (picture.width, picture.height) * 2, strict=True)
        )
        rest = values[HEAD:]
        groups = [rest[i : i + self.numbers] for i in range(0, len(rest), self.numbers)]
        points = {
            name: _point(group, picture, f"{where}, {quote(name)}")
            for name, group in zip(self.points[kind], groups, strict=True)
        }
        return LabelledObject(kind, points, (x - width / 2, y - height / 2, width, height), id=where)

    def _kind(self, number: int, content: Mapping[str, Any]) -> ObjectKind:
        name = self.classes[number]
        stated = content.get("kpt_names")
        names = stated.get(number, stated.get(str(number))) if isinstance(stated, Mapping) else stated
        if names is None:
            names = [f"point {i}" for i in range(1, self.count + 1)]
        if not isinstance(names, list) or len(names) != self.count or not all(isinstance(each, str) for each in names):
            raise DataError(
                f'{quote(self.file)}: "kpt_names" of {quote(name)} is {quote(names)}. It must be a list of '
                f"{self.count} texts. Correct it or leave it out."
            )
        if len(set(names)) < len(names):
            raise DataError(f'{quote(self.file)}: "kpt_names" of {quote(name)} holds a name twice. Tell them apart.')
        self.points = {**getattr(self, "points", {}), name: tuple(names)}
        flips = _flips(content.get("flip_idx"), self.count, self.file)
        partners = {names[i]: names[j] for i, j in enumerate(flips)}
        return ObjectKind(name, tuple(names), flips=partners, points_named=stated is not None)

    def _yaml_name(self) -> str:
        if self.path.is_dir():
            preferred = [name for name in ("data.yaml", "dataset.yaml") if self.files.has(name)]
            if len(preferred) == 1:
                return preferred[0]
        return self.only_file(".yaml", ".yml")

    def _places(self, value: Any, path: Any) -> Iterator[str]:
        """The folders and lists of pictures that a split names, inside the yaml's folder.

        The yaml often comes from another machine: of a path that does not lie here the longest end that does is
        taken, and nothing outside the folder is ever looked at.
        """
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, str) or not each.strip():
                raise DataError(f"{quote(self.file)}: {quote(each)} is not a folder of pictures. {WAY_OUT}")
            place = next(filter(self.files.has, _ends(f"{path}/{each}" if isinstance(path, str) else each)), None)
            if place is None:
                raise DataError(
                    f"{quote(each)} of {quote(self.file)} is not there under {quote(self.files.root)}. The pictures "
                    'lie beside the yaml or below it. Put them there, or correct "path", "train", "val" and "test".'
                )
            yield place

    def _pictures(self, source: Source, place: str) -> Iterator[str]:
        if source.path(place).is_dir():
            yield from source.pictures(place, deep=True)
            return
        for line in source.lines(place):
            if line.strip():
                ends = _ends(line.strip())
                yield next(filter(source.has, ends), ends[0] if ends else line.strip())


def _ends(path: str) -> list[str]:
    """A path of any machine and all that its end may mean below the yaml's folder, the longest first."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..") and ":" not in part]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _label_of(picture: str) -> str:
    """The label file of a picture: the last folder `images` of its path called `labels`."""
    path = PurePosixPath(picture).with_suffix(".txt")
    parts = list(path.parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i] == "images":
            return "/".join([*parts[:i], "labels", *parts[i + 1 :]])
    return str(path)


def _point(group: list[float], picture: Picture, where: str) -> Point:
    x, y, v = group if len(group) == 3 else (*group, float(VISIBLE))
    if v not in (0, 1, 2):
        raise DataError(f"{where}: the visibility is {v}, not 0, 1 or 2")
    if len(group) == 2 and ((x == 0 and y == 0) or (x < 0 and y < 0)):
        v = 0
    return x * picture.width, y * picture.height, int(v)


def _classes(content: Mapping[str, Any], yaml: str) -> dict[int, str]:
    names = content.get("names")
    pairs: Iterable[tuple[Any, Any]] = enumerate(names) if isinstance(names, list) else ()
    if isinstance(names, Mapping):
        pairs = names.items()
    classes = {int(number) if isinstance(number, int) else -1: name for number, name in pairs}
    if not classes or min(classes) < 0 or not all(isinstance(name, str) and name.strip() for name in classes.values()):
        raise DataError(f'{quote(yaml)}: "names" is {quote(names)}. It must list the classes by name. {WAY_OUT}')
    if len(set(classes.values())) < len(classes):
        raise DataError(f'{quote(yaml)}: "names" holds a class twice. Tell them apart. {WAY_OUT}')
    return classes


def _shape(content: Mapping[str, Any], yaml: str) -> tuple[int, int]:
    shape = content.get("kpt_shape")
    good = isinstance(shape, list) and len(shape) == 2 and all(type(value) is int for value in shape)
    if not isinstance(shape, list) or not good or not 0 < shape[0] <= MAX_POINTS or shape[1] not in (2, 3):
        raise DataError(
            f'{quote(yaml)}: "kpt_shape" is {quote(shape)}. It must be [number of points, 2 or 3]. {WAY_OUT}'
        )
    return shape[0], shape[1]


def _flips(value: Any, count: int, yaml: str) -> list[int]:
    """The mirror partner of each point by number; nothing if the yaml states none."""
    if value is None:
        return []
    good = isinstance(value, list) and len(value) == count and all(type(i) is int and 0 <= i < count for i in value)
    if not good or any(value[value[i]] != i for i in range(count)):
        raise DataError(
            f'{quote(yaml)}: "flip_idx" is {quote(value)}. It must give each of the {count} points its partner, and '
            "partners go both ways. Correct it or leave it out."
        )
    return list(value)
