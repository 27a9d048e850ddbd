"""MacaquePose (`v1/annotations.csv`: one row per picture, json in the cells, a misspelled header in the original)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry
from xpose.data.datasets.converters.coco import PERSON
from xpose.data.datasets.sources import Fields, SourceFolder, box_of_points
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, Point, Record, Skipped

FILE, PICTURES = "v1/annotations.csv", "v1/images"
PICTURE, POINTS, SEGMENTS = "image file name", "keypoinbts", "segmentation"
TEST_SHARE = 583 / 13_083  # as in MMPose: rows shuffled with numpy's seed 0, the last 583 for testing
MACAQUE = NameTable("person", {name: name for name in PERSON.unified})


class MacaquePose(Converter):
    """Macaques with COCO's 17 points; several animals per picture, boxes and areas from their outlines."""

    tables = {"macaque": MACAQUE}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        rows = list(source.table(FILE, (PICTURE, POINTS, SEGMENTS)))
        test_rows = _test_rows(len(rows))
        listed = []
        for number, row in enumerate(rows):
            entry = self.entry_of(PICTURES, row[PICTURE], row, f"{FILE}: row {number + 1}")
            listed += [entry.name] if isinstance(entry, PictureEntry) else []
            if (number in test_rows) == (split == "test"):
                yield entry
        if split == "train":
            yield from self.unlisted(source, PICTURES, listed)

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One picture; animals and outlines are paired by their index in the two lists."""
        picture = source.picture(entry.name)
        animals, outlines = _cell(entry.data, POINTS), _cell(entry.data, SEGMENTS)
        if len(animals) != len(outlines):
            raise DataError(f"{quote(entry.name)} has {len(animals)} animals, but {len(outlines)} lists of outlines")
        instances, dropped = self.read_each(entry.name, zip(animals, outlines, strict=True), _animal)
        return self.make(picture, instances, split, dropped=dropped)


def _animal(stated: tuple[Any, Any], number: int) -> Instance:
    labels, outlines = stated
    where = f"animal {number}"
    points = MACAQUE.unify(_points(labels, where))
    polygons = [polygon for polygon in _polygons(outlines, where) if polygon]
    places: list[Sequence[float]] = [corner for polygon in polygons for corner in polygon]
    places = places or [*points.values()]
    if not places:
        raise DataError(f"{where}: there is neither a box nor a labelled point to make one from")
    box = box_of_points(places)
    area = sum(map(_area, polygons)) if polygons else None
    return Instance(MACAQUE.category("macaque"), box, points, area=area, source_id=str(number))


def _test_rows(count: int) -> set[int]:
    import numpy as np

    shuffled = np.random.RandomState(0).permutation(count)
    return {int(row) for row in shuffled[count - round(count * TEST_SHARE) :]}


def _cell(row: dict[str, str], column: str) -> list[Any]:
    try:
        return Fields({column: json.loads(row[column])}, "the row").list(column)
    except (ValueError, RecursionError):
        raise DataError(f"the column {quote(column)} holds {quote(row[column])}, not a list in json") from None


def _points(labels: Any, where: str) -> dict[str, Point]:
    points: dict[str, Point] = {}
    for fields in Fields({"points": labels}, where).objects("points", "point"):
        name = fields.text("name")
        x, y = fields.numbers("position", 2) if "position" in fields else (0.0, 0.0)
        if name in points:
            raise DataError(f"{where}: the point {quote(name)} occurs twice")
        points[name] = (x, y, VISIBLE if "position" in fields else 0)
    return points


def _polygons(outlines: Any, where: str) -> Iterator[list[list[float]]]:
    for outline in Fields({"outlines": outlines}, where).objects("outlines", "outline"):
        yield [Fields({"corner": corner}, outline.where).numbers("corner", 2) for corner in outline.list("segment")]


def _area(polygon: Sequence[Sequence[float]]) -> float:
    turns = zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)
    return abs(math.fsum(a[0] * b[1] - b[0] * a[1] for a, b in turns)) / 2
