"""Training settings: the recipe's table `run`, the optimiser and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from xpose.errors import ConfigError, out_of_range, refuse
from xpose.model import XPose
from xpose.training.objective.denoising import DenoisingSettings
from xpose.training.objective.losses import LossWeights

AMP = {"none": None, "auto": None, "bf16": torch.bfloat16, "fp16": torch.float16}
Shape = Literal["cosine", "step", "constant"]


@dataclass(frozen=True)
class Schedule:
    """Learning rates over a run."""

    rate: float = 1e-4  # at `reference_batch` images per step over all processes
    reference_batch: int = 16  # other batches scale the rate in proportion; 0 = never
    warm_up: int = 500  # steps from 0 to the full rate; at most a tenth of the run
    shape: Shape = "cosine"
    last: float = 0.01  # final share of the rate with "cosine"
    drops: tuple[float, ...] = (11 / 12,)  # with "step": shares of the run after which `drop` is applied
    drop: float = 0.1
    backbone: float = 0.1  # share of the rate for the backbone
    towers: float = 0.0  # share of the rate for prompt towers; 0 freezes them
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        numbers = [name for name, value in vars(self).items() if isinstance(value, int | float)]
        faults = out_of_range(self, 0, *numbers)
        if self.rate == 0:
            faults.append("rate is 0; nothing would be learned")
        if self.shape not in get_args(Shape):
            faults.append(f'shape is "{self.shape}", not one of {", ".join(get_args(Shape))}')
        if any(not 0 < share < 1 for share in self.drops) or list(self.drops) != sorted(self.drops):
            faults.append(f"drops is {self.drops}, not rising shares of the run between 0 and 1")
        refuse("The schedule does", faults)

    def rate_for(self, batch: int) -> float:
        """The full rate for this many images per step."""
        return self.rate * batch / self.reference_batch if self.reference_batch else self.rate

    def factor(self, step: int, steps: int) -> float:
        """The share of the full rate at a step, counted from 0, in a run of `steps`."""
        warm = min(self.warm_up, steps // 10)
        if step < warm:
            return (step + 1) / (warm + 1)
        if self.shape == "constant":
            return 1.0
        if self.shape == "step":
            return self.drop ** sum(step >= share * steps for share in self.drops)
        done = min(1.0, (step - warm) / max(1, steps - 1 - warm))
        return self.last + (1 - self.last) * (1 + math.cos(math.pi * done)) / 2

    def set_rates(self, optimizer: Optimizer, step: int, steps: int) -> None:
        """Set the rates of a step, counted from 0; the optimiser's groups are those of `groups`.

        They depend only on the step, so steps that change nothing do not delay the schedule.
        """
        factor = self.factor(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * factor

    def groups(self, model: XPose, prompts: nn.ModuleDict | None = None, batch: int = 0) -> list[dict[str, Any]]:
        """Parameters for an optimiser, in named groups with their rates; parts with rate 0 are frozen.

        `prompts` are the trained prompt encoders outside the network (`Towers.learning`). Norms, biases, other vectors
        and Swin's tables of relative positions have no weight decay. The rate is scaled for `batch` images per step; 0
        leaves it unchanged.
        """
        rate = self.rate_for(batch) if batch else self.rate
        groups: dict[str, dict[str, Any]] = {}
        for part, name, parameter in _parameters(model, prompts):
            share = {"backbone": self.backbone, "towers": self.towers}.get(part, 1.0)
            if share == 0:
                parameter.requires_grad_(False)
            if not parameter.requires_grad:
                continue
            plain = parameter.ndim < 2 or name.endswith("relative_position_bias_table")
            key = f"{part}, not decayed" if plain else part
            decay = 0.0 if plain else self.weight_decay
            rates = {"lr": rate * share, "full": rate * share, "weight_decay": decay}
            group = groups.setdefault(key, {"name": key, "params": [], **rates})
            group["params"].append(parameter)
        return list(groups.values())


@dataclass(frozen=True)
class RunSettings:
    """Duration and method of training."""

    steps: int
    seed: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    weights: LossWeights = field(default_factory=LossWeights)
    denoising: DenoisingSettings | None = None
    clip: float = 0.1
    average: float = 0.9997
    amp: str = "none"  # "bf16", "fp16", or "auto": bf16 if the device supports it natively, otherwise float32
    accumulate: int = 1  # batches per step of the optimiser
    checkpointing: bool = False  # recompute layers in the backward pass: less memory, more time
    compile: bool = False  # torch.compile for the layers of encoder and decoders
    shard: bool = False  # shard weights, gradients and optimiser state among processes (FSDP)
    channels_last: bool = False
    frozen_norms: bool = True  # batch norms of the backbone keep their statistics
    frozen_stages: int = 0  # first backbone stages that are not trained; 1 is the stage up to stride 2 or 4
    # Maximum of keypoint groups per picture in training; those that match no object teach little.
    groups: int | None = None
    point_queries: int | None = None  # maximum of keypoint queries per picture in training: fewer groups of many points
    save_minutes: float = 5.0
    keep: int = 2  # states on disk
    log_steps: int = 20

    def __post_init__(self) -> None:
        counts = ("steps", "accumulate", "log_steps", "keep", "groups", "point_queries")
        faults = out_of_range(self, 1, *counts, whole=True) + out_of_range(self, 0, "frozen_stages", whole=True)
        positive = {name: getattr(self, name) for name in ("clip", "save_minutes")}
        faults += [f"{name} is {value}, not above 0" for name, value in positive.items() if not value > 0]
        if self.amp not in AMP:
            faults.append(f'amp is "{self.amp}", not one of {", ".join(AMP)}')
        if self.shard and self.amp == "fp16":
            faults.append('shard and amp = "fp16" are both set; a loss scale cannot be kept over shards: take "bf16"')
        if self.shard and self.compile:
            faults.append("shard and compile are both set; compiled layers cannot be sharded: switch one of them off")
        refuse("The run does", faults)


def optimizer_for(groups: list[dict[str, Any]], device: torch.device, *, parted: bool = False) -> torch.optim.AdamW:
    """AdamW for groups of parameters on a device; fused for speed, unless they are `parted` among processes."""
    return torch.optim.AdamW(groups, fused=not parted and device.type in ("cpu", "cuda"))


def _parameters(model: XPose, prompts: nn.ModuleDict | None) -> list[tuple[str, str, nn.Parameter]]:
    """Every parameter once, with its part and name."""
    rows: dict[nn.Parameter, tuple[str, str, nn.Parameter]] = {}
    for module, parts in ((model, {"backbone": "backbone"}), (prompts, {"text": "towers", "visual": "towers"})):
        for name, parameter in () if module is None else module.named_parameters():
            rows.setdefault(parameter, (parts.get(name.partition(".")[0], "network"), name, parameter))
    return list(rows.values())


class MovingAverage(AveragedModel):
    """An exponential moving average with a window that grows with the run.

    After t updates the decay is the smaller of `decay` and (1 + t) / (10 + t): the average spans about the last ninth
    of a short run and forgets its random start. Buffers are copied. `module` is the averaged network, in
    eval mode; call `update_parameters(model)` after every step of the optimiser.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9997) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"The decay of the moving average is {decay}. It must be at least 0 and below 1.")

        def blend(averages: Sequence[Any], current: Sequence[Any], updates: Tensor | int) -> None:
            torch._foreach_lerp_(_local(averages), _local(current), 1 - decay_after(int(updates), decay))

        super().__init__(model, multi_avg_fn=blend)
        self.module.eval().requires_grad_(False)


def _local(tensors: Sequence[Any]) -> list[Tensor]:
    """The local data of tensors: all, or the local part of sharded ones."""
    return [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]


def decay_after(updates: int, decay: float) -> float:
    """The weight of the old average in update number `updates`, counted from 0."""
    return min(decay, (1 + updates) / (10 + updates))
