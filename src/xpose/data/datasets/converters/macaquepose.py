"""MacaquePose (`v1/annotations.csv`: a row per picture, json inside the cells, a header misspelled in the original)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry
from xpose.data.datasets.converters.coco import PERSON
from xpose.data.datasets.sources import Fields, SourceFolder, as_number, box_of_points
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, Point, Record, Skipped

FILE, PICTURES = "v1/annotations.csv", "v1/images"
PICTURE, POINTS, SEGMENTS = "image file name", "keypoinbts", "segmentation"
TEST_SHARE = 583 / 13_083  # MMPose's: the rows shuffled with numpy's seed 0, the last 583 for testing
MACAQUE = NameTable("person", {name: name for name in PERSON.unified})


class MacaquePose(Converter):
    """Macaques with COCO's 17 points; several animals per picture, boxes and areas from their outlines."""

    name = "macaquepose"
    splits = {
        "train": "MMPose's rule: rows shuffled with numpy seed 0, all but 583; not checked against its files",
        "test": "the last 583 of the shuffled rows",
    }
    needs = (Need(FILE, "the home page"), Need(PICTURES, "the home page"))
    tables = {"macaque": MACAQUE}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """The split's rows, in the file's order."""
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
        """One picture; animals and outlines are paired by their place in the two lists."""
        picture = source.picture(entry.name)
        animals, outlines = _cell(entry.data, POINTS), _cell(entry.data, SEGMENTS)
        if len(animals) != len(outlines):
            raise DataError(f"{quote(entry.name)} has {len(animals)} animals, but {len(outlines)} lists of outlines")
        instances, dropped = self.read_each(
            entry.name, zip(animals, outlines, strict=True), lambda pair, i: _animal(*pair, str(i)), "animal {}: "
        )
        return self.make(picture, instances, split, dropped=dropped)


def _animal(labels: Any, outlines: Any, number: str) -> Instance:
    points = MACAQUE.unify(_points(labels))
    polygons = [polygon for polygon in _polygons(outlines) if polygon]
    corners = [corner for polygon in polygons for corner in polygon]
    return Instance(
        MACAQUE.category("macaque"),
        box_of_points(corners or points.values()),
        points,
        area=sum(map(_area, polygons)) if polygons else None,
        source_id=number,
    )


def _test_rows(count: int) -> set[int]:
    import numpy as np

    shuffled = np.random.RandomState(0).permutation(count)
    return {int(row) for row in shuffled[count - round(count * TEST_SHARE) :]}


def _cell(row: dict[str, str], column: str) -> list[Any]:
    try:
        value = json.loads(row[column])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise DataError(f"the column {quote(column)} holds {quote(row[column])}, not a list in json")
    return value


def _points(labels: Any) -> dict[str, Point]:
    if not isinstance(labels, list):
        raise DataError(f"the points are {quote(labels)}, not a list")
    points: dict[str, Point] = {}
    for value in labels:
        fields = Fields(value, "a point")
        name = fields.text("name")
        x, y = fields.numbers("position", 2) if "position" in fields else (0.0, 0.0)
        if name in points:
            raise DataError(f"the point {quote(name)} occurs twice")
        points[name] = (x, y, VISIBLE if "position" in fields else 0)
    return points


def _polygons(outlines: Any) -> Iterator[list[tuple[float, float]]]:
    if not isinstance(outlines, list):
        raise DataError(f"the outlines are {quote(outlines)}, not a list")
    for value in outlines:
        corners = Fields(value, "an outline").list("segment")
        polygon = [tuple(map(as_number, corner)) if isinstance(corner, list) else () for corner in corners]
        if any(len(corner) != 2 or None in corner for corner in polygon):
            raise DataError(f"the outline {quote(corners)} is not a list of [x, y]")
        yield polygon  # type: ignore[misc]


def _area(polygon: Sequence[Sequence[float]]) -> float:
    """The area of a simple polygon in square pixels."""
    turns = zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)
    return abs(math.fsum(a[0] * b[1] - b[0] * a[1] for a, b in turns)) / 2
