"""Hardware use of a training step: precision, recomputed layers, memory, sharded weights."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from xpose.errors import ConfigError, TrainingError
from xpose.model.device import multiplies_bf16
from xpose.model.layers import Recomputable
from xpose.training.run.settings import AMP, RunSettings

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "alloc_cpu")  # PyTorch's messages without a GPU


def precision(amp: str, device: torch.device) -> torch.dtype | None:
    """The dtype of matrix products for a setting of `amp`; None is float32."""
    return torch.bfloat16 if amp == "auto" and multiplies_bf16(device) else AMP[amp]


def recompute(model: nn.Module, *, without: nn.Module | None = None) -> int:
    """Recompute a network's layers in the backward pass to save memory; return their number.

    The part `without` is excluded: batch norms that learn their statistics would update them twice.
    """
    kept = set() if without is None else set(without.modules())
    layers = [module for module in model.modules() if isinstance(module, Recomputable) and module not in kept]
    for layer in layers:
        layer.recompute = True
    return len(layers)


def is_exhausted(error: BaseException) -> bool:
    """Whether this error means that memory ran out."""
    by_words = isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    return by_words or isinstance(error, torch.OutOfMemoryError | MemoryError)


def exhausted(error: BaseException, saved: int, run: RunSettings, batch: int) -> TrainingError:
    """The error for the user, with remaining options to try."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0][:200]
    ways = {
        f"a batch of {batch // 2} instead of {batch} pictures with accumulate = {2 * run.accumulate} instead of "
        f"{run.accumulate}, which learns nearly the same": batch > 1,
        "checkpointing = true, which learns the same in about a third more time": not run.checkpointing,
        'amp = "bf16"': run.amp == "none",
        "smaller pictures": True,
    }
    left = f" The state of step {saved} is on disk." if saved else ""
    needs_less = "; ".join(way for way, is_left in ways.items() if is_left)
    return TrainingError(f"Memory ran out ({first}). What needs less: {needs_less}.{left}")


def peak(device: torch.device) -> float:
    """Peak memory in MiB: of tensors on a GPU since the run began, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def is_parted(value: Any) -> bool:
    """Whether a tensor is sharded among several processes."""
    return hasattr(value, "full_tensor")


def shard(module: nn.Module, device: torch.device, *, whole: Iterable[nn.Parameter] = ()) -> None:
    """Shard the weights of a module among all processes, layer by layer; its own `forward` must be called.

    A layer has its full weights only while it computes. A state on disk is the same with and without sharding, so a
    run can continue with another number of processes. Scalars and the weights in `whole` are kept unsharded in every
    process; `share_whole` averages their gradients.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise ConfigError(
            f"shard needs PyTorch 2.7 or newer, and this is {torch.__version__}. Update it, or train without shard."
        )
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    numbers = {weight for weight in module.parameters() if weight.ndim == 0} | set(whole)
    for layer in [part for part in module.modules() if isinstance(part, Recomputable)]:
        fully_shard(layer, mesh=mesh, ignored_params=numbers)
    fully_shard(module, mesh=mesh, ignored_params=numbers)


def share_whole(weights: Sequence[Tensor]) -> None:
    """Average the gradients of the unsharded weights over all processes."""
    for weight in weights:
        if weight.grad is not None and not is_parted(weight):
            distributed.all_reduce(weight.grad)
            weight.grad /= distributed.get_world_size()


def clip(weights: Sequence[Tensor], length: float) -> float:
    """Like `clip_grad_norm_`, for a mix of sharded and whole weights; all processes must call this."""
    gradients: list[Any] = [weight.grad for weight in weights if weight.grad is not None]
    shards: list[Tensor] = [gradient.to_local() for gradient in gradients if is_parted(gradient)]
    whole = [gradient for gradient in gradients if not is_parted(gradient)]
    square = nn.utils.get_total_norm(shards).square().to(weights[0].device)
    distributed.all_reduce(square)
    norm = (square + nn.utils.get_total_norm(whole).square()).sqrt()
    scale = (length / (norm + 1e-6)).clamp(max=1.0)
    for gradient in (*shards, *whole):
        gradient.mul_(scale)
    return float(norm)


def touched(module: nn.Module, total: Tensor) -> Tensor:
    """Add 0 times every unsharded weight to the total, so that all processes have the same gradients.

    A process without examples would have no gradients for the example encoder, and the others would wait.
    """
    nothing = [p.sum() * 0 for p in module.parameters() if p.requires_grad and not is_parted(p)]
    return total + torch.stack(nothing).sum() if nothing else total


def gathered(value: Any) -> Any:
    """A state dict with every tensor whole and on the CPU; all processes must call this."""
    if is_parted(value):
        return value.full_tensor().cpu()
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {name: gathered(entry) for name, entry in value.items()}
    return [gathered(entry) for entry in value] if isinstance(value, list) else value


def parted(state: Mapping[str, Any], part: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Shard a state dict of whole tensors for a network or the optimiser; all processes must call this."""
    if part is not optimizer:
        like = part.state_dict()
        return {name: _as(value, like.get(name)) for name, value in state.items()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    rows = {
        number: {name: _as(value, weights[number]) for name, value in row.items()}
        for number, row in state["state"].items()
    }
    return {**state, "state": rows}


def _as(value: Any, like: Any) -> Any:
    """Shard a tensor like another of the same shape; return anything else unchanged."""
    if not is_parted(like) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
