"""The processes of a training run started by torchrun, and the signals that end them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
from torch import Tensor, distributed

from xpose.errors import ConfigError


@dataclass(frozen=True)
class Here:
    """The rank and device of this process."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0


@contextmanager
def processes(device: str | torch.device | None = None, *, patience: float = 60.0) -> Iterator[Here]:
    """Join the other processes of the run within the context; run alone if torchrun started none.

    `device` is "cuda" or "cpu", by default one GPU per process if available. A process waits `patience` minutes for the
    others, which may be saving or validating.

    Raises:
        ConfigError: the environment is not from torchrun, or there are fewer GPUs than processes.
    """
    rank, ranks, local = _environment()
    place = _device(device, local, ranks)
    if ranks == 1:
        yield Here(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    backend = "nccl" if place.type == "cuda" else "gloo"
    distributed.init_process_group(backend, rank=rank, world_size=ranks, timeout=timedelta(minutes=patience))
    try:
        yield Here(rank, ranks, place)
        # No process leaves while another needs it. A barrier sends no tensor that Python knows: Gloo's thread would
        # release it after the answer has come, and abort the process if the interpreter is ending by then.
        distributed.barrier(device_ids=[place.index] if place.type == "cuda" else None)
    finally:
        distributed.destroy_process_group()  # its threads must not outlive the interpreter


def grouped() -> bool:
    """Whether this process trains with others."""
    return distributed.is_available() and distributed.is_initialized()


def is_first() -> bool:
    """Whether this process writes files and reports."""
    return not grouped() or distributed.get_rank() == 0


def added(values: Tensor) -> Tensor:
    """Sum the values over all processes, in place."""
    if grouped():
        distributed.all_reduce(values)
    return values


def everywhere(fact: bool, device: torch.device) -> bool:
    """Whether `fact` is true in every process."""
    return fact if not grouped() else not added(torch.tensor([float(not fact)], device=device)).item()


def _environment() -> tuple[int, int, int]:
    """Rank, number of processes, and rank on this machine."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not given:
        return 0, 1, 0
    try:
        rank, ranks, local = (int(given.get(name, given["RANK"])) for name in names)
        if "WORLD_SIZE" not in given or not 0 <= rank < ranks or local < 0:
            raise ValueError
    except (KeyError, ValueError):
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ConfigError(
            f"The environment says {shown}. RANK and WORLD_SIZE must both be set, the first below the second. Use "
            "torchrun to start the processes, or unset these variables to train in one process."
        ) from None
    return rank, ranks, local


def _device(device: str | torch.device | None, local: int, ranks: int) -> torch.device:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    if place.type != "cuda" or ranks == 1:
        return place
    count = torch.cuda.device_count()
    if local >= count:
        raise ConfigError(
            f"This is process {local + 1} on a machine with {count} GPU(s), and every process needs one of its own. "
            f"Start torchrun with --nproc-per-node {count}, or train on the CPU."
        )
    return torch.device("cuda", local)


class Terminated(SystemExit):
    """The process received SIGTERM (from a reclaimed machine, a batch system or torchrun)."""


class Interruptions:
    """A context in which SIGTERM raises `Terminated`, like KeyboardInterrupt for Ctrl-C; both can be deferred.

    With `announce`, the first signal only sets `stopping` and is announced; the second raises KeyboardInterrupt.
    """

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        self.stopping = False
        self._announce = announce
        self._held = False
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruptions:
        if threading.current_thread() is threading.main_thread():  # only the main thread can set handlers
            self._before = {number: signal.signal(number, self._came) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Defer signals until the end of this block."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            number, self._waiting = self._waiting, None
            if number is not None:
                self._act(number, None)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self._held:  # the parts of the run are inconsistent here
            self._waiting = number
        else:
            self._act(number, frame)

    def _act(self, number: int, frame: FrameType | None) -> None:
        if self._announce is not None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True
            self._announce("Stopping after this step and saving. Press Ctrl-C again to stop at once.")
            return
        before = self._before[number]
        if callable(before):  # Python's handler or the program's: a command line can stop gracefully
            before(number, frame)
        elif before == signal.SIG_DFL:
            raise Terminated(128 + number)
