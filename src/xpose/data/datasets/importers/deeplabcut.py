"""DeepLabCut projects: `labeled-data/VIDEO/CollectedData_SCORER.csv` (or .h5), single- and multi-animal.

pandas writes the h5 in one of two layouts. The "fixed" one holds plain arrays of numbers and bytes. The "table" one
stores its column names as a pickle. It is refused; the csv in the same folder has the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.array_files import open_h5
from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, PictureLabels, RawObject
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import SourceFolder, as_number, grouped, parse_number, safe_name
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, Picture, Skipped

LABELS, STEM, CONFIG = "labeled-data", "CollectedData", "config.yaml"
UNIQUE = "single"  # the individual whose points occur once per picture
LEVELS = ("scorer", "individuals", "bodyparts", "coords")
MAX_CELLS = 50_000_000  # in one table
NAN = "N."  # pandas's mark for a missing text in DeepLabCut's files


class DeepLabCut(Importer):
    """One object per individual in a picture; the points that occur once per picture form another object."""

    def base(self) -> Path:
        folder = super().base()
        return next((place.parent for place in (folder, *folder.parents[:2]) if place.name == LABELS), folder)

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        config = self.files.yaml(CONFIG) if self.files.has(CONFIG) else {}
        if not config:
            self.notes.append(f"There is no {CONFIG} beside the labels, so the skeleton has no edges.")
        self.label_files = self._label_files(config)
        columns = [column for name in self.label_files for column in self._table(name).columns]
        parts = grouped(dict.fromkeys((column.kind, column.part) for column in columns))
        chains = config.get("skeleton")
        edges = [edge for chain in (chains if isinstance(chains, list) else []) for edge in _edges(chain)]
        kinds = [
            ObjectKind(kind, tuple(names), tuple(edge for edge in edges if {*edge} <= {*names}), named=kind == UNIQUE)
            for kind, names in parts.items()
        ]
        return dict(ALL), kinds

    def originals(self) -> list[str]:
        return [CONFIG, *self.label_files]

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per row; frames that no row names are reported."""
        for file in self.label_files:
            folder, listed = file.rpartition("/")[0], []
            table = self._table(file)
            for number, row in enumerate(table.rows, start=1):
                try:
                    name = self._place(row.picture, folder)
                    if row.fault:
                        raise DataError(row.fault)
                except DataError as error:
                    listed.append(f"{folder}/{row.picture.rsplit('/', 1)[-1]}")
                    yield Skipped(listed[-1] if row.picture else f"{file}: row {number}", str(error))
                    continue
                listed.append(name)
                yield PictureEntry(name, PictureLabels(table.objects(row), group=folder.rpartition("/")[2] or None))
            if not self.choices.labels_only:
                yield from self.unlisted(source, folder, listed)

    def object(self, raw: RawObject, picture: Picture, number: int) -> Instance:
        for part, x, y in raw.points:
            if x is None or y is None:
                raise DataError(f"object {raw.id or 1}: {quote(part)} has only one of its two coordinates")
        points = {part: (x, y, VISIBLE) for part, x, y in raw.points}
        return self.settled(raw.kind, points, picture, number, id=raw.id, raw=raw)

    def _table(self, name: str) -> LabelTable:
        return read_labels(self.files, name, predictions=self.choices.labels_only)

    def _place(self, picture: str, folder: str) -> str:
        """A row's picture: the path in the row, or one in `folder` if folders were renamed."""
        name = safe_name(picture)
        beside = "/".join(part for part in (folder, name.rsplit("/", 1)[-1]) if part)
        if self.choices.labels_only and not self.files.path(beside).is_file():
            return name
        return name if self.files.path(name).is_file() else beside

    def _label_files(self, config: Mapping[str, Any]) -> list[str]:
        if self.path.is_file():
            return [self.path_in_base()]
        chosen = self.path_in_base()
        start = LABELS if chosen == "." and self.files.has(LABELS) else chosen
        names = self.files.files(start, (".csv", ".h5"), deep=True)
        folders = grouped((name.rpartition("/")[0], name) for name in names if _stem(name).startswith(STEM))
        if not folders:
            raise DataError(
                f"{quote(self.path)} holds no {LABELS}/VIDEO/{STEM}_SCORER.csv. PATH is {self.what}. Label pictures in "
                "DeepLabCut and save them first."
            )
        return [_chosen(names, folder, config.get("scorer")) for folder, names in sorted(folders.items())]


