"""The moving average of the weights, which is what gets evaluated and shipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from xpose.errors import ConfigError


class MovingAverage(AveragedModel):
    """An exponential moving average whose memory grows with the run.

    After t updates the decay is the smaller of `decay` and (1 + t) / (10 + t): the average spans about the last ninth
    of a short run instead of remembering its random start. Buffers are taken over as they are. `module` is the
    averaged network, in eval mode; call `update_parameters(model)` after every step of the optimiser.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9997) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(
                f"The decay of the moving average is {decay}. It must be a number from 0 up to but not including 1; "
                "0.9997 is customary."
            )

        def blend(averages: Sequence[Any], current: Sequence[Any], updates: Tensor | int) -> None:
            keep = decay_after(int(updates), decay)
            torch._foreach_lerp_(_own(averages), _own(current), 1 - keep)

        super().__init__(model, multi_avg_fn=blend)
        self.module.eval().requires_grad_(False)


def _own(tensors: Sequence[Any]) -> list[Tensor]:
    """What this process holds of them: all, or its part of sharded ones."""
    return [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]


def decay_after(updates: int, decay: float) -> float:
    """The share of the old average that stays in update number `updates`, counted from 0."""
    return min(decay, (1 + updates) / (10 + updates))
