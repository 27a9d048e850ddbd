"""The table of a DeepLabCut label file, from csv or from h5 without a single pickle.

DeepLabCut keeps its labels twice, as csv and as h5. The h5 is written by pandas in one of two layouts. The "fixed" one
holds everything as plain arrays of numbers and bytes, and h5py reads it. The "table" one keeps the names of its columns
as a pickle: that is refused, and the csv beside it has the same numbers.
sleap-io is not used here, because it does not read these h5 files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xpose.data.datasets.converters.h5_files import open_h5
from xpose.data.datasets.sources import Source, as_number, parse_number
from xpose.errors import DataError, quote

LEVELS = ("scorer", "individuals", "bodyparts", "coords")
MAX_CELLS = 50_000_000  # of one table
NAN = "N."  # what pandas writes for a missing text, as DeepLabCut's files carry it
CSV_INSTEAD = "Use the csv of the same name, which DeepLabCut keeps beside it."


@dataclass(frozen=True)
class Column:
    """A column of numbers: which animal (None in single-animal projects), which body part, x or y."""

    individual: str | None
    part: str
    axis: str


@dataclass(frozen=True)
class LabelRow:
    """One picture; `cells` are as many as the columns, None where nothing is labelled."""

    picture: str
    cells: tuple[float | None, ...]
    fault: str = ""  # why the row cannot be used


@dataclass(frozen=True)
class LabelTable:
    """All of one file."""

    columns: tuple[Column, ...]
    rows: list[LabelRow]


def read_labels(source: Source, name: str) -> LabelTable:
    """The table in a csv or h5 file.

    Raises:
        DataError: it is damaged, or no table of labels.
    """
    return _from_csv(source, name) if name.lower().endswith(".csv") else _from_h5(source, name)


def _from_csv(source: Source, name: str) -> LabelTable:
    lines = source.csv_rows(name)
    heads: dict[str, list[str]] = {}
    for line in lines[: len(LEVELS)]:
        if line and line[0].strip() in LEVELS:
            heads[line[0].strip()] = [cell.strip() for cell in line]
    lead = next((i for i, cell in enumerate(heads.get("coords", ())) if i and cell), 0)
    if not lead or "bodyparts" not in heads or len({len(head) for head in heads.values()}) != 1:
        raise _no_table(name, "does not begin with the rows scorer, (individuals,) bodyparts, coords")
    width = len(heads["coords"])
    individuals = heads["individuals"][lead:] if "individuals" in heads else [None] * (width - lead)
    columns = _columns(name, individuals, heads["bodyparts"][lead:], heads["coords"][lead:])
    return LabelTable(columns, [_row(line, lead, width) for line in lines[len(heads) :] if any(line)])


def _row(line: list[str], lead: int, width: int) -> LabelRow:
    picture = "/".join(cell.strip() for cell in line[:lead] if cell.strip())
    if len(line) != width:
        return LabelRow(picture, (), f"its row has {len(line)} cells, the header {width}")
    try:
        return LabelRow(picture, tuple(_number(cell) for cell in line[lead:]))
    except DataError as error:
        return LabelRow(picture, (), str(error))


def _number(cell: str) -> float | None:
    return None if not cell.strip() else parse_number(cell, "its row")


def _columns(name: str, individuals: list[Any], parts: list[str], axes: list[str]) -> tuple[Column, ...]:
    columns = tuple(Column(who, part, axis) for who, part, axis in zip(individuals, parts, axes, strict=True))
    if any(column.axis == "likelihood" for column in columns):
        raise _no_table(name, "holds likelihoods, so it is what a model predicted and no labels")
    pairs = [(column.individual, column.part) for column in columns]
    good = len(columns) % 2 == 0 and pairs[0::2] == pairs[1::2] and len(set(pairs)) * 2 == len(pairs)
    if not columns or not good or [column.axis for column in columns] != ["x", "y"] * (len(columns) // 2):
        raise _no_table(name, "does not have an x and a y column for every body part")
    if not all(column.part and column.individual != "" for column in columns):
        raise _no_table(name, "has columns without a name")
    return columns


def _from_h5(source: Source, name: str) -> LabelTable:
    with open_h5(source, name, _way_out(name)) as file:
        groups = [group for group in file.values() if hasattr(group, "keys") and "block0_values" in group]
        if len(groups) != 1 or "block1_values" in groups[0]:
            raise _no_table(name, "is not in the layout that can be read without running code from the file")
        return _from_group(groups[0], name)


def _from_group(group: Any, name: str) -> LabelTable:
    values = group["block0_values"]
    if values.dtype.kind != "f" or len(values.shape) != 2 or values.size > MAX_CELLS:
        raise _no_table(name, "holds something else than numbers")
    levels = list(_levels(group, "block0_items", name))
    if len(levels) not in (3, 4):
        raise _no_table(name, f"names its columns by {len(levels)} levels, not by scorer, bodyparts and coords")
    pictures = [
        "/".join(part for part in parts if part != NAN) for parts in zip(*_levels(group, "axis1", name), strict=True)
    ]
    if values.shape != (len(pictures), len(levels[0])):
        raise _no_table(name, "has more or fewer numbers than its rows and columns need")
    individuals: list[Any] = levels[1] if len(levels) == 4 else [None] * len(levels[0])
    columns = _columns(name, individuals, levels[-2], levels[-1])
    return LabelTable(columns, [_checked(picture, row) for picture, row in zip(pictures, values[()], strict=True)])


def _checked(picture: str, row: Any) -> LabelRow:
    cells = [None if cell != cell else as_number(float(cell)) for cell in row]
    lost = any(cell is None and value == value for cell, value in zip(cells, row, strict=True))
    return (
        LabelRow(picture, (), "its row holds a number that no pixel can have")
        if lost
        else LabelRow(picture, tuple(cells))
    )


def _levels(group: Any, axis: str, name: str) -> Iterator[list[str]]:
    """The texts along an axis, one list per level; codes point into a level's list of different texts."""
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
    return CSV_INSTEAD if name.lower().endswith(".h5") else "Label files are called CollectedData_SCORER.csv."
