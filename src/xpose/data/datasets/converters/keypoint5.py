"""Keypoint-5 (`CLASS/images/N.jpg`, `CLASS/coords.mat`): furniture whose points several people clicked."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from xpose.data.datasets.converters.array_files import WAY_OUT, mat_array
from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, category_of
from xpose.data.datasets.sources import SourceFolder, as_number
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Point, Record, Skipped

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("bed", "chair", "sofa", "swivelchair", "table")
PEOPLE = 3  # number of annotators; the beds' fourth entry is unused
SPLIT_OF = {1: "test", 2: "test", 3: "val", 4: "val"}  # by the last digit of a picture's number; others: train


class Keypoint5(Converter):
    """One piece of furniture per picture, 8 to 14 points."""

    tables = {kind: NameTable.from_file(kind, "keypoint5", kind) for kind in CLASSES}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        for kind in CLASSES:
            clicks = self._clicks(source, kind)
            count = clicks.shape[3]
            listed: dict[int, str] = {}
            for name in source.pictures(f"{kind}/images"):
                number = _number(name)
                if number is None or not 0 < number <= count:
                    if split == "train":
                        yield Skipped(name, f"coords.mat has clicks for the pictures 1 to {count} only")
                elif SPLIT_OF.get(number % 10, "train") == split and listed.setdefault(number, name) != name:
                    yield Skipped(name, f"the picture of that number is already {listed[number]}")
            for number in range(1, count + 1):
                if number in listed:
                    # The x and y of every click for each point, as plain numbers.
                    points = clicks[:, :, :, number - 1].astype(float).transpose(1, 2, 0).tolist()
                    yield PictureEntry(listed[number], points)
                elif SPLIT_OF.get(number % 10, "train") == split:
                    yield Skipped(f"{kind}/images/{number}.jpg", "the picture of that number is missing")

    def _clicks(self, source: SourceFolder, kind: str) -> np.ndarray:
        """Axes: x and y, point, person, picture; the file can have unused entries for points and people."""
        file = f"{kind}/coords.mat"
        clicks = mat_array(source, file, "coords", 4)
        count = len(self.tables[kind].names)
        if clicks.shape[0] != 2 or clicks.shape[1] < count:
            shape = " x ".join(map(str, clicks.shape))
            rule = f"2 x {count} (or more) x people x pictures"
            raise DataError(f"{quote(file)} has clicks of {shape}, but must have {rule}. {WAY_OUT}")
        return clicks[:, :count, :PEOPLE]

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One piece of furniture; each point is the median of its clicks."""
        kind = entry.name.partition("/")[0]
        table = self.tables[kind]
        points = table.by_order(_point(clicks, name) for name, clicks in zip(table.names, entry.data, strict=True))
        if not points:
            raise DataError("nobody clicked any of its points")
        picture = source.picture(entry.name)
        return self.make(picture, [self.object_around(table, category_of(kind), points, picture)], split)


def _number(name: str) -> int | None:
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 10 else None


def _point(clicks: list[list[float]], name: str) -> Point:
    clicked = [(x, y) for x, y in clicks if x == x and y == y and (x, y) != (0, 0)]  # NaN or 0: not clicked
    for x, y in clicked:
        if as_number(x) is None or as_number(y) is None:
            raise DataError(f"point {name} was clicked at ({x}, {y}), which no picture has")
    if not clicked:
        return 0.0, 0.0, NOT_LABELLED
    return median(x for x, _ in clicked), median(y for _, y in clicked), VISIBLE
