"""The same stages on a Ray cluster: tasks decode, a pool of actors has the network, and the driver writes.

Ray starts tasks and actors again when a worker dies. A chunk that arrives twice counts once, and only the driver writes
shards, so that no worker needs the folder of results.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.batch.plan import Plan, pyarrow
from xpose.batch.stages import CHUNK, Decode, DetectSetup, Rows
from xpose.cluster import connected
from xpose.errors import ConfigError, XPoseError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 32 << 20  # bytes of decoded pictures in a block
_MOST_BLOCKS = 10_000  # of the input; Ray keeps a record of each
_OBJECTS = 2 << 30  # bytes of the object store of a cluster of our own
_DECODER = 0.5  # CPUs of a task that decodes


@dataclass(frozen=True)
class Workers:
    """How many actors have the network, at least and at most (None: as many as fit), and their share of a GPU."""

    least: int = 1
    most: int | None = None
    gpus: float = 0.0
    address: str | None = None  # of a cluster; None starts one on this machine


def run_on_ray(plan: Path, shards: list[int], decode: Decode, setup: DetectSetup, workers: Workers) -> Generator[Rows]:
    """The results of these shards, in any order.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no such cluster, this machine is too small, or a worker lacks something.
    """
    opened = Plan(plan)
    places = [(shard, start) for shard in shards for start in range(0, opened.size(shard), CHUNK)]
    with _cluster(workers) as (ray, most):
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.target_max_block_size = _BLOCK
        shared = ray.put((np.fromfile(plan, np.uint8), np.array(places, np.int64)))
        data = (
            ray.data.range(len(places), override_num_blocks=min(len(places), _MOST_BLOCKS))
            .map_batches(_decoded, fn_args=(shared, decode), batch_size=1, num_cpus=_DECODER)
            .map_batches(
                _Actor,
                fn_constructor_args=(setup,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(min_size=workers.least, max_size=most),
                num_cpus=1,
                num_gpus=workers.gpus,
            )
        )
        try:
            for row in data.iter_rows():
                if error := row.pop("error"):
                    raise ConfigError(f"A worker cannot go on. {error}")
                table = pyarrow().ipc.open_stream(row.pop("table")).read_all()
                yield Rows(**row, table=table)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1][:300]
            raise XPoseError(
                f"Ray stopped the run ({reason}). Finished shards are kept: repeat the command to go on."
            ) from error


@contextmanager
def _cluster(workers: Workers) -> Iterator[tuple[Any, int]]:
    """Ray, and the largest number of actors."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it prints what Ray Data does to its own actors
    cores = os.cpu_count() or 1
    cpus = (workers.most or cores) + 1 + cores // 4  # those beyond the actors' are for decoding
    options = {"num_cpus": cpus, "object_store_memory": _OBJECTS}
    with connected(workers.address, workers.least, workers.gpus, **options) as ray:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)  # the import sets another level
        resources = ray.cluster_resources()
        fitting = resources.get("GPU", 0) / workers.gpus if workers.gpus else resources.get("CPU", 0) - 1
        yield ray, workers.most or max(workers.least, int(fitting))


def _decoded(batch: dict[str, np.ndarray], shared: Any, decode: Decode) -> dict[str, Any]:
    """A task: a chunk with its decoded pictures, or an error that concerns all of them."""
    plan, places = _shared(shared)
    shard, start = places[int(batch["id"][0])].tolist()
    entries = _entries(plan, shard)[start : start + CHUNK]
    work = np.empty(1, object)
    try:
        work[0] = (shard, start, entries, decode(entries))
    except XPoseError as error:
        work[0] = str(error)
    return {"work": work}


@cache  # of one worker process, for one run
def _shared(reference: Any) -> tuple[Plan, np.ndarray]:
    import ray

    plan, places = ray.get(reference)
    return Plan(plan), places


@lru_cache(2)
def _entries(plan: Plan, shard: int) -> list[Any]:
    return plan.entries(shard)


class _Actor:
    """A process with the network. Users' errors are returned, because Ray prints several pages about those it sees."""

    def __init__(self, setup: DetectSetup) -> None:
        self._error = ""
        try:
            self._detect = setup.load()
        except XPoseError as error:
            self._error = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        work = batch["work"][0]
        error = work if isinstance(work, str) else self._error
        cells = dict.fromkeys(Rows._fields, 0) | {"table": b"", "error": error}
        if not error:
            rows = self._detect(*work)
            stream = pyarrow().BufferOutputStream()
            with pyarrow().ipc.new_stream(stream, rows.table.schema) as writer:
                writer.write_table(rows.table)
            cells |= rows._asdict() | {"table": stream.getvalue().to_pybytes()}
        return {name: [cell] for name, cell in cells.items()}
