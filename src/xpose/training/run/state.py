"""The state of a run on disk: written atomically, keeping the last few, and read without executing code."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xpose.errors import CheckpointError, ConfigError, XPoseError, XPoseWarning, counted, quote
from xpose.model.checkpoints.files import read_tensors
from xpose.pictures.atomic import write_atomically

_NAME = re.compile(r"^step-(\d{8})\.pt$")


def save_state(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write the state of a step, then delete all but the last `keep`."""
    path = folder / f"step-{step:08d}.pt"

    def write(temporary: Path) -> None:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch's error for a full disk
            raise OSError(28, str(error).splitlines()[0]) from None

    write_atomically(path, write)
    for old in states(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def states(folder: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.match(path.name))


def load_state(folder: Path) -> dict[str, Any] | None:
    """The newest state that can be read, or None if there is none."""
    for path in reversed(paths := states(folder)):
        with suppress(CheckpointError):
            return read_tensors(path)
    if paths:
        raise CheckpointError(
            f"The run in {quote(folder)} has {counted(len(paths), 'state')}, and none of it can be read. "
            "Delete the folder to start anew."
        )
    return None


@dataclass
class Keeper:
    """Saves the state of a run every few minutes; a run must continue with its initial settings."""

    folder: Path
    minutes: float  # between two states
    keep: int  # how many states stay on disk
    binding: Mapping[str, Any]  # settings, by name, that determine the data order and the meaning of the numbers
    step: int = 0  # of the newest state on disk

    def __post_init__(self) -> None:
        self.written = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The newest state, or None; ConfigError if the run had other settings."""
        state = load_state(self.folder)
        if state is None:
            return None
        before = state.get("binding", {})
        changes = [f"{k}: {before[k]}, now {v}" for k, v in self.binding.items() if k in before and before[k] != v]
        if changes:
            raise ConfigError(
                f"The run in {quote(self.folder.parent)} was begun with other settings ({'; '.join(changes)}), which "
                "decide the order of its pictures. Set them back, or train in another folder."
            )
        self.step = int(state["step"])
        return state

    def due(self) -> bool:
        """Whether the next state is due."""
        return time.monotonic() - self.written > 60 * self.minutes

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the state of a step; if that fails, the previous state is kept."""
        self.written = time.monotonic()  # even on failure: the next try is when the next state is due
        save_state(self.folder, step, {**state, "step": step, "binding": dict(self.binding)}, self.keep)
        self.step = step

    def save_if_possible(self, step: int, state: Mapping[str, Any]) -> None:
        """Like `save`, but a full disk causes a warning and a retry when the next state is due."""
        try:
            self.save(step, state)
        except XPoseError as error:
            warnings.warn(f"Step {step} was not saved; training continues. {error}", XPoseWarning, stacklevel=2)

    def save_if_new(self, step: int, state: Mapping[str, Any]) -> None:
        """Save before an error ends the run, unless the step is on disk; a failed write is ignored."""
        if step > self.step:
            with suppress(XPoseError):
                self.save(step, state)
