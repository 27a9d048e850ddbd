"""One process or many: the process group of a training run, out of what torchrun tells its processes.

with processes() as here:                      # torchrun --nproc-per-node 4 train.py, or plain: python train.py
    loader = Loader(pool, batch=4, rank=here.rank, ranks=here.ranks)
    model = xpose_nano().to(here.device)
    train(model, text, loader, run, folder)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed

from xpose.errors import ConfigError


@dataclass(frozen=True)
class Here:
    """This process among its fellows."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0


@contextmanager
def processes(
    device: str | torch.device | None = None, *, store: Path | None = None, patience: float = 60.0
) -> Iterator[Here]:
    """Join the other processes of the run for as long as the context lasts; alone where torchrun started none.

    The group is left at the end whatever happens: its threads must not outlive the interpreter.

    Args:
        device: "cuda" or "cpu"; where None, a GPU per process where there are GPUs.
        store: a file that the processes of one machine meet at, instead of torchrun's own meeting place.
        patience: minutes that a process waits for the others, who may be saving or validating.

    Raises:
        ConfigError: the environment is not one that torchrun makes, or there are fewer GPUs than processes.
    """
    rank, ranks, local = _environment()
    place = _device(device, local, ranks)
    if ranks == 1:
        yield Here(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        init_method="env://" if store is None else store.resolve().as_uri(),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(minutes=patience),
    )
    try:
        yield Here(rank, ranks, place)
        meet(place)  # nobody leaves while another still needs it
    finally:
        distributed.destroy_process_group()


def grouped() -> bool:
    """Whether this process trains together with others."""
    return distributed.is_available() and distributed.is_initialized()


def is_first() -> bool:
    """Whether this process writes files and reports."""
    return not grouped() or distributed.get_rank() == 0


def added(values: Tensor) -> Tensor:
    """The sum of every process's values, in place; as they are where there is one process."""
    if grouped():
        distributed.all_reduce(values)
    return values


def everywhere(fact: bool, device: torch.device) -> bool:
    """Whether something holds in every process."""
    if not grouped():
        return fact
    failed = added(torch.tensor([0.0 if fact else 1.0], device=device))
    return not bool(failed.item())


def meet(device: torch.device) -> None:
    """Wait until every process is here."""
    added(torch.zeros(1, device=device)).item()  # unlike a barrier it needs no word about devices


def _environment() -> tuple[int, int, int]:
    """Rank, number of processes, and rank on this machine."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not given:
        return 0, 1, 0
    try:
        rank, ranks = int(given["RANK"]), int(given["WORLD_SIZE"])
        local = int(given.get("LOCAL_RANK", rank))
        if not 0 <= rank < ranks or local < 0:
            raise ValueError
    except (KeyError, ValueError):
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ConfigError(
            f"The environment says {shown}. RANK and WORLD_SIZE must both be there, the first below the second: start "
            "the processes with torchrun, or unset these variables to train in one process."
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
            f"This is process {local + 1} on a machine with {count} GPU(s). Every process needs one of its own: start "
            f"torchrun with --nproc-per-node {count}, or train on the CPU."
        )
    return torch.device("cuda", local)
