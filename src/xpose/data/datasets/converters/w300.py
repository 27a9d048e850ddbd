"""300W: a picture and a `.pts` file of 68 points side by side, one face each, split by folder."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry, stem_of
from xpose.data.datasets.sources import SourceFolder, parse_number
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Point, Record, Skipped

WHERE = "the home page, set by set"
FOLDERS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenge": ("ibug",),
    "test": ("300W/01_Indoor", "300W/02_Outdoor"),
}
FACE = NameTable.from_file("face", "w300")


class W300(Converter):
    """Human faces with 68 points. `full` of the field's tables is `common` and `challenge` together."""

    name = "300w"
    splits = {split: ", ".join(folders) for split, folders in FOLDERS.items()}
    needs = tuple(Need(folder, WHERE, (split,)) for split, folders in FOLDERS.items() for folder in folders)
    tables = {"face": FACE}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per picture; public copies differ in whether names hold blanks, so both spellings match."""
        for folder in FOLDERS[split]:
            files = source.files(folder, (".pts",))
            yield from self.paired(source, source.pictures(folder), files, lambda name: stem_of(name).replace(" ", ""))

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One face."""
        picture = source.picture(entry.name)
        points = FACE.by_order(read_pts(source, entry.data, count=68, origin=1))
        # The same photo occurs once per face, as NAME_1, NAME_2, ...
        group = re.sub(r"_\d{1,2}$", "", stem_of(entry.name))
        return self.make(picture, [self.object_around(FACE, "face", points, picture)], split, group=group)


def read_pts(source: SourceFolder, name: str, count: int, origin: float) -> list[Point]:
    """The `count` points of a `.pts` file: a head, then one `x y` per line between braces.

    `origin` (0 or 1) is the number of the first pixel. The format has no visibility.

    Raises:
        DataError: the file is cut short, has another number of points, or holds something else than numbers.
    """
    lines = [stripped for line in source.lines(name) if (stripped := line.strip())]
    if "{" not in lines or "}" not in lines:
        raise DataError(f"{quote(name)} has no point list between braces; it may be cut short")
    head, body = lines[: lines.index("{")], lines[lines.index("{") + 1 : lines.index("}")]
    stated = [line.partition(":")[2].strip() for line in head if line.partition(":")[0].strip() == "n_points"]
    if stated and stated != [str(count)]:
        raise DataError(f"{quote(name)} says n_points: {stated[0][:40]}, but must have {count} points")
    if len(body) != count:
        raise DataError(f"{quote(name)} holds {len(body)} points, but must hold {count}")
    points: list[Point] = []
    for number, line in enumerate(body, start=1):
        cells = line.split()
        if len(cells) != 2:
            raise DataError(f"{quote(name)}: point {number} is {quote(line)}, not two numbers")
        x, y = (parse_number(cell, f"{name}: point {number}") - origin for cell in cells)
        points.append((x, y, VISIBLE))
    return points
