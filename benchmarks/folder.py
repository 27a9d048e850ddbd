"""Time `xpose detect` on a folder of photographs, with and without reading ahead: `python benchmarks/folder.py`.

    python benchmarks/folder.py --pictures 48 --repeats 3 --threads 2

The folder holds copies of scikit-image's photographs as JPEG files, in their own size, doubled and quadrupled. The time
runs from the files to the written drawings and JSON, including loading the weights, in a process that has imported
everything. Without look-ahead, one thread does everything.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

SCALES = (1, 2, 4)


class Immediate(ThreadPoolExecutor):
    """Runs everything at once in the thread that asks for it."""

    def submit(self, function: Callable[..., Any], /, *given: Any, **options: Any) -> Future[Any]:
        """The finished future of a call."""
        done: Future[Any] = Future()
        try:
            done.set_result(function(*given, **options))
        except Exception as error:
            done.set_exception(error)
        return done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--words", default="person")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    import torch

    from xpose import cli
    from xpose.cli import _picture_loop

    torch.set_num_threads(given.threads)
    executors = {"look-ahead": ThreadPoolExecutor, "one after the other": Immediate}
    rates: dict[str, list[float]] = {name: [] for name in executors}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "in", given.pictures)

        def run(pictures: Path) -> float:
            start = time.perf_counter()
            if cli.main(["detect", str(pictures), "-t", given.words, "-o", str(folder / "out"), "--quiet", "--json"]):
                sys.exit("xpose detect failed.")
            return time.perf_counter() - start

        run(next((folder / "in").iterdir()))
        for _ in range(given.repeats):
            for which, executor in executors.items():
                _picture_loop.ThreadPoolExecutor = executor  # type: ignore[misc]
                rates[which].append(given.pictures / run(folder / "in"))
    for which, values in rates.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"{which:<20} {statistics.median(values):6.2f} pictures/s (median of {shown})", file=sys.stderr)


def write_pictures(folder: Path, count: int) -> None:
    """Copies of the photographs in several sizes."""
    try:
        from skimage import data
    except ImportError:
        sys.exit('The photographs come with scikit-image, which is missing: pip install "xpose[examples]"')
    folder.mkdir()
    photographs = [Image.fromarray(array) for array in (data.astronaut(), data.chelsea(), data.coffee())]
    for number in range(count):
        photograph, scale = photographs[number % len(photographs)], SCALES[number // len(photographs) % len(SCALES)]
        larger = photograph.resize((photograph.width * scale, photograph.height * scale), Image.Resampling.BICUBIC)
        larger.save(folder / f"{number}.jpg", quality=90)


if __name__ == "__main__":
    main()
