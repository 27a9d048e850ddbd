"""What a run reports: a row in its log every few steps, and the same to the caller."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from xpose.errors import XPoseWarning
from xpose.training.run import memory
from xpose.training.run.log import append_row, cut_after
from xpose.training.run.settings import Progress, Run


class Journal:
    """Sums up the terms of the steps; on the first process alone."""

    def __init__(
        self, path: Path, run: Run, *, images: int, step: int, report: Callable[[Progress], None] | None = None
    ) -> None:
        """Continue a log of JSON lines: rows after `step` belong to a run that was lost, and are removed.

        `images` counts the pictures of a step over all processes; `report` is called with every row.
        """
        self.path, self.run, self.images, self.report = path, run, images, report
        self.first = step
        self.started = time.monotonic()
        self.paused = 0.0  # seconds in which nothing was trained
        self._clear()
        cut_after(path, step)

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = self.faulty = 0
        self.since = time.monotonic()
        self.paused_before = self.paused

    def add(self, terms: dict[str, float] | None) -> None:
        """A step; None where nothing was learned in it."""
        self.steps += 1
        self.faulty += terms is None
        for name, value in (terms or {}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time that is not counted as training."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.paused += time.monotonic() - start

    def write(self, step: int, rate: float, device: torch.device) -> None:
        """Write and report a row about the steps since the last one."""
        now = time.monotonic()
        spent = now - self.since - (self.paused - self.paused_before)
        pace = (now - self.started - self.paused) / max(1, step - self.first)
        progress = Progress(
            step=step,
            steps=self.run.steps,
            terms={name: value / max(1, self.steps - self.faulty) for name, value in self.sums.items()},
            rate=rate,
            images_per_second=self.steps * self.images / max(spent, 1e-9),
            seconds=now - self.started,
            faulty=self.faulty,
            memory=memory.peak(device),
            remaining=pace * (self.run.steps - step),
        )
        self._clear()
        row: dict[str, float] = {"step": step, "rate": rate}
        row |= {"images_per_second": round(progress.images_per_second, 2), "seconds": round(progress.seconds, 1)}
        row |= {"memory": round(progress.memory), "faulty": progress.faulty}
        row |= {name: round(value, 5) for name, value in progress.terms.items()}
        try:
            append_row(self.path, row)
        except OSError as error:
            warnings.warn(
                f"Step {step} is missing in {self.path} ({error.strerror}); training continues. Free some space.",
                XPoseWarning,
                stacklevel=2,
            )
        if self.report is not None:
            with self.aside():
                self.report(progress)
