"""The log of a run: a row every few steps and one for each validation, for `log.jsonl`, the caller and TensorBoard.

A resumed run repeats the steps since its last state; if a step has several rows, the last one counts.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xpose.errors import TrainingError, XPoseWarning, missing_extra, quote
from xpose.pictures.atomic import write_atomically
from xpose.training.run import hardware
from xpose.training.run.settings import RunSettings

LOG_FILE = "log.jsonl"
# Fields of a row besides the loss terms.
_NO_TERMS = ("step", "rate", "images_per_second", "seconds", "memory", "faulty", "gradient", "validation")


@dataclass(frozen=True)
class Progress:
    """The contents of a report of the loop."""

    step: int
    steps: int
    terms: dict[str, float]  # means since the last report, over all processes
    rate: float
    images_per_second: float
    seconds: float  # since this call of the loop began
    faulty: int = 0  # steps since the last report that changed nothing, because a number was not finite
    memory: float = 0.0  # peak MiB so far: of the GPU, or of the process
    remaining: float = math.nan  # estimated seconds to the last step


class Journal:
    """Sums the terms of the steps and writes the log, on the first process only."""

    def __init__(
        self, folder: Path, run: RunSettings, *, images: int, step: int, report: Callable[[Progress], None] | None
    ) -> None:
        """Continue a log; rows after `step` belong to lost progress and are removed.

        `images` counts the pictures of a step over all processes; `report` is called with every row.
        """
        self.path, self.run, self.images, self.report = folder / LOG_FILE, run, images, report
        self.first = step
        self.started = self.trained_from = time.monotonic()  # the second skips time that does not count
        self._clear()
        if self.path.is_file():
            before = self.path.read_text(encoding="utf-8", errors="replace")
            rows = ((line, _row(line)) for line in before.splitlines())
            after = "".join(f"{line}\n" for line, row in rows if row is not None and row["step"] <= step)
            if after != before:
                write_atomically(self.path, lambda temporary: temporary.write_text(after, encoding="utf-8"))

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = self.faulty = 0
        self.since = time.monotonic()

    def add(self, terms: dict[str, float] | None) -> None:
        """Count a step; `terms` is None if nothing was learned in it."""
        self.steps += 1
        self.faulty += terms is None
        for name, value in (terms or {}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Exclude a block from the training time."""
        start = time.monotonic()
        try:
            yield
        finally:
            pause = time.monotonic() - start
            self.since, self.trained_from = self.since + pause, self.trained_from + pause

    def write(self, step: int, rate: float, device: torch.device) -> None:
        """Write and report a row about the steps since the last one."""
        now = time.monotonic()
        pace = (now - self.trained_from) / max(1, step - self.first)
        progress = Progress(
            step=step,
            steps=self.run.steps,
            terms={name: value / max(1, self.steps - self.faulty) for name, value in self.sums.items()},
            rate=rate,
            images_per_second=self.steps * self.images / max(now - self.since, 1e-9),
            seconds=now - self.started,
            faulty=self.faulty,
            memory=hardware.peak(device),
            remaining=pace * (self.run.steps - step),
        )
        self._clear()
        speed = {"images_per_second": round(progress.images_per_second, 2), "seconds": round(progress.seconds, 1)}
        terms = {name: round(value, 5) for name, value in progress.terms.items()}
        try:
            memory = {"memory": round(progress.memory), "faulty": progress.faulty}
            _append(self.path, {"step": step, "rate": rate, **speed, **memory, **terms})
        except OSError as error:
            warnings.warn(
                f"Step {step} is missing in {self.path} ({error.strerror}); training continues. Free some space.",
                XPoseWarning,
                stacklevel=2,
            )
        if self.report is not None:
            with self.aside():
                self.report(progress)


@dataclass(frozen=True)
class Log:
    """Rows by step, in order."""

    steps: Mapping[int, Mapping[str, float]]
    validations: Mapping[int, Mapping[str, float]]

    @property
    def last(self) -> int:
        """The last step in the log; 0 if it is empty."""
        return max((*self.steps, *self.validations), default=0)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one field of the rows."""
        values = {step: row[name] for step, row in self.steps.items() if name in row}
        return list(values), list(values.values())

    @property
    def terms(self) -> list[str]:
        """The names of the loss terms, the total first."""
        return list(dict.fromkeys(name for row in self.steps.values() for name in row if name not in _NO_TERMS))

    @property
    def measures(self) -> list[str]:
        """The names of validation measures."""
        return list(dict.fromkeys(name for row in self.validations.values() for name in row))


def read_log(folder: Path) -> Log:
    """The log of a run."""
    path = folder / LOG_FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        raise TrainingError(f"There is no log {quote(path)}. Name the --out folder of a run.") from None
    steps: dict[int, dict[str, float]] = {}
    validations: dict[int, dict[str, float]] = {}
    for row in filter(None, map(_row, lines)):
        measures = row.get("validation")
        rows, values = (validations, measures) if isinstance(measures, dict) else (steps, row)
        rows[int(row["step"])] = {name: float(value) for name, value in values.items() if _is_number(value)}
    return Log(dict(sorted(steps.items())), dict(sorted(validations.items())))


def write_validation(folder: Path, step: int, values: Mapping[str, float]) -> None:
    """Add the results of a validation."""
    _append(folder / LOG_FILE, {"step": step, "validation": {name: round(value, 5) for name, value in values.items()}})


def _append(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _row(line: str) -> dict[str, Any] | None:
    """A row; None for a line that was cut off when the machine stopped."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and _is_number(row.get("step")) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class TensorBoard:
    """Curves for TensorBoard in `OUT/tensorboard`; steps after `start` are written again."""

    def __init__(self, folder: Path, start: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_extra("A TensorBoard log", "tensorboard", "train") from None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=start or None)

    def report(self, progress: Progress) -> None:
        """Write a report of the loop."""
        for name, value in progress.terms.items():
            self._writer.add_scalar(f"loss/{name}", value, progress.step)
        self._writer.add_scalar("rate", progress.rate, progress.step)
        self._writer.add_scalar("images per second", progress.images_per_second, progress.step)

    def measures(self, step: int, values: Mapping[str, float]) -> None:
        """Write the results of a validation."""
        for name, value in values.items():
            self._writer.add_scalar(f"validation/{name}", value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def in_words(seconds: float) -> str:
    """A time as 45 s, 12 min or 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
