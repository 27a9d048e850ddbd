"""Depthwise convolutions whose way back is quick in bfloat16 on a CPU.

There the library takes up to ten times as long as in float32 for the gradients of 5 by 5 filters and of strided ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv2d(nn.Conv2d):
    """One filter of an odd size a channel, padded by half of it; weights are named as those of `nn.Conv2d`."""

    def __init__(self, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__(width, width, kernel, stride, kernel // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, h', w']."""
        if self._slow_way_back(x) and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _Filtered.apply(x, self.weight, self.bias, self.stride[0])  # type: ignore[no-untyped-call]
        return super().forward(x)

    def _slow_way_back(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or (self.kernel_size[0] < 5 and self.stride[0] == 1):
            return False
        used = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        return used == torch.bfloat16


class _Filtered(torch.autograd.Function):
    """The way there in bfloat16, the way back in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        channels, half = weight.shape[0], weight.shape[-1] // 2
        needed = list(ctx.needs_input_grad[:3])
        wide, seen = (t.float().contiguous(memory_format=torch.channels_last) for t in (grad, x))
        found = torch.ops.aten.convolution_backward(
            wide,
            seen,
            weight.float(),
            [channels],
            [ctx.stride] * 2,
            [half] * 2,
            [1, 1],
            False,
            [0, 0],
            channels,
            needed,
        )
        kinds = (x.dtype, weight.dtype, weight.dtype)
        return *(t.to(kind) if need else None for t, kind, need in zip(found, kinds, needed, strict=True)), None
