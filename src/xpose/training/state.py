"""The whole state of a run on disk: written in one step, the last few kept, read without running any code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from xpose.errors import CheckpointError, quote
from xpose.model.files import read_tensors, write_atomically

_NAME = re.compile(r"^step-(\d{8})\.pt$")


def save_state(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write the state of a step, then delete all but the last `keep`.

    Raises:
        CheckpointError: the disk is full or read-only; the states before are untouched.
    """
    path = folder / f"step-{step:08d}.pt"

    def write(temporary: Path) -> None:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch reports a full disk in its own way
            raise OSError(28, str(error).splitlines()[0]) from None

    write_atomically(path, write)
    for old in states(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def states(folder: Path) -> list[Path]:
    """The states of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.match(path.name))


def load_state(folder: Path) -> dict[str, Any] | None:
    """The newest state that can be read, or None where there is none.

    Raises:
        CheckpointError: there are states, but none can be read.
    """
    found = states(folder)
    for path in reversed(found):
        try:
            return read_tensors(path)
        except CheckpointError:
            continue
    if found:
        raise CheckpointError(
            f"None of the {len(found)} states in {quote(folder)} can be read. Delete the folder to start anew."
        )
    return None
