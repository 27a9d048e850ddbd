"""Swin transformer, written for long rows of tokens.

Tokens stay one row per pixel throughout. Windows are a permutation of rows, made once per picture size, so that
padding, shifting and partitioning are one gather, and their inverse is another.

Letters: B images, P pixels of a stage (row by row), W windows, A = window², H heads, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.layers import PIECE_ROWS, FeedForward, Linear, Recomputable, in_pieces, piecewise


@dataclass(frozen=True)
class WindowPiece:
    """A few windows that are processed together."""

    gather: Tensor  # [W · A] pixel of each window cell; P where the cell is padding
    border: Tensor  # numbers of the windows that hold cells of different regions
    mask: Tensor  # [border windows, 1, A, A], −100 between different regions


@lru_cache(maxsize=32)
def windows(
    size: tuple[int, int], window: int, shift: int, at_once: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[WindowPiece], Tensor]:
    """The windows of a stage in pieces of `at_once`, and the window cell of each pixel [P]; cached per size."""
    height, width = size
    with torch.inference_mode(False), torch.no_grad():  # cached tensors are used in training too
        high, wide = -(-height // window) * window, -(-width // window) * window
        pixels = torch.full((high, wide), height * width)
        pixels[:height, :width] = torch.arange(height * width).view(height, width)
        cells = _partition(pixels.roll((-shift, -shift), (0, 1)), window)
        scatter = torch.empty(height * width + 1, dtype=torch.long)
        scatter[cells.flatten()] = torch.arange(cells.numel())
        regions = _regions(high, window, shift)[:, None] * 3 + _regions(wide, window, shift)[None]
        pieces = []
        for piece, region in zip(cells.split(at_once), _partition(regions, window).split(at_once), strict=True):
            differ = region[:, None, :] != region[:, :, None]
            border = differ.flatten(1).any(1).nonzero()[:, 0]
            mask = differ[border].to(dtype)[:, None] * -100.0
            pieces.append(WindowPiece(piece.flatten().to(device), border.to(device), mask.to(device)))
        return pieces, scatter[:-1].to(device)


def _partition(plane: Tensor, window: int) -> Tensor:
    """[h, w] to [W, A]."""
    h, w = plane.shape
    return plane.view(h // window, window, w // window, window).transpose(1, 2).reshape(-1, window * window)


def _regions(size: int, window: int, shift: int) -> Tensor:
    """0, 1 or 2 for each cell of a shifted axis: cells with different numbers were not neighbours before the shift."""
    place = torch.arange(size)
    return (place >= size - window).long() + (place >= size - shift).long() if shift else torch.zeros_like(place)


class WindowAttention(nn.Module):
    """Self-attention within windows with a learned bias for the relative position."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)
        self.relative_position_index: Tensor
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_index(window), persistent=False)

    def forward(self, x: Tensor, size: tuple[int, int], shift: int) -> Tensor:
        """[B, P, C] (normalised) to [B, P, C]."""
        if torch.compiler.is_compiling():
            return self._rolled(x, size, shift)
        at_once = max(1, PIECE_ROWS // self.window**2) if piecewise(x) else 2**31
        pieces, scatter = windows(size, self.window, shift, at_once, x.dtype, x.device)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # [H, A, A]
        padded = F.pad(x, (0, 0, 0, 1))  # padding cells point to the added zero row
        done = [self._attend(padded.index_select(1, p.gather), bias, p.mask, p.border) for p in pieces]
        return torch.cat(done, dim=1).index_select(1, scatter)

    def _rolled(self, x: Tensor, size: tuple[int, int], shift: int) -> Tensor:
        """The same for graphs in which the size varies: pad, roll and partition instead of gathering rows."""
        (height, width), window = size, self.window
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        plane = F.pad(x.unflatten(1, size), (0, 0, 0, -width % window, 0, -height % window))
        high, wide = plane.shape[1:3]
        if shift:
            plane = plane.roll((-shift, -shift), (1, 2))
        split = (-1, high // window, window, wide // window, window, x.shape[2])
        cells = plane.view(split).transpose(2, 3).flatten(1, 4)
        mask = None
        if shift:
            regions = _regions(high, window, shift)[:, None] * 3 + _regions(wide, window, shift)[None]
            regions = _partition(regions.to(x.device), window)
            mask = (regions[:, None, :] != regions[:, :, None]).to(x.dtype)[:, None] * -100.0
        seen = self._attend(cells, bias, mask)
        plane = seen.view(split[0], split[1], split[3], window, window, x.shape[2]).transpose(2, 3).reshape(plane.shape)
        if shift:
            plane = plane.roll((shift, shift), (1, 2))
        return plane[:, :height, :width].flatten(1, 2)

    def _attend(self, cells: Tensor, bias: Tensor, mask: Tensor | None, border: Tensor | None = None) -> Tensor:
        """Window cells [B, W · A, C] after attention; `mask` is added to the scores of all windows or of `border`."""
        batch, _, dim = cells.shape
        qkv = self.qkv(cells).view(batch, -1, self.window**2, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)  # [B, W, H, A, C/H]
        scores = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1) + bias
        if mask is not None and border is None:
            scores = scores + mask
        elif mask is not None and border is not None and border.numel():
            borders = mask.expand(batch, -1, self.heads, -1, -1)
            scores = scores.index_add(1, border, borders.to(scores.dtype))  # autocast can widen the scores
        out = (scores.softmax(-1) @ v).transpose(2, 3).reshape(batch, -1, dim)
        return self.proj(out)


def relative_index(window: int) -> Tensor:
    """Row of the bias table for each query and key, [A, A]."""
    place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"), -1).view(-1, 2)
    difference = place[:, None] - place[None] + window - 1
    return difference[..., 0] * (2 * window - 1) + difference[..., 1]


class Block(Recomputable):
    """Attention in windows and a feed-forward block, pre-norm."""

    def __init__(self, dim: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.shift = window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, 4 * dim, activation="gelu")

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """[B, P, C] to [B, P, C]."""
        x = x + self.attention(self.norm1(x), size, self.shift)
        return in_pieces(lambda rows: rows + self.ffn(self.norm2(rows)), x)


class Merging(nn.Module):
    """Four neighbouring pixels become one of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """[B, P, C] to [B, about P/4, 2C] and the new size."""
        height, width = size
        plane = F.pad(x.unflatten(1, size), (0, 0, 0, width % 2, 0, height % 2))
        corners = [plane[:, y::2, x::2] for x in (0, 1) for y in (0, 1)]
        new = (corners[0].shape[1], corners[0].shape[2])
        return self.reduction(self.norm(torch.cat(corners, dim=-1).flatten(1, 2))), new


class Stage(nn.Module):
    """Blocks of one resolution, and the merging that leads to the next."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, window, shifted=bool(i % 2)) for i in range(depth))
        self.merging = Merging(dim) if merge else None


class Swin(nn.Module):
    """Feature maps of stages 1 to 3 (strides 8, 16, 32), each with its own norm."""

    def __init__(self, *, dim: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, 4)
        self.patch_norm = nn.LayerNorm(dim)
        last = len(depths) - 1
        self.stages = nn.ModuleList(
            Stage(dim * 2**i, depth, count, window, merge=i < last)
            for i, (depth, count) in enumerate(zip(depths, heads, strict=True))
        )
        self.channels = tuple(dim * 2**i for i in range(1, len(depths)))
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels)

    def first_stages(self, count: int) -> list[nn.Module]:
        """The patch layers and `count` stages; the first works at stride 4."""
        return [self.patch, self.patch_norm, *self.stages[:count]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, h, w] to maps [B, c, h/8, w/8], [.., h/16, ..], [.., h/32, ..]."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % 4, 0, -height % 4)).to(self.patch.weight.dtype)
        plane = self.patch(images)
        size = (plane.shape[2], plane.shape[3])
        x = self.patch_norm(plane.flatten(2).transpose(1, 2))
        maps = []
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, Stage)
            for block in stage.blocks:
                x = block(x, size)
            if number:
                maps.append(self.norms[number - 1](x).transpose(1, 2).unflatten(2, size))
            if stage.merging is not None:
                x, size = stage.merging(x, size)
        return maps
