"""Stage 2: the bytes of a picture, wherever it is; or its pixels, if it is the frame of a video."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.batch.places import content, ending, is_url, opened
from xpose.errors import ConfigError, ImageError, quote
from xpose.video.sources import Frame, SkippedFrames, VideoSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from xpose.batch.listing import Entry

WAITS = (0.5, 2.0)  # seconds before another try
_NEAR = 200  # frames that are decoded rather than jumped over
_FINAL = (ImageError, FileNotFoundError, PermissionError, IsADirectoryError)
_held = threading.local()  # the file that each thread has read last: the next picture is often in the same one


def read(entry: Entry, column: str | None = None) -> bytes | np.ndarray:
    """The picture file, or the pixels of a frame. What may be a passing fault is tried again.

    Raises:
        Exception: of any kind, if it cannot be read.
    """
    passing = entry.kind in ("file", "tar") or is_url(entry.file)
    for wait in (*(WAITS if passing else ()), None):
        try:
            return _read(entry, column)
        except _FINAL:
            raise
        except Exception:
            _held.__dict__.clear()
            if wait is None:
                raise
            time.sleep(wait)
    raise AssertionError


def _read(entry: Entry, column: str | None) -> bytes | np.ndarray:
    if entry.kind == "unreadable":
        raise ImageError(entry.error or "It cannot be read.")
    if entry.kind == "parquet":
        return _holding(entry.file, lambda: _Table(entry.file, column)).read(entry.at)
    if entry.kind == "video":
        return _holding(entry.file, lambda: _Video(entry.file)).read(entry.at)
    data = content(entry.file, entry.at, entry.size)
    if entry.size is not None and len(data) < entry.size:
        raise ImageError("The tar file ends before it.")
    return data


def _holding(file: str, make: Callable[[], Any]) -> Any:
    if getattr(_held, "file", None) != file:
        _held.__dict__.clear()
        _held.reader = make()
        _held.file = file
    return _held.reader


class _Table:
    """A Parquet file, of which one group of rows is in memory."""

    def __init__(self, file: str, column: str | None) -> None:
        import pyarrow.parquet

        self._file = pyarrow.parquet.ParquetFile(opened(file))
        self._column = column_of(self._file.schema_arrow, column, file)
        groups = (self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups))
        self._starts = [0, *accumulate(groups)]
        self._group, self._cells = -1, None

    def read(self, row: int) -> bytes:
        """The cell of a row."""
        group = bisect_right(self._starts, row) - 1
        if group != self._group:
            self._cells = self._file.read_row_group(group, columns=[self._column]).column(0)
            self._group = group
        assert self._cells is not None
        cell = self._cells[row - self._starts[group]].as_py()
        data = next(iter(cell.values())) if isinstance(cell, dict) else cell
        if data is None:
            raise ImageError("The cell is empty.")
        return bytes(data)


def column_of(schema: Any, wanted: str | None, place: str) -> str:
    """The column of bytes in a Parquet file: `image`, or `image.bytes` in tables of Hugging Face."""
    from pyarrow import types

    columns: dict[str, Any] = {}
    for field in schema:
        if types.is_struct(field.type):
            columns |= {f"{field.name}.{inner.name}": inner.type for inner in field.type}
        else:
            columns[field.name] = field.type
    of_bytes = [name for name, kind in columns.items() if types.is_binary(kind) or types.is_large_binary(kind)]
    chosen = [name for name in of_bytes if wanted in (None, name, name.rpartition(".")[0])]
    if len(chosen) != 1:
        asked = f"no column {quote(wanted)} of bytes" if wanted else f"{len(of_bytes)} columns of bytes"
        known = f"It has {', '.join(of_bytes)}; choose one with --column" if of_bytes else "Pictures must be bytes"
        raise ConfigError(f"{quote(place)} has {asked}. {known}.")
    return chosen[0]


def open_video(place: str) -> VideoSource:
    """A video file, or a copy of a URL that lasts as long as the source."""
    if not is_url(place):
        return VideoSource(Path(place).expanduser(), 0.0, None)
    copy = tempfile.NamedTemporaryFile(prefix="xpose-", suffix=ending(place))  # noqa: SIM115
    with opened(place) as file:
        shutil.copyfileobj(file, copy)
    copy.flush()
    source = VideoSource(Path(copy.name), 0.0, None)
    weakref.finalize(source, copy.close)
    return source


class _Video:
    """A video that is read forwards."""

    def __init__(self, file: str) -> None:
        self._source = open_video(file)
        self._items: Iterator[Frame | SkippedFrames] = iter(())
        self._item: Frame | SkippedFrames | None = None

    def read(self, number: int) -> np.ndarray:
        """The pixels of a frame."""
        at = None if self._item is None else self._item.number
        if at is None or not at <= number < at + _NEAR:
            self._items = self._source.frames_from(number)
            self._item = next(self._items, None)
        while self._item is not None and self._item.number < number:
            self._item = next(self._items, None)
        if not isinstance(self._item, Frame) or self._item.number != number or self._item.pixels is None:
            reason = self._item.reason if isinstance(self._item, SkippedFrames) else "missing"
            raise ImageError(f"The frame is {reason}.")
        return self._item.pixels
