"""PyTorch traces of what a command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from xpose.pictures.atomic import write_atomically


@contextmanager
def profiled(file: Path | None) -> Iterator[None]:
    """Write a trace of what runs inside to a JSON file, which chrome://tracing and Perfetto show; None traces nothing.

    Raises:
        CheckpointError: the file cannot be written.
    """
    if file is None:
        yield
        return
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with profile(activities=activities) as trace:
        yield
    write_atomically(file, lambda path: trace.export_chrome_trace(str(path)))
