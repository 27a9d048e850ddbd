"""Stage 1: the pictures in the sources of a run, in an order that is the same every time."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from xpose.batch.places import ending, expanded, file_system, is_url, opened
from xpose.batch.reading import column_of, open_video
from xpose.errors import ConfigError, ImageError, MissingExtraError, first_line, missing_extra, quote
from xpose.pictures import PICTURE_ENDINGS, VIDEO_ENDINGS

Kind = Literal["file", "tar", "parquet", "video", "unreadable"]
_COMPRESSED = (".gz", ".tgz", ".zip", ".zst", ".bz2", ".xz", ".7z", ".rar")
_LISTS = (".txt", ".lst")
_BLOCK = 512  # bytes of a header in a tar file


class Entry(NamedTuple):
    """One picture of a run, and where it is; or an input that cannot be read, and why."""

    key: str  # unique, the same in every run
    kind: Kind
    file: str  # absolute, or a URL
    at: int = 0  # the offset in a tar file, the row of a Parquet file, the frame of a video
    size: int | None = None  # bytes of a member of a tar file
    error: str | None = None


def list_entries(words: Sequence[str], every: int, column: str | None, apart: Path) -> Iterator[Entry]:
    """All pictures that the words of a command line stand for.

    Args:
        words: folders, patterns, files or URLs; see docs/batch.md.
        every: take every n-th frame of videos.
        column: of Parquet files; None finds it.
        apart: a folder that is no input, because results are written there.

    Raises:
        ImageError: a word stands for nothing.
        ConfigError: the column is unclear, or a file is of a kind that cannot be read.
    """
    for word in words:
        listed = False
        for place, named in expanded(word, apart):
            for entry in _in_file(place, named, every, column):
                listed = True
                yield entry
        if not listed:
            raise ImageError(
                f"There are no pictures in {quote(word)}. Inputs are pictures, folders, patterns, lists (.txt), .tar "
                "and .parquet files, and videos."
            )


def _in_file(place: str, named: bool, every: int, column: str | None) -> Iterator[Entry]:
    """The pictures in one file; one that was found in a folder or by a pattern may be something else."""
    kind = ending(place)
    if kind in _LISTS and named:
        with io.TextIOWrapper(opened(place), "utf-8-sig", "surrogateescape") as lines:
            for line in map(str.strip, lines):
                if line and not line.startswith("#"):
                    yield from _in_container(line, every, column) or [_file(line)]
        return
    if kind in _COMPRESSED and named:
        raise ConfigError(f"{quote(place)} is compressed. Pictures are read from any place in a file: unpack it first.")
    if (within := _in_container(place, every, column)) is not None:
        yield from within
    elif named or kind in PICTURE_ENDINGS:
        yield _file(place)


def _in_container(place: str, every: int, column: str | None) -> Iterator[Entry] | None:
    """The pictures in a file with several; None for other files."""
    kind = ending(place)
    if kind == ".tar":
        return _guarded(place, _members(place))
    if kind == ".parquet":
        return _guarded(place, _rows(place, column))
    return _guarded(place, _frames(place, every)) if kind in VIDEO_ENDINGS else None


def _file(place: str) -> Entry:
    return Entry(_key(place), "file", _absolute(place))


def _key(place: str) -> str:
    """The name of a picture; bytes that are no UTF-8 are written as escapes."""
    return place.encode("utf-8", "backslashreplace").decode()


def _absolute(place: str) -> str:
    """The place for processes that run elsewhere."""
    if is_url(place):
        file_system(place)  # says early what is missing
        return place
    return os.path.abspath(os.path.expanduser(place))


def _guarded(place: str, entries: Iterator[Entry]) -> Iterator[Entry]:
    """The entries, and one for what cannot be read after them."""
    try:
        yield from entries
    except (MissingExtraError, ConfigError):
        raise
    except Exception as error:  # readers raise errors of every kind for damaged files
        yield Entry(_key(place), "unreadable", _absolute(place), error=f"It cannot be listed ({first_line(error)}).")


def _members(place: str) -> Iterator[Entry]:
    file, names = _absolute(place), set[str]()
    with opened(place) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps all of them
            name = member.name
            hidden = name.rpartition("/")[2].startswith(".")
            if not member.isreg() or member.sparse is not None or hidden or ending(name) not in PICTURE_ENDINGS:
                continue
            key = _key(f"{place}#{name}" if name not in names else f"{place}#{name}@{member.offset_data}")
            names.add(name)
            yield Entry(key, "tar", file, member.offset_data, member.size)
        stream.seek(tar.offset)
        if stream.read(_BLOCK).strip(b"\0"):
            raise ImageError(f"what follows byte {tar.offset:,} is no part of a tar file")


def _rows(place: str, column: str | None) -> Iterator[Entry]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("Reading Parquet files", "pyarrow", "batch") from None
    file = _absolute(place)
    with opened(place) as stream:
        table = pyarrow.parquet.ParquetFile(stream)
        column_of(table.schema_arrow, column, place)
        count = table.metadata.num_rows
    yield from (Entry(_key(f"{place}#{row}"), "parquet", file, row) for row in range(count))


def _frames(place: str, every: int) -> Iterator[Entry]:
    count = open_video(place).count
    file = _absolute(place)
    yield from (Entry(_key(f"{place}#{number}"), "video", file, number) for number in range(0, count, every))
