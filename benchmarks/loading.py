"""Pictures that one core loads per second, by stage, and the memory of a large collection's labels.

    python benchmarks/loading.py                      # 128 synthetic JPEGs of 640×480, frames of 256×256
    python benchmarks/loading.py --data ../shared/data --json out/loading.json

"per core" divides by the CPU time of one process without threads, in alternating rounds (A B C A B C ...), and
shows the median; "at once" is the wall-clock rate of workers. Everything is measured after one discarded round,
so files are read from the system's memory, not from a disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from xpose.data.loading.batches import Batch
from xpose.data.loading.loader import Loader, Prompting
from xpose.data.loading.pool import Pool, open_pool
from xpose.data.loading.transforms import Augmentation
from xpose.data.synthetic.scenes import generate
from xpose.pictures.decoding import encode_jpeg
from xpose.records import Category, Instance, Picture, Record
from xpose.vocabulary import load_skeleton

Measure = Callable[[int], int]  # from a round's number to its loaded pictures


def drawn(folder: Path, count: int) -> Pool:
    """Create synthetic JPEG files."""
    items = []
    for pixels, record in generate(seed=0, count=count, size=(640, 480)):
        path = folder / f"{len(items):06}.jpg"
        path.write_bytes(encode_jpeg(pixels, 90).tobytes())
        items.append((record, path))
    return Pool(items)


def by_step(loader: Loader, steps: int) -> Measure:
    def measure(turn: int) -> int:
        return sum(len(loader.batch(turn * steps + number)) for number in range(steps))

    return measure


def decoding(loader: Loader, scale: float) -> Measure:
    def measure(turn: int) -> int:
        for number in range(min(len(loader.pool), 64)):
            loader.pictures.read((turn * 64 + number) % len(loader.pool), scale)
        return min(len(loader.pool), 64)

    return measure


def cases(pool: Pool, size: int, batch: int, steps: int) -> dict[str, Measure]:
    """The measures by name."""
    words = Prompting(visual=0)
    full = Augmentation(size=size)

    def loader(augmentation: Augmentation, prompting: Prompting = words) -> Loader:
        return Loader(pool, batch=batch, augmentation=augmentation, prompting=prompting)

    def kept(form: str) -> Loader:
        made = loader(full)
        made.keep_pictures(4000, form=form)  # type: ignore[arg-type]
        return made

    return {
        "decode whole": decoding(loader(full), 1.0),
        "decode at half size or less": decoding(loader(full), 0.4),
        f"{size}², plain": by_step(loader(full.plain()), steps),
        f"{size}², augmented": by_step(loader(full), steps),
        f"{size}², augmented, mosaic and pasting 0.3": by_step(
            loader(Augmentation(size=size, mosaic=0.3, copy_paste=0.3)), steps
        ),
        f"{size}², augmented, copies kept as pixels": by_step(kept("pixels"), steps),
        f"{size}², augmented, copies kept as JPEG": by_step(kept("jpeg"), steps),
        f"{size}², augmented, 1 to 5 examples of 224²": by_step(loader(full, Prompting(visual=1)), steps),
        "short side 480 to 800": by_step(loader(Augmentation(size=None)), max(1, steps // 4)),
    }


def per_core(found: dict[str, Measure], repeats: int) -> dict[str, float]:
    """Pictures per second of CPU time: the median of the rounds."""
    rates: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(repeats + 1):
        for name, measure in found.items():
            start = time.process_time()
            count = measure(turn)
            if turn:
                rates[name].append(count / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def at_once(pool: Pool, size: int, batch: int, steps: int, workers: int) -> float:
    """Pictures per second of wall time, once the workers run."""
    loader = Loader(
        pool, batch=batch, augmentation=Augmentation(size=size), prompting=Prompting(visual=0), workers=workers
    )
    batches: Iterator[Batch] = loader.steps(0, 4 * workers + steps * max(1, workers))
    for _ in range(4 * workers):  # skip batches prepared while the workers started
        next(batches)
    start = time.perf_counter()
    count = sum(len(one) for one in batches)
    return count / (time.perf_counter() - start)


def large_collection(instances: int) -> tuple[float, float]:
    """Seconds to load the labels of that many objects, and megabytes they take afterwards."""
    skeleton = load_skeleton("ap10k")
    category = Category("animal", skeleton.name, skeleton.keypoints)
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 400, (64, len(skeleton), 2)).tolist()
    held = [
        Instance(
            category,
            (10.0, 10.0, 300.0, 200.0),
            {n: (x, y, 2) for n, (x, y) in zip(category.keypoints, p, strict=True)},
        )
        for p in places
    ]

    def records() -> Iterator[tuple[Record, Path]]:
        for number in range(instances // 2):
            name = f"pictures/{number:09}.jpg"
            pair = (held[number % 64], held[(number * 7) % 64])
            yield Record(Picture(name, 640, 480), pair, "big", "train", "none", "anatomical"), Path(f"/data/{name}")

    start = time.perf_counter()
    pool = Pool(records())
    seconds = time.perf_counter() - start
    arrays = [value for value in vars(pool).values() if isinstance(value, np.ndarray)]
    arrays += [array for texts in (pool._paths, pool._files) for array in (texts.content, texts.start)]
    return seconds, sum(array.nbytes for array in arrays) / 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a prepared set or a folder of sets instead of drawn pictures")
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help="of one round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instances", type=int, default=400_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    result: dict[str, object] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    with tempfile.TemporaryDirectory() as name:
        pool = open_pool([given.data]) if given.data else drawn(Path(name), given.pictures)
        rates = per_core(cases(pool, given.size, given.batch, given.steps), given.repeats)
        clock = {f"{n} workers": at_once(pool, given.size, given.batch, 3 * given.steps, n) for n in (0, 1, 2)}
    seconds, megabytes = large_collection(given.instances)
    for title, unit, rows in (
        ("Pictures per second and core", "pictures/s", rates),
        ("Pictures per second by the clock, augmented", "pictures/s", clock),
    ):
        table = Table("", unit, title=title)
        for row, value in rows.items():
            table.add_row(row, f"{value:.0f}")
        console.print(table)
    console.print(f"Labels of {given.instances:,} objects: {seconds:.1f} s to take in, {megabytes:.0f} MB")
    if given.json:
        result |= {"per_core": rates, "clock": clock, "labels": {"seconds": seconds, "megabytes": megabytes}}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
