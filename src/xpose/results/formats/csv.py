"""CSV for spreadsheets, R and pandas, and Parquet for large tables: one row for each point."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xpose.errors import DataError, missing_extra, quote
from xpose.results.formats.json import number, score
from xpose.results.formats.objects import Make, ReadObject, poses_of

if TYPE_CHECKING:
    from xpose.results.poses import Poses

COLUMNS = (
    *("picture", "object", "category", "score", "box_x1", "box_y1", "box_x2", "box_y2"),
    *("keypoint", "canonical_name", "x", "y", "keypoint_score", "visibility"),
)
TEXTS = ("picture", "category", "keypoint", "canonical_name")
WHOLE = ("object", "visibility", "tentative", "track_id")
MAX_BYTES = 4 << 30  # of an unpacked table
_FORMULA = ("=", "+", "-", "@")
Rows = list[list[Any]]


def to_csv(results: Sequence[Poses]) -> str:
    """A table of all points of several pictures.

    `object` counts from 1 in each picture. An absent keypoint has visibility 0 and empty x and y; an object without
    keypoints has one row with an empty `keypoint`. If the weights predict it, there is a column `keypoint_error`, the
    expected error in pixels. If there are tentative poses (see `Poses`), the column `tentative` is 1 for them. If
    objects were tracked, the last column is `track_id`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header, rows = _table(results)
    writer.writerow(header)
    texts = [column in TEXTS for column in header]
    for row in rows:
        writer.writerow([safe_cell(cell or "") if text else cell for cell, text in zip(row, texts, strict=True)])
    return stream.getvalue()


def to_parquet(results: Sequence[Poses]) -> bytes:
    """The same table with typed columns and nulls for empty cells."""
    pyarrow, parquet = _pyarrow()
    header, rows = _table(results)
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    arrays = [pyarrow.array(values, _type(pyarrow, name)) for name, values in zip(header, columns, strict=True)]
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays, names=header), stream, compression="zstd")
    return stream.getvalue()


def from_csv(data: bytes, make: Make) -> list[Poses]:
    """The inverse of `to_csv`; the sizes of pictures, edges, and pictures without objects are not in the table."""
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    try:
        _check_header(reader.fieldnames or ())
        return _read(({key: _plain(value) for key, value in row.items() if key is not None} for row in reader), make)
    except csv.Error as error:
        raise DataError(f"The text is no CSV table: {error}. Write it again with xpose.") from None


def from_parquet(data: bytes, make: Make) -> list[Poses]:
    """The inverse of `to_parquet`."""
    pyarrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        size = max(sum(group.total_byte_size for group in groups), 64 * file.metadata.num_rows)
        if size > MAX_BYTES:
            raise DataError(f"The table declares {size >> 30} GiB. At most {MAX_BYTES >> 30} are read. Split it.")
        table = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"The file is no Parquet table: {str(error)[:100]}. Write it again with xpose.") from None
    _check_header(table.column_names)
    return _read(table.to_pylist(), make)


def safe_cell(text: str) -> str:
    """The text without line breaks, prefixed by a quote if a spreadsheet would read it as a formula."""
    text = text.replace("\r", " ").replace("\n", " ")
    return f"'{text}" if text.startswith("\t") or text.lstrip().startswith(_FORMULA) else text


