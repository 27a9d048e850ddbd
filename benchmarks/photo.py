"""Time one photograph from its file to the result with the bundled weights: `python benchmarks/photo.py`.

    python benchmarks/photo.py --threads 2 --repeats 15
    python benchmarks/photo.py --weights weights/mine --words person,face,dog

It measures a picture in a program that has loaded the network (median of the repeats, alternating the words), and the
whole command `xpose detect` in a fresh process, with its peak memory. The photograph is scikit-image's astronaut, as a
JPEG file of 512×512 pixels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="others than those that come with xpose")
    parser.add_argument("--words", default="person,face,dog", help="objects to look for, one at a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--starts", type=int, default=3, help="runs of the whole command")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "astronaut.jpg"
        _photograph().save(picture, quality=95)
        words = given.words.split(",")
        for word, times in loaded(picture, words, given.weights, given.threads, given.repeats).items():
            middle = statistics.median(times)
            print(f"{word:<10} {1000 * middle:6.0f} ms, {1 / middle:5.1f} pictures/s (median of {len(times)})")
        for seconds, busy, megabytes in whole(picture, words[0], given.weights, given.threads, given.starts):
            print(
                f"xpose detect -t {words[0]}: {seconds:.1f} s from start to end, {busy:.1f} s of processor time, "
                f"at most {megabytes:.0f} MB"
            )


def _photograph() -> Image.Image:
    try:
        from skimage import data
    except ImportError:
        sys.exit('The photograph comes with scikit-image, which is missing: pip install "xpose[examples]"')
    return Image.fromarray(data.astronaut())


def loaded(picture: Path, words: list[str], weights: str | None, threads: int, repeats: int) -> dict[str, list[float]]:
    """Seconds from the file to the result in a process that has loaded the network, by word."""
    import torch

    import xpose

    torch.set_num_threads(threads)
    detector = xpose.load(weights)
    print(f"{detector.name}, {torch.get_num_threads()} threads")
    found: dict[str, list[float]] = {word: [] for word in words}
    for number in range(repeats + 2):
        for word in words:
            start = time.perf_counter()
            detector.detect(picture, word)
            if number >= 2:  # the first ones encode the words and warm the caches
                found[word].append(time.perf_counter() - start)
    return found


def whole(picture: Path, word: str, weights: str | None, threads: int, starts: int) -> list[tuple[float, float, float]]:
    """Seconds, seconds of processor time, and megabytes of the command in fresh processes."""
    command = [sys.executable, "-m", "xpose", "detect", str(picture), "-t", word, "-o", str(picture.parent / "out")]
    command += ["-p", weights] if weights else []
    values = []
    for _ in range(starts):
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"{' '.join(command)} failed.")
        values.append((time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024))
    return values


if __name__ == "__main__":
    main()
