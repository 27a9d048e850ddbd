"""Memory of a training step: trading time for it, how much was needed, and what to do where it did not suffice."""

from __future__ import annotations

import sys

import torch
from torch import nn

from xpose.errors import TrainingError
from xpose.model.layers import Recomputable
from xpose.training.run.settings import Run

_CPU_SIGNS = ("can't allocate memory", "not enough memory", "alloc_cpu")  # how PyTorch says it without a GPU


def recompute(model: nn.Module, *, without: nn.Module | None = None) -> int:
    """Have the layers of a network computed again in the backward pass instead of kept; how many there are.

    Args:
        model: the network, or a part of it.
        without: a part of it that stays as it is: batch norms that learn their statistics would count twice.
    """
    kept = set() if without is None else set(without.modules())
    layers = [module for module in model.modules() if isinstance(module, Recomputable) and module not in kept]
    for layer in layers:
        layer.recompute = True
    return len(layers)


def is_exhausted(error: BaseException) -> bool:
    """Whether this error means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _CPU_SIGNS)


def exhausted(error: BaseException, saved: int, run: Run, batch: int) -> TrainingError:
    """The error for the user, with what is still left to try."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0][:200]
    ways = []
    if batch > 1:
        ways.append(
            f"a batch of {batch // 2} instead of {batch} pictures with accumulate = {2 * run.accumulate} instead of "
            f"{run.accumulate}, which learns nearly the same"
        )
    if not run.checkpointing:
        ways.append("checkpointing = true, which learns the same in about a third more time")
    if run.amp == "none":
        ways.append('amp = "bf16"')
    ways.append("smaller pictures")
    left = f" The state of step {saved} is on disk." if saved else ""
    return TrainingError(f"Memory ran out ({first}). What needs less: {'; '.join(ways)}.{left}")


def peak(device: torch.device) -> float:
    """MiB needed at most so far: on a GPU by tensors since the run began, on a CPU by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10
