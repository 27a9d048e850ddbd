"""YOLO-pose: data.yaml, and one text file per picture with a line per object, relative to the picture's size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import Importer, PictureLabels, path_parts
from xpose.data.datasets.importers.names import MAX_POINTS, ObjectKind
from xpose.data.datasets.sources import SourceFolder, parse_number
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, Picture, Point, Skipped

SPLITS = ("train", "val", "test")
HEAD = 5  # class, and the box's centre, width and height
WAY_OUT = 'See docs/data-import.md for a whole data.yaml; it needs "names", "kpt_shape" and "train".'


class YoloPose(Importer):
    """YOLO-pose: boxes from the labels, points by number or `kpt_names`, mirror partners from `flip_idx`."""

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
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
        labels = {}
        for name in (name for place in self.folders[split] for name in self._pictures(source, place)):
            labels[label := _label_of(name)] = name
            if not source.has(label):
                yield Skipped(name, f"it has no label file {quote(label)}; an empty one says: no objects")
                continue
            if not source.path(label).stat().st_size:
                yield Skipped(label, "is empty, so the picture counts as one without objects", "object")
            yield PictureEntry(name, PictureLabels([label]), source.stamped([label]))
        for folder in sorted({label.rpartition("/")[0] for label in labels}):
            for label in source.files(folder, (".txt",)):
                if label not in labels:
                    yield Skipped(label, "no picture belongs to these labels")

    def objects(self, source: SourceFolder, entry: PictureEntry) -> list[tuple[str, list[str]]]:
        (label,) = entry.data.objects
        lines = enumerate(source.lines(label), start=1)
        return [(f"line {number}", line.split()) for number, line in lines if line.strip()]

    def object(self, raw: tuple[str, list[str]], picture: Picture, number: int) -> Instance:
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
        points = {}
        for name, start in zip(self.points[kind], range(HEAD, size, self.numbers), strict=True):
            points[name] = _point(values[start : start + self.numbers], picture, f"{where}, {quote(name)}")
        return self.settled(kind, points, picture, number, (x - width / 2, y - height / 2, width, height), id=where)

    def _yaml_name(self) -> str:
        preferred = [name for name in ("data.yaml", "dataset.yaml") if self.path.is_dir() and self.files.has(name)]
        return preferred[0] if len(preferred) == 1 else self.only_file(".yaml", ".yml")

    def _wrong(self, key: str, rule: str) -> DataError:
        return DataError(
            f"{quote(self.file)}: {quote(key)} is {quote(self.content.get(key))}. It must {rule}. {WAY_OUT}"
        )

    def _classes(self) -> dict[int, str]:
        names = self.content.get("names")
        classes = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(classes, Mapping) or not classes:
            raise self._wrong("names", "list the classes by name")
        for number, name in classes.items():
            if type(number) is not int or number < 0 or not isinstance(name, str) or not name.strip():
                raise self._wrong("names", "list the classes by name")
        if len(set(classes.values())) < len(classes):
            raise DataError(f'{quote(self.file)}: "names" holds a class twice. Tell them apart. {WAY_OUT}')
        return dict(classes)

    def _shape(self) -> tuple[int, int]:
        match self.content.get("kpt_shape"):
            case [int(count), 2 | 3 as numbers] if 0 < count <= MAX_POINTS and type(count) is type(numbers) is int:
                return count, numbers
        raise self._wrong("kpt_shape", "be [number of points, 2 or 3]")

    def _flips(self) -> list[int]:
        flips = self.content.get("flip_idx")
        if flips is None:
            return []
        is_list = isinstance(flips, list) and all(type(i) is int for i in flips)
        if not is_list or sorted(flips) != [*range(self.count)] or any(flips[j] != i for i, j in enumerate(flips)):
            raise self._wrong("flip_idx", f"give each of the {self.count} points its partner; partners go both ways")
        return list(flips)

    def _kind(self, number: int, name: str, flips: list[int]) -> ObjectKind:
        stated = self.content.get("kpt_names")
        names = stated.get(number, stated.get(str(number))) if isinstance(stated, Mapping) else stated
        if names is None:
            names = list(ObjectKind.numbered(name, self.count).keypoints)
        if not isinstance(names, list) or len(names) != self.count or not all(isinstance(text, str) for text in names):
            raise self._wrong("kpt_names", f"give {quote(name)} a list of {self.count} texts")
        if len(set(names)) < len(names):
            raise DataError(f'{quote(self.file)}: "kpt_names" of {quote(name)} holds a name twice. Tell them apart.')
        partners = {names[i]: names[j] for i, j in enumerate(flips)}
        return ObjectKind(name, tuple(names), flips=partners, points_named=stated is not None)

    def _places(self, split: str) -> Iterator[str]:
        """The folders and lists of pictures that a split names, inside the yaml's folder.

        The yaml often comes from another machine: if a path does not exist here, the longest end of it that exists
        is used. Nothing outside the folder is ever opened.
        """
        value, root = self.content[split], self.content.get("path")
        for path in value if isinstance(value, list) else [value]:
            if not isinstance(path, str) or not path.strip():
                raise DataError(f"{quote(self.file)}: {quote(path)} is not a folder of pictures. {WAY_OUT}")
            place = next(filter(self.files.has, _ends(f"{root}/{path}" if isinstance(root, str) else path)), None)
            if place is None:
                raise DataError(
                    f"{quote(path)} of {quote(self.file)} is not there under {quote(self.files.root)}. Put the "
                    'pictures beside the yaml or below it, or correct "path", "train", "val" and "test".'
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
    """All ends of a path from any machine, as paths below the yaml's folder, the longest first."""
    parts = [part for part in path_parts(path) if ":" not in part]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _label_of(picture: str) -> str:
    """A picture's label file: the path with its last folder `images` renamed `labels`."""
    before, folder, after = f"/{PurePosixPath(picture).with_suffix('.txt')}".rpartition("/images/")
    return f"{before}/labels/{after}".removeprefix("/") if folder else after.removeprefix("/")


def _point(group: list[float], picture: Picture, where: str) -> Point:
    x, y, v = group if len(group) == 3 else (*group, float(VISIBLE))
    if v not in (0, 1, 2):
        raise DataError(f"{where}: the visibility is {v}, not 0, 1 or 2")
    if len(group) == 2 and ((x == 0 and y == 0) or (x < 0 and y < 0)):
        v = 0
    return x * picture.width, y * picture.height, int(v)
