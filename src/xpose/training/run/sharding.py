"""Weights, gradients and optimiser state parted among the processes: for networks too large for one GPU.

PyTorch's `fully_shard` parts the weights of every layer; a layer has them whole only while it computes. A state on disk
is the same with and without it, so a run may continue with another number of processes, or with one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from xpose.errors import ConfigError
from xpose.model.layers import Recomputable


def is_parted(value: Any) -> bool:
    """Whether a tensor is held in parts by several processes."""
    return hasattr(value, "full_tensor")


def shard(module: nn.Module, device: torch.device, *, whole: Iterable[nn.Parameter] = ()) -> None:
    """Part the weights of a module among all processes, layer by layer; its own `forward` has to be called.

    Single numbers and the weights in `whole` stay whole in every process; `share_whole` shares their gradients.
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
    """Give all processes the mean gradient of the weights that are not parted."""
    for weight in weights:
        if weight.grad is not None and not is_parted(weight):
            distributed.all_reduce(weight.grad)
            weight.grad /= distributed.get_world_size()


def clip(weights: Sequence[Tensor], length: float) -> float:
    """As `clip_grad_norm_`, for a mixture of parted and whole weights; all processes have to call this."""
    sorts = ([w for w in weights if is_parted(w)], [w for w in weights if not is_parted(w)])
    norms: list[Any] = [nn.utils.get_total_norm([w.grad for w in sort if w.grad is not None]) for sort in sorts]
    norm = torch.stack([n.full_tensor() if is_parted(n) else n for n in norms]).norm()
    for sort in sorts:
        nn.utils.clip_grads_with_norm_(sort, length, norm)
    return float(norm)


def touched(module: nn.Module, total: Tensor) -> Tensor:
    """The total plus 0 of every weight that is whole now, so that all processes have the same gradients.

    A process whose pictures found no examples would have none for the example encoder, and the others would wait.
    """
    nothing = [p.sum() * 0 for p in module.parameters() if p.requires_grad and not is_parted(p)]
    return total + torch.stack(nothing).sum() if nothing else total


def gathered(value: Any) -> Any:
    """A state dict with every tensor whole and on the CPU; all processes have to call this."""
    if is_parted(value):
        return value.full_tensor().cpu()
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {name: gathered(entry) for name, entry in value.items()}
    return [gathered(entry) for entry in value] if isinstance(value, list) else value


def parted(state: Mapping[str, Any], part: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A state dict of whole tensors as a network or the optimiser takes it up; all processes have to call this."""
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
    """A tensor parted as another of the same shape is; anything else as it is."""
    if not is_parted(like) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
