"""Time the web demo: from `xpose demo` to the page, and from words to their results.

    python benchmarks/demo.py                      # xpose-nano with fixed random weights, as fast as trained ones
    python benchmarks/demo.py --weights FOLDER     # your own weights

The page counts as loaded when its address returns all of it. A result is timed from the click to the finished page
parts, without the transfer to the browser; the picture is 640 pixels long.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xpose import load
from xpose.demo.controller import BY_WORDS, Controller
from xpose.model import presets
from xpose.model.checkpoints.pretrained import save_pretrained

WORDS = "person"


def start_seconds(weights: str) -> float:
    """Seconds from the command to the page, in a fresh process."""
    words = [sys.executable, "-m", "xpose", "demo", "-p", weights, "--port", "0"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        try:
            assert run.stdout is not None
            address = next(filter(None, (re.search(r"http://\S+/", line) for line in run.stdout)))[0]
            opener.open(address, timeout=300).read()
            return time.perf_counter() - began
        finally:
            run.send_signal(signal.SIGINT)


def answer_seconds(weights: str, runs: int) -> list[float]:
    """Seconds per result; the first is extra."""
    controller = Controller(load(weights))
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.jpg"
        Image.fromarray(noise).save(path)
        for _ in range(runs + 1):
            began = time.perf_counter()
            uploads = [(str(path), path.name)]
            controller.run(controller.session("page"), lambda *_: None, uploads, BY_WORDS, WORDS, None, "")
            seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="weight folder; left out: xpose-nano, random")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = asked.weights
        if weights is None:
            torch.manual_seed(0)
            weights = str(save_pretrained(presets.xpose_nano().eval(), Path(folder) / "xpose-nano"))
        starts = [start_seconds(weights) for _ in range(asked.starts)]
        first, *rest = answer_seconds(weights, asked.runs)
    print(f"{asked.threads} threads, load average {os.getloadavg()[0]:.1f}")
    print(f"from the command to the page: median {statistics.median(starts):.2f} s, slowest {max(starts):.2f} s")
    print(
        f'answer to "{WORDS}", 640 x 480: median {statistics.median(rest):.2f} s, slowest {max(rest):.2f} s, '
        f"the first {first:.2f} s"
    )


if __name__ == "__main__":
    main()
