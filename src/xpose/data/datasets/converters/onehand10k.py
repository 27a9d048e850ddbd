"""OneHand10K (`{Train,Test}/label_joint.txt`: name, width, height, number of hands, then 21 times x, y)."""

from __future__ import annotations

from collections.abc import Iterator

from xpose.data.datasets.converters.base import LOADER_ONLY, Converter, Entry, Expected, NameTable, Need
from xpose.data.datasets.converters.names import load_names
from xpose.data.datasets.sources import Source, box_of_points, parse_number, safe_name
from xpose.errors import DataError
from xpose.records import NOT_LABELLED, VISIBLE, Instance, Point, Record, Skipped

WHERE = "by request form on the home page"
FOLDERS = {"train": "Train", "test": "Test"}
ABSENT = -1.0
MARGIN = 0.1  # of the points' extent, on each side


class OneHand10K(Converter):
    """One hand per picture with 21 points."""

    name = "onehand10k"
    title = "OneHand10K"
    licence = "given by request form"
    terms = "what the request form says"
    homepage = "https://www.yangangwang.com/papers/WANG-MCC-2018-10.html"
    status = LOADER_ONLY
    left_right = "none"
    origin = "not stated; taken as 0-based"
    visibility = "none in the original: a point is there (2) or -1,-1 (0)"
    boxes = "extent of the points, 10 % larger on each side, cut to the picture"
    evaluation = "test; PCK@0.2, AUC, EPE"
    expected = Expected(unikpt=2_000, images=11_703)
    splits = {"train": "Train", "test": "Test"}
    needs = tuple(
        Need(f"{folder}/{name}", WHERE, (split,))
        for split, folder in FOLDERS.items()
        for name in ("label_joint.txt", "source")
    )
    tables = {"hand": NameTable("hand", load_names("onehand10k"))}

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per line."""
        file, pictures = f"{FOLDERS[split]}/label_joint.txt", f"{FOLDERS[split]}/source"
        listed = []
        for number, line in enumerate(source.lines(file), start=1):
            cells = [cell.strip() for cell in line.strip().rstrip(",").split(",")]
            if cells == [""]:
                continue
            try:
                entry = Entry(f"{pictures}/{safe_name(cells[0])}", cells[1:])
            except DataError as error:
                yield Skipped(cells[0] or f"{file}: line {number}", str(error))
                continue
            listed.append(entry.name)
            yield entry
        yield from self.unlisted(source, pictures, listed)

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """One hand."""
        cells = entry.data
        table = self.tables["hand"]
        if len(cells) != 3 + 2 * len(table.names):
            raise DataError(f"its line has {1 + len(cells)} cells, but must have {4 + 2 * len(table.names)}")
        width, height, _, *flat = (parse_number(cell, "its line") for cell in cells)
        picture = source.picture(entry.name, (int(width), int(height)))
        points = table.by_order(_point(x, y) for x, y in zip(flat[0::2], flat[1::2], strict=True))
        box = box_of_points(points.values(), MARGIN, picture)
        return self.make(picture, [Instance(table.category("hand"), box, points)], split)


def _point(x: float, y: float) -> Point:
    return (0.0, 0.0, NOT_LABELLED) if x == ABSENT and y == ABSENT else (x, y, VISIBLE)
