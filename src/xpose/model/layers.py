"""Small parts that many stages share: linear maps that are fast on CPUs, MLPs, attention, feed-forward, similarity.

Shape letters: see `types.py`; T = queries or tokens of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from xpose.model.config import XPoseConfig

# With fewer products than this, a convolution costs more than it saves.
_CONVOLUTION_PRODUCTS = 2**24
_CONVOLUTION_TYPES = (torch.float32, torch.bfloat16)
# Long rows of tokens are processed in pieces, so that intermediate results stay in the processor's cache.
PIECE_ROWS = 2048
_Function = TypeVar("_Function", bound=Callable[..., Any])
_PRIOR = -4.595  # logit of 0.01: at the start of training nearly everything is background


def cached(function: _Function) -> _Function:
    """Cache the constants that a function makes for sizes, except in compiled or exported graphs, where sizes vary."""
    remembered = lru_cache(maxsize=64)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments) if torch.compiler.is_compiling() else remembered(*arguments)

    return call  # type: ignore[return-value]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, computed as a 1×1 convolution by oneDNN if that is faster.

    PyTorch sends float32 matrix products on the CPU to MKL, which is slow on AMD processors, and adds the bias of
    bfloat16 products in a separate pass. A 1×1 convolution over channels-last pixels is the same product and uses
    oneDNN. The dilation has no effect on it, but without one, PyTorch does not use oneDNN for a single thread, and
    oneDNN chooses a slower kernel for some sizes. The input is converted to the type of the weight, unless autocast
    chooses the types.
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    if not autocast:
        x = x.to(weight.dtype)
    if autocast or not piecewise(x) or x.dtype not in _CONVOLUTION_TYPES:
        return F.linear(x, weight, bias)
    if x.numel() * weight.shape[0] < _CONVOLUTION_PRODUCTS:
        return F.linear(x, weight, bias)
    pixels = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    y = F.conv2d(pixels, weight[:, :, None, None], bias, dilation=2)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])


class Linear(nn.Linear):
    """`nn.Linear` computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return linear(x, self.weight, self.bias)


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last."""

    def __init__(self, width_in: int, width: int, width_out: int, depth: int) -> None:
        super().__init__()
        widths = [width_in, *[width] * (depth - 1), width_out]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width_in] to [..., width_out]."""
        for i, layer in enumerate(self.layers):
            x = layer(x) if i == 0 else layer(F.relu(x, inplace=True))
        return x


class Recomputable(nn.Module):
    """A layer that can recompute its intermediate results in the backward pass: less memory, a third more time."""

    recompute = False  # set per layer, only by training

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(super().__call__, *args, use_reentrant=False, **kwargs)
        return super().__call__(*args, **kwargs)


class FeedForward(nn.Module):
    """Two linear maps with an activation between them."""

    def __init__(self, dim: int, hidden: int, activation: str = "relu") -> None:
        super().__init__()
        self.expand = Linear(dim, hidden)
        self.contract = Linear(hidden, dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] to [B, N, C], in the type of `x`."""
        hidden = self.expand(x)
        hidden = F.relu(hidden, inplace=True) if self.activation == "relu" else F.gelu(hidden)
        return self.contract(hidden).to(x.dtype)


def piecewise(x: Tensor) -> bool:
    """Whether to process tokens a piece at a time: on the CPU, without gradients."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def channels_last(images: Tensor) -> Tensor:
    """Images in the memory format in which convolutional networks are fastest on the CPU; elsewhere as they are."""
    return images.contiguous(memory_format=torch.channels_last) if piecewise(images) else images


def in_pieces(function: Callable[..., Tensor], tokens: Tensor, *others: Tensor) -> Tensor:
    """`function(tokens, *others)`, in pieces if that is faster.

    `function` must treat every token of [B, N, C] independently and keep its shape and type; `others` are
    [B or 1, N, ...].
    """
    if not piecewise(tokens):
        return function(tokens, *others)
    out = torch.empty_like(tokens)
    step = max(1, PIECE_ROWS // tokens.shape[0])
    for start in range(0, tokens.shape[1], step):
        piece = slice(start, start + step)
        out[:, piece] = function(tokens[:, piece], *(x[:, piece] for x in others))
    return out


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention [B, H, T, C/H]; in float32 under the CPU's autocast, where bfloat16 is slower."""
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Attention(nn.Module):
    """Multi-head attention; query, key and value maps are one stacked weight."""

    def __init__(self, dim: int, heads: int, sink: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.sink = nn.Parameter(torch.zeros(dim)) if sink else None  # a key "none of these" with value 0
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from [B, T, C] to [B, M, C]; `mask`, broadcastable to [B, H, T, M], is True where allowed."""
        dim = query.shape[-1]
        single = not torch.compiler.is_compiling() and key.shape[1] == 1
        if single and mask is None and self.sink is None:  # the softmax over one key is 1
            return self.single(value).expand_as(query)
        weights, biases = self.in_proj_weight, self.in_proj_bias
        if key is query:
            q, k = linear(query, weights[: 2 * dim], biases[: 2 * dim]).chunk(2, -1)
        else:
            q = linear(query, weights[:dim], biases[:dim])
            k = linear(key, weights[dim : 2 * dim], biases[dim : 2 * dim])
        v = linear(value, weights[2 * dim :], biases[2 * dim :])
        if self.sink is not None:
            k = torch.cat((k, self.sink.to(k.dtype).expand(k.shape[0], 1, -1)), 1)
            v = F.pad(v, (0, 0, 0, 1))
            mask = None if mask is None else F.pad(mask, (0, 1), value=True)
        out = attention(self._split(q), self._split(k), self._split(v), mask)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def single(self, value: Tensor) -> Tensor:
        """The result if every query has exactly one key, with the value [..., C]."""
        dim = value.shape[-1]
        return self.out_proj(linear(value, self.in_proj_weight[2 * dim :], self.in_proj_bias[2 * dim :]))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class PromptSimilarity(nn.Module):
    """Dot products of features with prompt tokens, as logits.

    The released checkpoint uses the raw products; our own presets learn a scale and a bias.
    """

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.scaled = config.scaled_logits
        if self.scaled:
            self.log_scale = nn.Parameter(torch.tensor(-0.5 * math.log(config.dim)))
            self.bias = nn.Parameter(torch.tensor(_PRIOR))

    def forward(self, features: Tensor, prompts: Tensor, mask: Tensor | None) -> Tensor:
        """Logits [B, T, L] of features [B, T, C] against prompts [B, L, C]; −inf where `mask` [B, L] is False."""
        logits = self.calibrate(features @ prompts.transpose(1, 2))
        return logits if mask is None else logits.masked_fill(~mask[:, None], float("-inf"))

    def calibrate(self, products: Tensor) -> Tensor:
        """Dot products to logits."""
        return products * self.log_scale.exp() + self.bias if self.scaled else products


def logit(x: Tensor, eps: float = 1e-3) -> Tensor:
    """The inverse of the sigmoid on [0, 1], finite at both ends."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