def _chosen(names: list[str], folder: str, scorer: Any) -> str:
    """The label file of a folder: the config's scorer decides between scorers, and csv is preferred to h5."""
    stems = sorted({_stem(name) for name in names})
    if len(stems) > 1:
        stems = [stem for stem in stems if stem == f"{STEM}_{scorer}"]
    if len(stems) != 1:
        raise DataError(
            f"{quote(folder)} holds the labels of several scorers: {', '.join(map(quote, names))}. Name yours as "
            f'"scorer" in {CONFIG}, or give the file itself as PATH.'
        )
    of_scorer = [name for name in names if _stem(name) == stems[0]]
    return next((name for name in of_scorer if name.lower().endswith(".csv")), of_scorer[0])


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rpartition(".")[0]


def _edges(chain: Any) -> Iterator[tuple[str, str]]:
    return pairwise([name for name in chain if isinstance(name, str)] if isinstance(chain, list) else [])


# The tables of labels.


@dataclass(frozen=True)
class Column:
    """A column of numbers: which animal (None in single-animal projects), which body part, x or y."""

    individual: str | None
    part: str
    axis: str

    @property
    def kind(self) -> str:
        """The kind of object that the part belongs to."""
        return UNIQUE if self.individual == UNIQUE else OBJECT


@dataclass(frozen=True)
class LabelRow:
    """One picture; `cells` has one value per column, None for unlabelled points."""

    picture: str
    cells: tuple[float | None, ...]
    fault: str = ""  # why the row cannot be used


@dataclass(frozen=True)
class LabelTable:
    """A file's table."""

    columns: tuple[Column, ...]
    rows: list[LabelRow]

    def objects(self, row: LabelRow) -> list[RawObject]:
        """The individuals of a row that have a point; their points are (part, x, y)."""
        objects: dict[str | None, RawObject] = {}
        step = _step([column.axis for column in self.columns])
        for start in range(0, len(self.columns), step):
            column, (x, y, *score) = self.columns[start], row.cells[start : start + step]
            if x is not None or y is not None:
                name = column.individual
                raw = objects.setdefault(name, RawObject(column.kind, [], id=name, track=name))
                raw.points.append((column.part, x, y))
                if score:
                    raw.scores[column.part] = score[0]
        return list(objects.values())


def read_labels(source: SourceFolder, name: str, *, predictions: bool = False) -> LabelTable:
    """Read the table in a csv or h5 file; pickles are never loaded. A table of predictions has likelihoods, too."""
    table = _from_csv(source, name) if name.lower().endswith(".csv") else _from_h5(source, name)
    if not predictions and _step([column.axis for column in table.columns]) == 3:
        raise _no_table(name, "holds likelihoods, so it is what a model predicted and no labels")
    return table


def _from_csv(source: SourceFolder, name: str) -> LabelTable:
    lines = source.csv_rows(name)
    heads = {line[0].strip(): [cell.strip() for cell in line] for line in lines[:4] if line}
    heads = {level: cells for level, cells in heads.items() if level in LEVELS}
    lead = next((i for i, cell in enumerate(heads.get("coords", ())) if i and cell), 0)
    if not lead or "bodyparts" not in heads or len({len(head) for head in heads.values()}) != 1:
        raise _no_table(name, "does not begin with the rows scorer, (individuals,) bodyparts, coords")
    width = len(heads["coords"])
    individuals = heads.get("individuals", [None] * width)
    columns = _columns(name, individuals[lead:], heads["bodyparts"][lead:], heads["coords"][lead:])
    return LabelTable(columns, [_row(line, lead, width) for line in lines[len(heads) :] if any(line)])


