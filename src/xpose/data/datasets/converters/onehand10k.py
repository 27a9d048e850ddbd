"""OneHand10K (`{Train,Test}/label_joint.txt`: name, width, height, number of hands, then 21 times x, y)."""

from __future__ import annotations

from collections.abc import Iterator

from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry
from xpose.data.datasets.sources import SourceFolder, parse_number
from xpose.errors import DataError
from xpose.records import NOT_LABELLED, VISIBLE, Point, Record, Skipped

WHERE = "by request form on the home page"
FOLDERS = {"train": "Train", "test": "Test"}
HAND = NameTable.from_file("hand", "onehand10k")
CELLS = 4 + 2 * len(HAND.names)


class OneHand10K(Converter):
    """One hand per picture with 21 points."""

    name = "onehand10k"
    splits = FOLDERS
    needs = tuple(
        Need(f"{folder}/{name}", WHERE, (split,))
        for split, folder in FOLDERS.items()
        for name in ("label_joint.txt", "source")
    )
    tables = {"hand": HAND}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per line."""
        file, pictures = f"{FOLDERS[split]}/label_joint.txt", f"{FOLDERS[split]}/source"
        lines = [line.strip().rstrip(",").split(",") for line in source.lines(file)]
        entries = [
            self.entry_of(pictures, cells[0].strip(), [cell.strip() for cell in cells[1:]], f"{file}: line {number}")
            for number, cells in enumerate(lines, start=1)
            if cells != [""]
        ]
        yield from entries
        yield from self.unlisted(source, pictures, [item.name for item in entries if isinstance(item, PictureEntry)])

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One hand."""
        cells = entry.data
        if 1 + len(cells) != CELLS:
            raise DataError(f"its line has {1 + len(cells)} cells, but must have {CELLS}")
        width, height, _, *flat = (parse_number(cell, "its line") for cell in cells)
        picture = source.picture(entry.name, (int(width), int(height)))
        points = HAND.by_order(_point(x, y) for x, y in zip(flat[0::2], flat[1::2], strict=True))
        return self.make(picture, [self.object_around(HAND, "hand", points, picture)], split)


def _point(x: float, y: float) -> Point:
    return (0.0, 0.0, NOT_LABELLED) if x == y == -1 else (x, y, VISIBLE)
