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


def _ceiling(size: int, parts: int) -> int:
    """The number of parts of this length that cover the size."""
    return (size + parts - 1) // parts


def _rolled(plane: Tensor, shift: int) -> Tensor:
    """[B, h, w, C], moved up and to the left by `shift`."""
    for axis in (1, 2):
        plane = torch.cat(plane.tensor_split([shift], axis)[::-1], axis)
    return plane


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
            return self._of_any_size(x, size, shift)
        at_once = max(1, PIECE_ROWS // self.window**2) if piecewise(x) else 2**31
        pieces, scatter = windows(size, self.window, shift, at_once, x.dtype, x.device)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # [H, A, A]
        padded = F.pad(x, (0, 0, 0, 1))  # padding cells point to the added zero row
        done = [self._attend(padded.index_select(1, p.gather), bias, p.mask, p.border) for p in pieces]
        return torch.cat(done, dim=1).index_select(1, scatter)

    def _of_any_size(self, x: Tensor, size: tuple[int, int], shift: int) -> Tensor:
        """The same for graphs in which the size varies: pad, roll and partition instead of gathering rows.

        All sizes are products of whole numbers of windows, which the exporter can compare without solving equations.
        """
        (height, width), window, dim = size, self.window, x.shape[2]
        rows, columns = _ceiling(height, window), _ceiling(width, window)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        plane = F.pad(x.unflatten(1, size), (0, 0, 0, columns * window - width, 0, rows * window - height))
        mask = None
        if shift:
            plane = _rolled(plane, shift)
            regions = _regions(rows * window, window, shift)[:, None] * 3 + _regions(columns * window, window, shift)
            regions = regions.view(rows, window, columns, window).transpose(1, 2).reshape(-1, window * window)
            mask = (regions[:, None, :] != regions[:, :, None]).to(x)[:, None] * -100.0
        cells = plane.view(-1, rows, window, columns, window, dim).transpose(2, 3)
        seen = self._attend(cells.reshape(x.shape[0], -1, dim), bias, mask)
        plane = seen.view(-1, rows, columns, window, window, dim).transpose(2, 3)
        plane = plane.reshape(x.shape[0], rows * window, columns * window, dim)
        if shift:
            plane = _rolled(plane, -shift)
        kept = (torch.arange(length, device=x.device) for length in size)
        return plane.index_select(1, next(kept)).index_select(2, next(kept)).flatten(1, 2)

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
        (height, width), channels = size, x.shape[2]
        high, wide = new = _ceiling(height, 2), _ceiling(width, 2)
        plane = F.pad(x.unflatten(1, size), (0, 0, 0, 2 * wide - width, 0, 2 * high - height))
        corners = plane.view(-1, high, 2, wide, 2, channels).permute(0, 1, 3, 4, 2, 5)  # [B, h, w, x, y, C]
        return self.reduction(self.norm(corners.reshape(x.shape[0], high * wide, 4 * channels))), new


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
        size = (_ceiling(height, 4), _ceiling(width, 4))
        images = F.pad(images, (0, 4 * size[1] - width, 0, 4 * size[0] - height)).to(self.patch.weight.dtype)
        plane = self.patch(images)
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
