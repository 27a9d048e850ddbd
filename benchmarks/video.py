"""Compare `xpose video` with `xpose detect`, and measure its memory: `python benchmarks/video.py`.

    python benchmarks/video.py speed --frames 150 --repeats 5 --threads 2
    python benchmarks/video.py memory --minutes 60 --fps 25
    python benchmarks/video.py memory --minutes 60 --fps 1 --network

`speed` runs both commands on the same frames: two of scikit-image's photographs that move over a third one. The time
includes loading the weights and writing all results. `memory` follows two objects through a long video and prints the
growth of the process's memory from a tenth of the run to its end. Without --network, the answers of the network are
made up, so that an hour takes minutes; everything else is real.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (640, 360)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--words", default="face")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--network", action="store_true")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        (measure_speed if given.what == "speed" else measure_memory)(Path(name), given)


def scene(number: int, fps: float = 25.0) -> Image.Image:
    """A frame in which two photographs move and cross each other."""
    try:
        from skimage import data
    except ImportError:
        sys.exit('The photographs come with scikit-image, which is missing: pip install "xpose[examples]"')
    if not PHOTOGRAPHS:
        woman = Image.fromarray(data.astronaut()).crop((130, 0, 330, 260)).resize((170, 221))
        cat = Image.fromarray(data.chelsea()).crop((60, 0, 400, 300)).resize((250, 221))
        PHOTOGRAPHS.extend([Image.fromarray(data.coffee()).resize(SIZE), cat, woman])
    background, cat, woman = PHOTOGRAPHS
    turn = 2 * np.pi * number / fps / 6
    across = 0.5 - 0.5 * np.cos(turn)
    frame = background.copy()
    frame.paste(cat, (int(SIZE[0] - 300 - (SIZE[0] - 320) * across), int(90 + 30 * np.cos(1.5 * turn))))
    frame.paste(woman, (int(50 + (SIZE[0] - 270) * across), int(60 + 40 * np.sin(2 * turn))))
    return frame


PHOTOGRAPHS: list[Image.Image] = []


def write_clip(path: Path, frames: int, fps: int, picture: Callable[[int], Image.Image], size: tuple[int, int]) -> None:
    """A video of these pictures."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            image = av.VideoFrame.from_image(picture(number))
            image.pts, image.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def measure_speed(folder: Path, given: argparse.Namespace) -> None:
    """Frames per second of both commands, which take turns."""
    from xpose import cli

    write_clip(folder / "clip.mp4", given.frames, 25, scene, SIZE)
    (folder / "frames").mkdir()
    for number in range(given.frames):
        scene(number).save(folder / "frames" / f"{number:06d}.jpg", quality=95)
    inputs = {"detect": folder / "frames", "video": folder / "clip.mp4"}
    rates: dict[str, list[float]] = {name: [] for name in inputs}
    cpu: dict[str, list[float]] = {name: [] for name in inputs}
    for turn in range(given.repeats + 1):
        for name, path in inputs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            words = [name, str(path), "-t", given.words, "-o", str(folder / f"{name}{turn}"), "--quiet"]
            with contextlib.redirect_stdout(sys.stderr):
                if cli.main(words):
                    sys.exit(f"xpose {name} failed.")
            if turn:  # the first turn imports
                rates[name].append(given.frames / (time.perf_counter() - start))
                cpu[name].append((time.process_time() - start_cpu) / given.frames)
    for name in inputs:
        shown = ", ".join(f"{value:.2f}" for value in rates[name])
        used = f"{1000 * statistics.median(cpu[name]):.0f} ms of processor time per frame"
        print(f"xpose {name:<7} {statistics.median(rates[name]):6.2f} frames/s (median of {shown}), {used}")
    print(f"ratio {statistics.median(rates['video']) / statistics.median(rates['detect']):.2f}")


class MadeUp:
    """A detector whose answers are two moving people, as VideoRun uses it."""

    name = "made up"

    def __init__(self, detector: Any) -> None:
        self.engine, self._number, self._detector = detector.engine, 0, detector

    def for_frames(self, classes: list[Any], options: Any) -> Any:
        """Prepare as the detector does, and answer without the network."""
        from xpose.results import Poses

        prepare, *_ = self._detector.for_frames(classes, options)
        names = classes[0].names
        random = np.random.default_rng(0)
        body = random.uniform(0, 1, (len(names.names), 2)) * (40, 80)

        def detect(prepared: Any) -> Poses:
            self._number += 1
            along = 60 * np.sin(self._number / 50 * np.array([1, -1]))
            xy = body + np.stack((160 + along, 60 + 0 * along), 1)[:, None] + random.normal(0, 1, (2, len(body), 2))
            return Poses(
                boxes=np.concatenate((xy.min(1), xy.max(1)), 1),
                scores=np.array([0.9, 0.8]),
                categories=(names.label,) * 2,
                xy=xy,
                keypoint_scores=random.uniform(0.5, 1, xy.shape[:2]),
                visibility=np.full(xy.shape[:2], 2),
                keypoint_names=(names.names,) * 2,
                canonical_names=(names.canonical,) * 2,
                edges=(names.edges,) * 2,
                image_size=prepared.size,
            )

        return prepare, detect, 1


def measure_memory(folder: Path, given: argparse.Namespace) -> None:
    """The growth of the resident memory over a long video with one distinct frame per second."""
    from xpose.cli.video import VideoRun
    from xpose.inference import DetectionOptions, load
    from xpose.video.pipeline import TrackOptions
    from xpose.video.sources import open_source

    size, frames = (320, 180), round(60 * given.minutes * given.fps)
    pictures = [scene(25 * second).resize(size) for second in range(60)]
    write_clip(folder / "long.mp4", frames, given.fps, lambda number: pictures[number // given.fps % 60], size)
    detector: Any = load()
    classes = detector.encode_prompts("person")
    if not given.network:
        detector = MadeUp(detector)
    source = open_source(folder / "long.mp4")
    run = VideoRun(source, detector, classes, DetectionOptions(), TrackOptions(smooth=True), folder, {"input": "long"})
    values: list[tuple[float, float]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            values.append((time.perf_counter(), resident()))

    watching = threading.Thread(target=watch)
    watching.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    run.go()
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    stop.set()
    watching.join()
    warm = [value for moment, value in values if moment - start <= 0.1 * seconds]
    rates = f"{frames / seconds:.1f}/s, {1000 * cpu / frames:.1f} ms of processor time"
    print(f"{frames:,} frames in {seconds:.0f} s ({rates})")
    shares = range(10, 101, 10)
    curve = [max(value for moment, value in values if moment - start <= share / 100 * seconds) for share in shares]
    print("memory after 10, 20, ... 100 % of the time:", ", ".join(f"{value:.0f}" for value in curve), "MB")
    print(f"memory: {warm[-1]:.0f} MB after a tenth, at most {max(value for _, value in values):.0f} MB,", end=" ")
    print(f"growth {max(value for _, value in values) - warm[-1]:.0f} MB")


def resident() -> float:
    """The resident memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


if __name__ == "__main__":
    main()
