"""PyTorch traces of what a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xpose.pictures.atomic import write_atomically


@contextmanager
def profiled(file: Path | None, *, skipped: int = 0, steps: int = 0) -> Iterator[Callable[[], None]]:
    """Write a JSON trace for chrome://tracing or https://ui.perfetto.dev; does nothing if `file` is None.

    With `steps`, only that many steps are traced, after `skipped` others (at least 1). The yielded function has
    to be called after every step; if there are fewer steps, the trace contains those that ran.

    Raises:
        XPoseError: the file cannot be written.
    """
    if file is None:
        yield lambda: None
        return
    import torch
    from torch.profiler import ProfilerActivity, profile, schedule

    def write(profiler: profile) -> None:
        write_atomically(file, lambda path: profiler.export_chrome_trace(str(path)))

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    plan = schedule(wait=skipped - 1, warmup=1, active=steps, repeat=1) if steps else None
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler:
        yield profiler.step
