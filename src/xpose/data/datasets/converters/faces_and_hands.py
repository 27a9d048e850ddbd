"""300W, AnimalWeb and OneHand10K: faces and hands with points listed by position in text files.

300W and AnimalWeb have a picture and a `.pts` file per face side by side. OneHand10K has `{Train,Test}/label_joint.txt`
with lines of name, width, height, number of hands, and 21 times x, y.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, category_of, stem_of
from xpose.data.datasets.sources import SourceFolder, grouped, parse_number, parse_numbers
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Instance, Picture, Point, Record, Skipped

FOLDERS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenge": ("ibug",),
    "test": ("300W/01_Indoor", "300W/02_Outdoor"),
}
ANIMALWEB = "animal_dataset_v1_clean_check"  # folder
# Left and right are the subject's own.
FACE = NameTable.from_file("face", "w300")
ANIMAL_FACE = NameTable.from_skeleton("animal_face")
HAND = NameTable.from_file("hand", "onehand10k")


class W300(Converter):
    """Human faces with 68 points. `full` in published tables is `common` plus `challenge`."""

    tables = {"face": FACE}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per picture; names match with and without spaces, since public copies differ."""
        for folder in FOLDERS[split]:
            files = source.files(folder, (".pts",))
            yield from self.paired(source, source.pictures(folder), files, lambda name: stem_of(name).replace(" ", ""))

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        picture = source.picture(entry.name)
        points = FACE.by_order(read_pts(source, entry.data, count=68, origin=1))
        # The same photo occurs once per face, as NAME_1, NAME_2, ...
        group = re.sub(r"_\d{1,2}$", "", stem_of(entry.name))
        return self.make(picture, [self.object_around(FACE, "face", points, picture)], split, group=group)


class AnimalWeb(Converter):
    """Animals' faces with 9 points. A photo with two faces is stored twice and becomes one record."""

    tables = {"face": ANIMAL_FACE}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per photo; pictures with the same bytes share the first one's entry."""
        files: dict[str, str] = {}
        for item in self.paired(source, source.pictures(ANIMALWEB), source.files(ANIMALWEB, (".pts",))):
            if isinstance(item, Skipped):
                yield item
            else:
                files[item.name] = item.data
        for first, *others in _by_content(source, list(files)):
            yield PictureEntry(first, source.stamped([files[name] for name in (first, *others)]))
            for name in others:
                yield Skipped(name, f"the same picture as {first}, whose record has this face too")

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        picture = source.picture(entry.name)
        faces, dropped = self.read_each(entry.name, entry.data, lambda file, _: _face(source, file[0], picture))
        return self.make(picture, faces, split, dropped=dropped)


def _face(source: SourceFolder, file: str, picture: Picture) -> Instance:
    points = ANIMAL_FACE.by_order(read_pts(source, file, count=9, origin=0))
    stem = stem_of(file).rpartition("/")[2]
    species = category_of(file.rpartition("/")[2].split("_")[0])
    return Converter.object_around(ANIMAL_FACE, f"{species} face", points, picture, source_id=stem)


def _by_content(source: SourceFolder, names: list[str]) -> list[list[str]]:
    """Group the names of equal pictures, in order; only files of equal size are opened."""
    sizes = {name: source.path(name).stat().st_size for name in names}
    counts = Counter(sizes.values())
    pairs = ((_content(source, name) if counts[sizes[name]] > 1 else name, name) for name in names)
    return sorted(grouped(pairs).values())


def _content(source: SourceFolder, name: str) -> str:
    try:
        return hashlib.sha256(source.path(name).read_bytes()).hexdigest()
    except OSError:
        return name  # `record` reports what is wrong with it


class OneHand10K(Converter):
    """One hand per picture with 21 points."""

    tables = {"hand": HAND}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        file, pictures = f"{split.title()}/label_joint.txt", f"{split.title()}/source"
        lines = [line.strip().rstrip(",").split(",") for line in source.lines(file)]
        entries = [
            self.entry_of(pictures, cells[0].strip(), [cell.strip() for cell in cells[1:]], f"{file}: line {number}")
            for number, cells in enumerate(lines, start=1)
            if cells != [""]
        ]
        yield from entries
        yield from self.unlisted(source, pictures, [item.name for item in entries if isinstance(item, PictureEntry)])

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        cells = entry.data
        expected = 4 + 2 * len(HAND.names)
        if 1 + len(cells) != expected:
            raise DataError(f"its line has {1 + len(cells)} cells, but must have {expected}")
        width, height, _, *flat = (parse_number(cell, "its line") for cell in cells)
        picture = source.picture(entry.name, (int(width), int(height)))
        points = HAND.by_order(_point(x, y) for x, y in zip(flat[0::2], flat[1::2], strict=True))
        return self.make(picture, [self.object_around(HAND, "hand", points, picture)], split)


def _point(x: float, y: float) -> Point:
    return (0.0, 0.0, NOT_LABELLED) if x == y == -1 else (x, y, VISIBLE)


def read_pts(source: SourceFolder, name: str, count: int, origin: float) -> list[Point]:
    """The `count` points of a `.pts` file: a head, then one `x y` per line between braces.

    `origin` (0 or 1) is the number of the first pixel. The format has no visibility.
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
        x, y = parse_numbers(line, 2, f"{name}: point {number}")
        points.append((x - origin, y - origin, VISIBLE))
    return points