def _row(line: list[str], lead: int, width: int) -> LabelRow:
    picture = "/".join(cell.strip() for cell in line[:lead] if cell.strip())
    if len(line) != width:
        return LabelRow(picture, (), f"its row has {len(line)} cells, the header {width}")
    try:
        return LabelRow(picture, tuple(parse_number(cell, "its row") if cell.strip() else None for cell in line[lead:]))
    except DataError as error:
        return LabelRow(picture, (), str(error))


def _columns(name: str, individuals: list[Any], parts: list[str], axes: list[str]) -> tuple[Column, ...]:
    columns = tuple(map(Column, individuals, parts, axes))
    step = _step(axes)
    points = [(column.individual, column.part) for column in columns]
    good = all(points[0::step] == points[place::step] for place in range(step)) and len(set(points)) * step == len(
        points
    )
    if not columns or not good or axes != ["x", "y", "likelihood"][:step] * (len(columns) // step):
        raise _no_table(name, "does not have an x and a y column for every body part")
    if not all(column.part and column.individual != "" for column in columns):
        raise _no_table(name, "has columns without a name")
    return columns


def _step(axes: Sequence[str]) -> int:
    """The number of columns of each point."""
    return 3 if "likelihood" in axes else 2


def _from_h5(source: SourceFolder, name: str) -> LabelTable:
    with open_h5(source, name, _way_out(name)) as file:
        groups = [group for group in file.values() if hasattr(group, "keys") and "block0_values" in group]
        if len(groups) != 1 or "block1_values" in groups[0]:
            raise _no_table(name, "is not in the layout that can be read without running code from the file")
        (group,) = groups
        values = group["block0_values"]
        if values.dtype.kind != "f" or len(values.shape) != 2 or values.size > MAX_CELLS:
            raise _no_table(name, "holds something else than numbers")
        levels = list(_levels(group, "block0_items", name))
        if len(levels) not in (3, 4):
            raise _no_table(name, f"names its columns by {len(levels)} levels, not by scorer, bodyparts and coords")
        paths = zip(*_levels(group, "axis1", name), strict=True)
        pictures = ["/".join(part for part in path if part != NAN) for path in paths]
        if values.shape != (len(pictures), len(levels[0])):
            raise _no_table(name, "has more or fewer numbers than its rows and columns need")
        individuals: list[Any] = levels[1] if len(levels) == 4 else [None] * len(levels[0])
        columns = _columns(name, individuals, levels[-2], levels[-1])
        return LabelTable(columns, list(map(_checked, pictures, values[()].tolist())))


def _checked(picture: str, numbers: list[float]) -> LabelRow:
    if any(number == number and as_number(number) is None for number in numbers):
        return LabelRow(picture, (), "its row holds a number that no pixel can have")
    return LabelRow(picture, tuple(map(as_number, numbers)))  # NaN becomes None


def _levels(group: Any, axis: str, name: str) -> Iterator[list[str]]:
    """The texts along an axis, one list per level; codes are indices into a level's unique texts."""
    if axis in group:
        yield _texts(group[axis], name)
        return
    number = 0
    while f"{axis}_level{number}" in group:
        texts, codes = _texts(group[f"{axis}_level{number}"], name), group[f"{axis}_label{number}"]
        if codes.dtype.kind not in "iu" or codes.size > MAX_CELLS:
            raise _no_table(name, "holds something else than codes for its names")
        if not all(-1 <= code < len(texts) for code in codes[()]):
            raise _no_table(name, "has codes that stand for no name")
        yield [texts[code] if code >= 0 else NAN for code in codes[()]]
        number += 1


def _texts(data: Any, name: str) -> list[str]:
    if data.dtype.kind != "S" or data.size > MAX_CELLS:
        raise _no_table(name, "keeps its names as objects, which would have to be unpickled")
    return [text.decode("utf-8") for text in data[()]]


def _no_table(name: str, what: str) -> DataError:
    return DataError(f"{quote(name)} {what}. {_way_out(name)}")


def _way_out(name: str) -> str:
    if name.lower().endswith(".h5"):
        return "Use the csv of the same name, which DeepLabCut keeps beside it."
    return f"Label files are called {STEM}_SCORER.csv."
