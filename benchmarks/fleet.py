"""How long `xpose batch` takes on many machines: a simulation of workers, storage and driver (docs/scale.md).

    python benchmarks/fleet.py                                   # ten million pictures, undisturbed and disturbed
    python benchmarks/fleet.py --workers 400 --seconds 0.02      # other workers: their number, and seconds per picture
    python benchmarks/fleet.py --measure 400                     # what a picture costs on this machine

Workers take chunks of pictures, and read the next chunk while they work on one. The storage sends one chunk after the
other, and the driver takes the results one after the other. A worker that is preempted loses its chunks, and others do
them again.
"""

from __future__ import annotations

import argparse
import heapq
import math
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fleet:
    """What is simulated; times in seconds.

    Attributes:
        pictures, chunk: their number, in all and in a chunk.
        workers: processes with the network, each with a core.
        seconds: for a picture, with its decoding.
        spread: standard deviation of the time for a chunk, as a share of it.
        start: from the start of a worker to its first chunk.
        slow, slowness: the share of workers that are slower, and how many times.
        lifetime, absence: of a worker until it is preempted, on average; then until its successor starts.
        failure: the share of attempts at a chunk that fail at their end.
        picture_bytes, bandwidth: to read; bytes per second of the storage, for all workers together.
        driver: for the driver to take and write the results of a picture.
    """

    pictures: int = 10_000_000
    chunk: int = 16
    workers: int = 100
    seconds: float = 0.076
    spread: float = 0.0
    start: float = 0.0
    slow: float = 0.0
    slowness: float = 3.0
    lifetime: float = math.inf
    absence: float = 0.0
    failure: float = 0.0
    picture_bytes: float = 100_000.0
    bandwidth: float = math.inf
    driver: float = 0.0


@dataclass
class Outcome:
    """The time until everything is written, the attempts at chunks, and the workers that were lost."""

    seconds: float = 0.0
    attempts: int = 0
    preempted: int = 0


@dataclass
class Worker:
    """A worker: how much slower it is, the number of its life, and its chunks."""

    pace: float
    life: int = 0
    current: int | None = None
    following: int | None = None
    read: bool = False  # whether the following chunk has arrived


class Simulation:
    """Discrete events: each is a time and what happens to a worker then."""

    def __init__(self, fleet: Fleet, seed: int = 0) -> None:
        self.fleet, self.chance = fleet, np.random.default_rng(seed)
        self.now = self.storage_free = self.driver_free = 0.0
        self.waiting = deque(range(math.ceil(fleet.pictures / fleet.chunk)))
        self.unfinished, self.planned, self.outcome = len(self.waiting), 0, Outcome()
        self.workers = [
            Worker(fleet.slowness if slow else 1.0) for slow in self.chance.random(fleet.workers) < fleet.slow
        ]
        self.idle: set[int] = set()
        self.events: list[tuple[float, int, Callable[[int], None], int, int]] = []

    def run(self) -> Outcome:
        """Simulate until every chunk is written."""
        for number in range(len(self.workers)):
            self.after(self.fleet.start, self.begin, number)
        while self.unfinished:
            self.now, _, happen, number, life = heapq.heappop(self.events)
            if life == self.workers[number].life:  # not of a worker that was preempted since
                happen(number)
        self.outcome.seconds = max(self.now, self.driver_free)
        return self.outcome

    def after(self, seconds: float, happen: Callable[[int], None], number: int) -> None:
        """Plan what happens to a worker."""
        self.planned += 1  # equal times happen in the order of planning
        heapq.heappush(self.events, (self.now + seconds, self.planned, happen, number, self.workers[number].life))

    def begin(self, number: int) -> None:
        """A worker is ready."""
        if self.fleet.lifetime < math.inf:
            self.after(self.chance.exponential(self.fleet.lifetime), self.preempt, number)
        self.order(number)

    def order(self, number: int) -> None:
        """A worker asks the storage for its following chunk."""
        worker = self.workers[number]
        if worker.following is not None:
            return
        if not self.waiting:
            self.idle.add(number)
            return
        worker.following, worker.read = self.waiting.popleft(), False
        seconds = self.fleet.chunk * self.fleet.picture_bytes / self.fleet.bandwidth
        self.storage_free = max(self.now, self.storage_free) + seconds
        self.after(self.storage_free - self.now, self.arrive, number)

    def arrive(self, number: int) -> None:
        """The following chunk of a worker is there."""
        self.workers[number].read = True
        self.work(number)

    def work(self, number: int) -> None:
        """A worker begins its following chunk, if it can."""
        worker = self.workers[number]
        if worker.current is None and worker.following is not None and worker.read:
            worker.current, worker.following = worker.following, None
            self.outcome.attempts += 1
            seconds = self.fleet.chunk * self.fleet.seconds * worker.pace
            if self.fleet.spread:
                sigma = math.sqrt(math.log1p(self.fleet.spread**2))
                seconds *= self.chance.lognormal(-(sigma**2) / 2, sigma)
            self.after(seconds, self.finish, number)
            self.order(number)

    def finish(self, number: int) -> None:
        """An attempt ends; the driver writes the chunk if it has succeeded."""
        worker = self.workers[number]
        if self.chance.random() < self.fleet.failure:
            self.again(worker.current)
        else:
            self.unfinished -= 1
            self.driver_free = max(self.now, self.driver_free) + self.fleet.chunk * self.fleet.driver
        worker.current = None
        self.order(number)
        self.work(number)

    def again(self, chunk: int) -> None:
        """A chunk waits again; a worker without work takes it."""
        self.waiting.append(chunk)
        if self.idle:
            self.order(self.idle.pop())

    def preempt(self, number: int) -> None:
        """A worker is lost, and its successor starts after a while."""
        worker = self.workers[number]
        lost = [chunk for chunk in (worker.current, worker.following) if chunk is not None]
        worker.current, worker.following, worker.life = None, None, worker.life + 1
        self.idle.discard(number)
        self.outcome.preempted += 1
        self.after(self.fleet.absence + self.fleet.start, self.begin, number)
        for chunk in lost:
            self.again(chunk)


