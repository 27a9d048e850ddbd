"""What takes pictures through the stages: in this process here, on Ray in `on_ray`."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from typing import NamedTuple

from xpose.batch.listing import Entry
from xpose.batch.plan import Plan
from xpose.batch.stages import CHUNK, Decode, Detect, Rows
from xpose.model.graph_files import cpu_threads
from xpose.pictures.ahead import ahead

_MOST_READERS = 4


class Chunk(NamedTuple):
    """Pictures of one shard that go through the stages together."""

    shard: int
    start: int
    entries: list[Entry]


def chunks(plan: Plan, shards: list[int]) -> Iterator[Chunk]:
    """The chunks of these shards."""
    for shard in shards:
        entries = plan.entries(shard)
        for start in range(0, len(entries), CHUNK):
            yield Chunk(shard, start, entries[start : start + CHUNK])


def run_locally(plan: Plan, shards: list[int], decode: Decode, detect: Detect) -> Generator[Rows]:
    """The results of these shards, in order: threads read a few chunks ahead of the network."""
    readers = min(_MOST_READERS, cpu_threads())
    with (
        warnings.catch_warnings(),
        ahead(lambda chunk: decode(chunk.entries), chunks(plan, shards), readers, readers) as decoded,
        # With several calls at once, the next chunk begins while the last calls of this one end.
        ahead(lambda item: detect(*item[0], item[1].result()), decoded, 1, 2 if detect.calls > 1 else 0) as detected,
    ):
        warnings.simplefilter("ignore")  # threads cannot silence them one by one
        for _, rows in detected:
            yield rows.result()
