"""Time `xpose detect` on a folder of photographs: `python benchmarks/folder.py`.

    python benchmarks/folder.py --pictures 200 --repeats 3 --threads 2

The folder holds copies of scikit-image's photographs as JPEG files, 640 pixels wide. The time runs from the files to
the written JSON (or, with --drawings, to JSON and drawings), including loading the weights, in a process that has
imported everything. The engines take turns, and so does PyTorch without look-ahead, where one thread does everything.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

from xpose.pictures.ahead import called

WIDTH = 640


class Immediate(ThreadPoolExecutor):
    """Runs everything at once in the thread that asks for it."""

    def submit(self, function: Callable[..., Any], /, *given: Any, **options: Any) -> Future[Any]:
        """The finished future of a call."""
        return called(function, *given, **options)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--words", default="person")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--drawings", action="store_true", help="write drawings too")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # read by ONNX Runtime's sessions
    import torch

    from xpose import cli
    from xpose.cli import _picture_loop
    from xpose.pictures import ahead

    torch.set_num_threads(given.threads)
    torch_only = ["--dtype", "float32"]
    variants: dict[str, tuple[list[str], Any]] = {
        "ONNX Runtime": ([], ThreadPoolExecutor),
        "PyTorch": (torch_only, ThreadPoolExecutor),
        "PyTorch, one after the other": (torch_only, Immediate),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "in", given.pictures)
        place = ["-o", str(folder / "out")] if given.drawings else []

        def run(pictures: Path, options: list[str]) -> float:
            start = time.perf_counter()
            with (folder / "poses.json").open("w") as file, redirect_stdout(file):
                failed = cli.main(["detect", str(pictures), "-t", given.words, "--quiet", "--json", *place, *options])
            if failed:
                sys.exit("xpose detect failed.")
            return time.perf_counter() - start

        for options in ([], torch_only):
            run(next((folder / "in").iterdir()), options)
        for _ in range(given.repeats):
            for which, (options, executor) in variants.items():
                _picture_loop.ThreadPoolExecutor = ahead.ThreadPoolExecutor = executor  # type: ignore[misc]
                rates[which].append(given.pictures / run(folder / "in", options))
    for which, values in rates.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"{which:<30} {statistics.median(values):6.2f} pictures/s (median of {shown})")


def write_pictures(folder: Path, count: int) -> None:
    """Copies of the photographs in several sizes."""
    try:
        from skimage import data
    except ImportError:
        sys.exit('The photographs come with scikit-image, which is missing: pip install "xpose[examples]"')
    folder.mkdir()
    photographs = [Image.fromarray(array) for array in (data.astronaut(), data.chelsea(), data.coffee())]
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        size = (WIDTH, round(photograph.height * WIDTH / photograph.width))
        photograph.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)


if __name__ == "__main__":
    main()
