"""The process of one contestant: `python -m benchmarks.peers.child` (started by `measuring.py`).

The first line of its input is JSON: the system, its settings, the number of threads and the pictures. It answers with a
line when the first result is there. Every further line holds the number of a picture and a number of calls, and is
answered with the seconds of each call; the line "usage" with the memory and processor time used so far.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Measure what the parent asks for."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print goes to the log
    order = json.loads(sys.stdin.readline())
    _pin(order["threads"])
    import numpy as np
    from benchmarks.peers.systems import SYSTEMS
    from PIL import Image

    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in order["pictures"]]
    measured = SYSTEMS[order["system"]](**order["settings"])
    _limit_torch(order["threads"])
    _answer(answers, found=measured(pictures[0]))
    for line in sys.stdin:
        if line == "usage\n":
            _answer(answers, megabytes=_peak_megabytes(), processor=time.process_time(), versions=_versions())
            continue
        number, calls = map(int, line.split())
        picture, seconds, found = pictures[number % len(pictures)], [], None
        for _ in range(calls):
            start = time.perf_counter()
            found = measured(picture)
            seconds.append(time.perf_counter() - start)
        _answer(answers, seconds=seconds, found=found)


def _answer(answers: TextIO, **values: Any) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


def _pin(threads: int) -> None:
    """Stay on the first cores, because not every library can be told how many threads to use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _limit_torch(threads: int) -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _peak_megabytes() -> float | None:
    """The largest resident memory so far; None where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def _versions() -> dict[str, str]:
    """The versions of the packages that matter and are in use."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "mediapipe") if name in sys.modules}


if __name__ == "__main__":
    main()
