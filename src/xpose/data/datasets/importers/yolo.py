"""YOLO-pose: data.yaml, and one text file per picture with a line per object in shares of the picture's sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import Importer, LabelledObject, PictureLabels, path_parts
from xpose.data.datasets.importers.names import MAX_POINTS, ObjectKind, point_numbers
from xpose.data.datasets.sources import SourceFolder, parse_number
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
    drawn_upright = True
    status = "seen"
    origin = "shares of the picture's sides, times these"
    visibility = "as in the labels: 2 visible, 1 hidden; with two numbers per point 0 0 and negative pairs are absent"
    boxes = "as in the labels"

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The splits and classes of data.yaml."""
        self.file = self._yaml_name()
        self.content = self.files.yaml(self.file)
        self.classes = self._classes()
        self.count, self.numbers = self._shape()
        flips = self._flips()
        kinds = [self._kind(number, name, flips) for number, name in self.classes.items()]
        self.points = {kind.name: kind.keypoints for kind in kinds}
        self.folders = {split: list(self._places(split)) for split in SPLITS if self.content.get(split)}
        if not self.folders:
            raise DataError(f"{quote(self.file)} names no pictures: no {', '.join(SPLITS)}. {WAY_OUT}")
        return {split: f"{split} of {self.file}" for split in self.folders}, kinds

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per picture; labels without a picture and pictures without labels are reported."""
        labels = {}
        for name in (name for place in self.folders[split] for name in self._pictures(source, place)):
            labels[label := _label_of(name)] = name
            if not source.has(label):
                yield Skipped(name, f"it has no label file {quote(label)}; an empty one says: no objects")
                continue
            if not source.path(label).stat().st_size:
                yield Skipped(label, "is empty, so the picture counts as one without objects", "object")
            yield PictureEntry(name, PictureLabels(), label)
        for folder in sorted({label.rpartition("/")[0] for label in labels}):
            for label in source.files(folder, (".txt",)):
                if label not in labels:
                    yield Skipped(label, "no picture belongs to these labels")

    def objects(self, source: SourceFolder, entry: PictureEntry) -> list[tuple[str, list[str]]]:
        """The lines of the label file."""
        lines = enumerate(source.lines(str(entry.file)), start=1)
        return [(f"line {number}", line.split()) for number, line in lines if line.strip()]

    def object(self, raw: tuple[str, list[str]], picture: Picture, number: int) -> LabelledObject:
        """One line."""
        where, cells = raw
        size = HEAD + self.count * self.numbers
        if len(cells) != size:
            raise DataError(f"{where} has {len(cells)} numbers, but must have {size}")
        values = [parse_number(cell, where) for cell in cells]
        kind = self.classes.get(int(values[0])) if values[0].is_integer() else None
        if kind is None:
            raise DataError(f"{where}: {cells[0]} is not a class of {self.file}")
        x, width = values[1] * picture.width, values[3] * picture.width
        y, height = values[2] * picture.height, values[4] * picture.height
        groups = [values[i : i + self.numbers] for i in range(HEAD, size, self.numbers)]
        points = {
            name: _point(group, picture, f"{where}, {quote(name)}")
            for name, group in zip(self.points[kind], groups, strict=True)
        }
        return LabelledObject(kind, points, (x - width / 2, y - height / 2, width, height), id=where)

    def _yaml_name(self) -> str:
        preferred = [name for name in ("data.yaml", "dataset.yaml") if self.path.is_dir() and self.files.has(name)]
        return preferred[0] if len(preferred) == 1 else self.only_file(".yaml", ".yml")

    def _classes(self) -> dict[int, str]:
        names = self.content.get("names")
        classes = dict(enumerate(names)) if isinstance(names, list) else names
        if (
            not isinstance(classes, Mapping)
            or not classes
            or not all(type(number) is int and number >= 0 for number in classes)
            or not all(isinstance(name, str) and name.strip() for name in classes.values())
        ):
            raise DataError(
                f'{quote(self.file)}: "names" is {quote(names)}. It must list the classes by name. {WAY_OUT}'
            )
        if len(set(classes.values())) < len(classes):
            raise DataError(f'{quote(self.file)}: "names" holds a class twice. Tell them apart. {WAY_OUT}')
        return dict(classes)

    def _shape(self) -> tuple[int, int]:
        shape = self.content.get("kpt_shape")
        good = isinstance(shape, list) and len(shape) == 2 and all(type(value) is int for value in shape)
        if not isinstance(shape, list) or not good or not 0 < shape[0] <= MAX_POINTS or shape[1] not in (2, 3):
            raise DataError(
                f'{quote(self.file)}: "kpt_shape" is {quote(shape)}. It must be [number of points, 2 or 3]. {WAY_OUT}'
            )
        return shape[0], shape[1]

    def _flips(self) -> list[int]:
        """The mirror partner of each point by number; empty if the yaml states none."""
        flips = self.content.get("flip_idx")
        if flips is None:
            return []
        numbers = range(self.count)
        good = (
            isinstance(flips, list) and len(flips) == self.count and all(type(i) is int and i in numbers for i in flips)
        )
        if not good or any(flips[flips[i]] != i for i in numbers):
            raise DataError(
                f'{quote(self.file)}: "flip_idx" is {quote(flips)}. It must give each of the {self.count} points its '
                "partner, and partners go both ways. Correct it or leave it out."
            )
        return list(flips)

    def _kind(self, number: int, name: str, flips: list[int]) -> ObjectKind:
        stated = self.content.get("kpt_names")
        names = stated.get(number, stated.get(str(number))) if isinstance(stated, Mapping) else stated
        if names is None:
            names = list(point_numbers(self.count))
        if not isinstance(names, list) or len(names) != self.count or not all(isinstance(text, str) for text in names):
            raise DataError(
                f'{quote(self.file)}: "kpt_names" of {quote(name)} is {quote(names)}. It must be a list of '
                f"{self.count} texts. Correct it or leave it out."
            )
        if len(set(names)) < len(names):
            raise DataError(f'{quote(self.file)}: "kpt_names" of {quote(name)} holds a name twice. Tell them apart.')
        partners = {names[i]: names[j] for i, j in enumerate(flips)}
        return ObjectKind(name, tuple(names), flips=partners, points_named=stated is not None)

    def _places(self, split: str) -> Iterator[str]:
        """The folders and lists of pictures that a split names, inside the yaml's folder.

        The yaml often comes from another machine: of a path that does not exist here the longest end that does is
        used, and nothing outside the folder is ever opened.
        """
        value, root = self.content[split], self.content.get("path")
        for path in value if isinstance(value, list) else [value]:
            if not isinstance(path, str) or not path.strip():
                raise DataError(f"{quote(self.file)}: {quote(path)} is not a folder of pictures. {WAY_OUT}")
            place = next(filter(self.files.has, _ends(f"{root}/{path}" if isinstance(root, str) else path)), None)
            if place is None:
                raise DataError(
                    f"{quote(path)} of {quote(self.file)} is not there under {quote(self.files.root)}. The pictures "
                    'lie beside the yaml or below it. Put them there, or correct "path", "train", "val" and "test".'
                )
            yield place

    def _pictures(self, source: SourceFolder, place: str) -> Iterator[str]:
        if source.path(place).is_dir():
            yield from source.pictures(place, deep=True)
            return
        for line in filter(None, map(str.strip, source.lines(place))):
            ends = _ends(line) or [line]
            yield next(filter(source.has, _ends(line)), ends[0])


def _ends(path: str) -> list[str]:
    """A path of any machine and all that its end may mean below the yaml's folder, the longest first."""
    parts = [part for part in path_parts(path) if ":" not in part]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _label_of(picture: str) -> str:
    """The label file of a picture: the last folder `images` of its path called `labels`."""
    before, folder, after = f"/{PurePosixPath(picture).with_suffix('.txt')}".rpartition("/images/")
    return f"{before}/labels/{after}".removeprefix("/") if folder else after.removeprefix("/")


def _point(group: list[float], picture: Picture, where: str) -> Point:
    x, y, v = group if len(group) == 3 else (*group, float(VISIBLE))
    if v not in (0, 1, 2):
        raise DataError(f"{where}: the visibility is {v}, not 0, 1 or 2")
    if len(group) == 2 and ((x == 0 and y == 0) or (x < 0 and y < 0)):
        v = 0
    return x * picture.width, y * picture.height, int(v)
