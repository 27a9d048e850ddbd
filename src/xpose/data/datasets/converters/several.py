"""For originals with one annotation file per object, where one picture has several of them."""

from __future__ import annotations

from collections.abc import Iterable

from xpose.data.datasets.sources import Source

Stamped = tuple[str, int, int]


def stamped(source: Source, files: Iterable[str]) -> tuple[Stamped, ...]:
    """The files' names with size and time, as the data of one `Entry`, so that a changed file is read again."""
    found = []
    for file in files:
        status = source.path(file).stat()
        found.append((file, status.st_size, status.st_mtime_ns))
    return tuple(found)
