"""What a run says of itself: the log on disk, a row per report, and the report to the caller."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from xpose.errors import XPoseWarning
from xpose.pictures.atomic import write_atomically
from xpose.training.run import memory
from xpose.training.run.settings import Progress, Run


class Journal:
    """Sums up the terms of the steps; on the first process alone."""

    def __init__(
        self, path: Path, run: Run, *, images: int, step: int, report: Callable[[Progress], None] | None = None
    ) -> None:
        """Set up.

        Args:
            path: of the log, JSON lines.
            run: how is trained.
            images: per step, over all processes.
            step: that the run stands at; rows of later ones are of a run that was lost, and go.
            report: called with every row.
        """
        self.path, self.run, self.images, self.report = path, run, images, report
        self.first = step
        self.started = time.monotonic()
        self.paused = 0.0  # seconds in which nothing was trained
        self._clear()
        _cut(path, step)

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
        """A row about the steps since the last one."""
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
        self._write(progress)
        if self.report is not None:
            with self.aside():
                self.report(progress)

    def _write(self, progress: Progress) -> None:
        row: dict[str, float] = {"step": progress.step, "rate": progress.rate}
        row |= {"images_per_second": round(progress.images_per_second, 2), "seconds": round(progress.seconds, 1)}
        row |= {"memory": round(progress.memory), "faulty": progress.faulty}
        row |= {name: round(value, 5) for name, value in progress.terms.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            warnings.warn(
                f"Step {progress.step} is not in {self.path} ({error.strerror}), training goes on. Free some space.",
                XPoseWarning,
                stacklevel=2,
            )


def _cut(path: Path, step: int) -> None:
    """Take the rows after a step out of a log, and a last one that was cut short."""
    if not path.is_file():
        return
    before = path.read_text(encoding="utf-8", errors="replace")
    after = "".join(line + "\n" for line in before.splitlines() if _step(line) <= step)
    if after != before:
        write_atomically(path, lambda temporary: temporary.write_text(after, encoding="utf-8"))


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
