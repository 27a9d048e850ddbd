"""What a training step does with its hardware: precision, compiled or recomputed layers, and memory."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from xpose.errors import TrainingError, XPoseWarning
from xpose.model.layers import Recomputable
from xpose.training.run.settings import AMP, RunSettings

Backend = str | Callable[..., Any]
BACKEND: Backend = "inductor"
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "alloc_cpu")  # how PyTorch says it without a GPU
_BF16_CPU = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # instructions of x86 and ARM


def precision(amp: str, device: torch.device) -> torch.dtype | None:
    """The number format of matrix products under a setting of `amp`; None is float32."""
    if amp == "auto":
        return torch.bfloat16 if multiplies_bf16(device) else None
    return AMP[amp]


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself; where it is emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch before 2.11
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _BF16_CPU)


def compile_layers(parts: Iterable[nn.Module], device: torch.device, backend: Backend | None = None) -> int:
    """Compile the layers of parts of a network in place with `torch.compile`; how many there are.

    Single layers compile in a fraction of the time of the whole, and what is between them depends on the data. Without
    a compiler nothing is changed, a warning says so, and the answer is 0.
    """
    backend = backend or BACKEND
    try:
        probe = torch.compile(lambda x: (x * 2 + 1).relu(), backend=backend)
        probe(torch.ones(8, device=device, requires_grad=True)).sum().backward()
    except Exception as error:  # every backend has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        needed = "Triton" if device.type == "cuda" else "a C++ compiler (g++ or clang++)"
        warnings.warn(
            f"The network is not compiled: torch.compile does not work here ({reason[:200]}). It needs "
            f"{needed}. Training continues without it, with the same results.",
            XPoseWarning,
            stacklevel=2,
        )
        return 0
    layers = [module for part in parts for module in part.modules() if isinstance(module, Recomputable)]
    for layer in layers:
        layer.compile(backend=backend)
    return len(layers)


def recompute(model: nn.Module, *, without: nn.Module | None = None) -> int:
    """Recompute the layers of a network in the backward pass instead of keeping them; how many there are.

    The part `without` stays as it is: batch norms that learn their statistics would count twice.
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
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def exhausted(error: BaseException, saved: int, run: RunSettings, batch: int) -> TrainingError:
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
    """The maximum of MiB so far: on a GPU of tensors since the run began, on a CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10
