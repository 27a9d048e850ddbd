"""`torch.compile` for the layers of a network, where there is a compiler for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from xpose.errors import XPoseWarning
from xpose.model.layers import Recomputable

Backend = str | Callable[..., Any]
BACKEND: Backend = "inductor"


def compile_layers(parts: Iterable[nn.Module], device: torch.device, backend: Backend | None = None) -> int:
    """Compile the layers of parts of a network in place, each kind once; how many there are.

    Layers, and not the whole: they compile in a fraction of the time, and what lies between them depends on the data.
    Without a compiler nothing is changed, a warning says so, and the answer is 0.
    """
    backend = backend or BACKEND
    try:
        probe = torch.compile(_probe, backend=backend)
        probe(torch.ones(8, device=device, requires_grad=True)).sum().backward()
    except Exception as error:  # every backend has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        needed = "Triton" if device.type == "cuda" else "a C++ compiler (g++ or clang++)"
        warnings.warn(
            f"The network is not compiled: torch.compile does not work here ({said[:200]}). It needs "
            f"{needed}. Training continues without it, with the same results.",
            XPoseWarning,
            stacklevel=2,
        )
        return 0
    layers = [module for part in parts for module in part.modules() if isinstance(module, Recomputable)]
    for layer in layers:
        layer.compile(backend=backend)
    return len(layers)


def _probe(x: Tensor) -> Tensor:
    return (x * 2 + 1).relu()
