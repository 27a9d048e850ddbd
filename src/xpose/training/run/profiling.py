"""A PyTorch trace of a few training steps: where their time goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from xpose.pictures.atomic import write_atomically

WARM_UP, TRACED = 2, 3  # steps


@contextmanager
def traced(path: Path | None, device: torch.device) -> Iterator[Callable[[], None]]:
    """Trace three steps, after two that are not typical, into a file for https://ui.perfetto.dev; None traces nothing.

    Yields a function to be called after every step. A run that ends earlier leaves the trace of the steps it had.

    Raises:
        XPoseError: the file cannot be written.
    """
    if path is None:
        yield lambda: None
        return
    from torch.profiler import ProfilerActivity, profile, schedule

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    steps = schedule(wait=WARM_UP - 1, warmup=1, active=TRACED, repeat=1)

    def write(profiler: profile) -> None:
        write_atomically(path, lambda temporary: profiler.export_chrome_trace(str(temporary)))

    with profile(activities=activities, schedule=steps, on_trace_ready=write) as profiler:
        yield profiler.step