def _plain(cell: Any) -> Any:
    """The text of `safe_cell` without its quote."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and safe_cell(cell[1:]) == cell else cell


def _table(results: Sequence[Poses]) -> tuple[list[str], Rows]:
    """The header and the rows; None for an empty cell."""
    with_errors = any(poses.keypoint_errors is not None for poses in results)
    with_tentative = any(poses.tentative.any() for poses in results)
    with_tracks = any(poses.track_ids is not None for poses in results)
    header = [*COLUMNS, *["keypoint_error"] * with_errors, *["tentative"] * with_tentative, *["track_id"] * with_tracks]
    return header, [row for poses in results for row in rows_of(poses, with_errors, with_tentative, with_tracks)]


def rows_of(
    poses: Poses, with_errors: bool = False, with_tentative: bool = False, with_tracks: bool = False
) -> Iterator[list[Any]]:
    """The rows of one picture: the cells of `COLUMNS` and those of the optional columns; None for an empty cell."""
    for position, pose in enumerate(poses, start=1):
        head = [poses.source, position, pose.category, score(pose.score), *map(number, pose.box)]
        tail: list[object] = [int(pose.tentative)] * with_tentative
        tail += [pose.track_id] * with_tracks
        if not pose.names:
            yield [*head, *[None] * (6 + with_errors), *tail]
        for row, (name, point) in enumerate(pose.points.items()):
            place = [number(point.x), number(point.y)] if point.v else [None, None]
            cells = [*head, name, pose.canonical[row], *place, score(point.score), point.v]
            if with_errors:
                cells.append(None if pose.keypoint_errors is None else score(pose.keypoint_errors[row], 2))
            yield [*cells, *tail]


def _check_header(columns: Iterable[str]) -> None:
    if missing := [column for column in COLUMNS if column not in columns]:
        raise DataError(
            f"The table has no column {', '.join(map(quote, missing))}. A table of xpose has the columns "
            f"{', '.join(COLUMNS)}. Write it again with xpose."
        )


def _read(rows: Iterable[Mapping[str, Any]], make: Make) -> list[Poses]:
    pictures: list[tuple[str | None, list[list[Mapping[str, Any]]]]] = []  # source, and the rows of each object
    last: tuple[str | None, int] | None = None
    for row in rows:
        if row["object"] is None:  # a picture without objects, in the tables of `xpose batch`
            continue
        source, position = row["picture"] or None, int(row["object"])
        repeated = last == (source, position) and row["keypoint"] in [seen["keypoint"] for seen in pictures[-1][1][-1]]
        # `object` starts again in the next picture, whose name may be the same or unknown.
        if last is None or source != last[0] or position < last[1] or (repeated and source is None):
            pictures.append((source, []))
        if last != (source, position) or not pictures[-1][1]:
            pictures[-1][1].append([])
        pictures[-1][1][-1].append(row)
        last = source, position
    return [poses_of(make, [_object(rows) for rows in objects], source=source) for source, objects in pictures]


def _object(rows: list[Mapping[str, Any]]) -> ReadObject:
    first = rows[0]
    named = [row for row in rows if row["keypoint"] or row["visibility"] not in (None, "")]
    points = {row["keypoint"] or "": _place(row) for row in named}
    if len(points) < len(named):
        raise DataError(f"Two keypoints of one object have the same name among {', '.join(points)}. Tell them apart.")
    errors = {row["keypoint"] or "": value for row in named if not math.isnan(value := _number(row, "keypoint_error"))}
    return ReadObject(
        category=first["category"] or "",
        points=points,
        box=[_number(first, f"box_{corner}") for corner in ("x1", "y1", "x2", "y2")],
        score=_number(first, "score"),
        canonical=tuple(row["canonical_name"] or "" for row in named),
        errors=errors,
        track=int(first["track_id"]) if first.get("track_id") not in (None, "") else None,
        tentative=str(first.get("tentative")) == "1",
    )


def _place(row: Mapping[str, Any]) -> tuple[float, float, float, int]:
    return _number(row, "x"), _number(row, "y"), _number(row, "keypoint_score"), int(row["visibility"])


def _number(row: Mapping[str, Any], column: str) -> float:
    value = row.get(column)
    return math.nan if value is None or value == "" else float(value)


def _type(pyarrow: Any, name: str) -> Any:
    return pyarrow.string() if name in TEXTS else pyarrow.int64() if name in WHOLE else pyarrow.float64()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("Parquet", "pyarrow", "data") from None
    return pyarrow, pyarrow.parquet
