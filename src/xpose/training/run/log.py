"""The log of a run, `log.jsonl`: what the loop writes every few steps, and what validation found, one row a line.

A resumed run repeats the steps since its last state, so of several rows for a step the last one counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.errors import TrainingError, quote
from xpose.pictures.atomic import write_atomically

LOG_FILE = "log.jsonl"
# What a row holds beside the loss terms.
NO_TERMS = ("step", "rate", "images_per_second", "seconds", "memory", "faulty", "gradient", "validation")


@dataclass(frozen=True)
class Log:
    """Rows by step, in order."""

    steps: Mapping[int, Mapping[str, float]]
    validations: Mapping[int, Mapping[str, float]]

    @property
    def last(self) -> int:
        """The last step that is written down; 0 where nothing is."""
        return max((*self.steps, *self.validations), default=0)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one number of the rows."""
        rows = [(step, row[name]) for step, row in self.steps.items() if name in row]
        return [step for step, _ in rows], [value for _, value in rows]

    @property
    def terms(self) -> list[str]:
        """The names of the loss terms, the total first."""
        return list(dict.fromkeys(name for row in self.steps.values() for name in row if name not in NO_TERMS))

    @property
    def measures(self) -> list[str]:
        """The names of what validation measured."""
        return list(dict.fromkeys(name for row in self.validations.values() for name in row))


def read_log(folder: Path) -> Log:
    """The log of a run.

    Raises:
        TrainingError: there is none.
    """
    path = folder / LOG_FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        raise TrainingError(
            f"There is no log {quote(path)}. A report is drawn from the log of a run: "
            "name the folder that was its --out."
        ) from None
    steps: dict[int, dict[str, float]] = {}
    validations: dict[int, dict[str, float]] = {}
    for line in lines:
        row = _row(line)
        if row is None:
            continue
        step = int(row["step"])
        if isinstance(row.get("validation"), dict):
            validations[step] = _numbers(row["validation"])
        else:
            steps[step] = _numbers(row)
    return Log(dict(sorted(steps.items())), dict(sorted(validations.items())))


def write_validation(folder: Path, step: int, values: Mapping[str, float]) -> None:
    """Add what a validation measured."""
    append_row(
        folder / LOG_FILE, {"step": step, "validation": {name: round(value, 5) for name, value in values.items()}}
    )


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def cut_after(path: Path, step: int) -> None:
    """Take the rows after a step out of a log, and a last one that was cut short."""
    if not path.is_file():
        return
    before = path.read_text(encoding="utf-8", errors="replace")
    kept = [line for line in before.splitlines() if (row := _row(line)) is not None and row["step"] <= step]
    after = "".join(line + "\n" for line in kept)
    if after != before:
        write_atomically(path, lambda temporary: temporary.write_text(after, encoding="utf-8"))


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    fits = isinstance(row, dict) and isinstance(row.get("step"), int | float) and math.isfinite(row["step"])
    return row if fits else None  # else a line that was cut off when the machine stopped


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        str(name): float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