HOUR = 3600.0
DISTURBANCES: dict[str, dict[str, float]] = {
    "undisturbed": {},
    "times of chunks vary by 20 %": {"spread": 0.2},
    "5 % of the workers are three times slower": {"slow": 0.05},
    "preempted every four hours, five minutes without": {"lifetime": 4 * HOUR, "absence": 300.0},
    "1 % of the attempts fail": {"failure": 0.01},
    "storage of 100 MB/s": {"bandwidth": 100e6},
    "the driver takes 1,000 pictures per second": {"driver": 0.001},
}


def table(fleet: Fleet) -> Iterator[str]:
    """Each disturbance alone, and all together."""
    ideal = fleet.pictures * fleet.seconds / fleet.workers
    everything = {name: value for changes in DISTURBANCES.values() for name, value in changes.items()}
    for title, changes in {**DISTURBANCES, "all of these": everything}.items():
        outcome = Simulation(replace(fleet, **changes)).run()
        hours, share = outcome.seconds / HOUR, ideal / outcome.seconds
        yield f"{title:<50} {hours:7.2f} h {share:6.1%} {outcome.attempts:>9,} {outcome.preempted:>6,}"


def measure(pictures: int) -> Iterator[str]:
    """What a picture costs in each stage of `xpose batch`, on one core."""
    import xpose
    from batch import write_pictures  # the benchmark next to this file
    from xpose.batch.listing import list_entries
    from xpose.batch.plan import write_plan
    from xpose.batch.results import ResultsFolder
    from xpose.batch.runners import chunks
    from xpose.batch.stages import Decode, Detect
    from xpose.inference.options import DetectionOptions

    detector, seconds = xpose.load(), dict.fromkeys(("encode the prompt, once", "decode", "network", "driver"), 0.0)

    def timed(stage: str, work: Callable[..., Any], *given: Any) -> Any:
        began = time.perf_counter()
        result = work(*given)
        seconds[stage] += time.perf_counter() - began
        return result

    classes = timed("encode the prompt, once", detector.encode_prompts, "person")
    config, found = detector.engine.config, []
    decode, detect = Decode(config.image_short, config.image_long), Detect(detector, classes, DetectionOptions())
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name, "in"), pictures, 0.0)
        entries = list_entries([str(Path(name, "in"))], 1, None, Path(name, "out"))
        Path(name, "out").mkdir()
        folder = ResultsFolder(
            Path(name, "out"), {}, lambda path: write_plan(path, entries, pictures // 4, lambda done: None)
        )
        for chunk in chunks(folder.plan, folder.pending):
            images = timed("decode", decode, chunk.entries)
            found.append(timed("network", detect, *chunk, images))
        for rows in found:
            timed("driver", folder.add, rows)
        size = sum(path.stat().st_size for path in Path(name, "out", "shards").iterdir())
    for stage, total in seconds.items():
        each = total if "once" in stage else total / pictures
        yield f"{stage:<24} {1000 * each:8.2f} ms"
    objects = sum(rows.objects for rows in found)
    yield f"results: {size / pictures:.0f} bytes for a picture, with {objects / pictures:.2f} objects of 17 keypoints"


def main() -> None:
    """Simulate or measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=Fleet.pictures)
    parser.add_argument("--chunk", type=int, default=Fleet.chunk)
    parser.add_argument("--workers", type=int, default=Fleet.workers)
    parser.add_argument("--seconds", type=float, default=Fleet.seconds, help="for a picture, in a worker")
    parser.add_argument("--start", type=float, default=30.0, help="seconds until a worker is ready")
    parser.add_argument("--picture-bytes", type=float, default=Fleet.picture_bytes)
    parser.add_argument("--measure", type=int, default=0, metavar="PICTURES", help="measure the stages instead")
    given = vars(parser.parse_args())
    if pictures := given.pop("measure"):
        os.environ["OMP_NUM_THREADS"] = "1"
        os.sched_setaffinity(0, {0})
        print(*measure(pictures), sep="\n")
        return
    print(f"{'':<50} {'time':>9} {'of ideal':>6} {'attempts':>8} {'lost':>6}")
    for line in table(Fleet(**given)):
        print(line)


if __name__ == "__main__":
    main()
