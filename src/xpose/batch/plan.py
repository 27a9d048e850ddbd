"""The plan of a run: all its pictures in a Parquet file, in which each group of rows is a shard.

It is written once, before the first picture is read. A shard is therefore always the same pictures, whatever is added
to the inputs, and whoever processes it.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xpose.batch.listing import Entry
from xpose.errors import ImageError, first_line, missing_extra, quote
from xpose.pictures.atomic import write_atomically


def pyarrow() -> Any:
    """The module, with `pyarrow.parquet`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("xpose batch", "pyarrow", "batch") from None
    return pyarrow


class Plan:
    """A plan, from its file or its bytes.

    Attributes:
        pictures: their number.
        shards: their number.
    """

    def __init__(self, source: Path | np.ndarray) -> None:
        arrow = pyarrow()
        self._file = arrow.parquet.ParquetFile(source if isinstance(source, Path) else arrow.BufferReader(source))
        self.pictures: int = self._file.metadata.num_rows
        self.shards: int = self._file.num_row_groups

    def size(self, shard: int) -> int:
        """The number of pictures in a shard."""
        return int(self._file.metadata.row_group(shard).num_rows)

    def entries(self, shard: int) -> list[Entry]:
        """The pictures in a shard."""
        columns = self._file.read_row_group(shard).to_pydict()
        columns["file"] = [os.fsdecode(name) for name in columns["file"]]
        return [Entry(*cells) for cells in zip(*columns.values(), strict=True)]


def write_plan(path: Path, entries: Iterable[Entry], size: int, tell: Callable[[int], None]) -> int:
    """Write a plan with shards of `size` pictures, and return how many entries were left out: those listed before.

    `tell` is called with the number of pictures so far.
    """
    seen = array("q")

    def told() -> Iterator[Entry]:
        try:
            for number, entry in enumerate(entries, start=1):
                seen.append(_digest(entry))
                yield entry
                if number % 1000 == 0:
                    tell(number)
        except OSError as error:  # not one of writing
            reason = f"{quote(error.filename or 'An input')} cannot be listed ({error.strerror or first_line(error)})"
            raise ImageError(f"{reason}. Check the path and its permissions.") from None

    draft = path.with_name(f".{path.name}.draft")
    try:
        write_atomically(draft, lambda place: _write(place, told(), size))
        values, counts = np.unique(np.frombuffer(seen, np.int64), return_counts=True)
        repeated = set(values[counts > 1].tolist())
        if not repeated:
            os.replace(draft, path)
            return 0
        plan = Plan(draft)
        listed = (entry for shard in range(plan.shards) for entry in plan.entries(shard))
        write_atomically(path, lambda place: _write(place, _once(listed, repeated), size))
        return plan.pictures - Plan(path).pictures
    finally:
        draft.unlink(missing_ok=True)


def _digest(entry: Entry) -> int:
    place = f"{entry.file}\0{entry.kind}\0{entry.at}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "little", signed=True)


def _once(entries: Iterable[Entry], repeated: set[int]) -> Iterator[Entry]:
    known = set[tuple[str, str, int]]()
    for entry in entries:
        place = (entry.file, entry.kind, entry.at)
        if _digest(entry) in repeated:
            if place in known:
                continue
            known.add(place)
        yield entry


def _write(path: Path, entries: Iterator[Entry], size: int) -> None:
    arrow = pyarrow()
    text, whole = arrow.string(), arrow.int64()
    kinds = {"key": text, "kind": text, "file": arrow.binary(), "at": whole, "size": whole, "error": text}
    schema = arrow.schema(list(kinds.items()))
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := list(islice(entries, size)):
            columns = dict(zip(Entry._fields, zip(*rows, strict=True), strict=True))
            columns["file"] = tuple(os.fsencode(name) for name in columns["file"])
            arrays = [arrow.array(columns[name], kind) for name, kind in kinds.items()]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema), row_group_size=size)
