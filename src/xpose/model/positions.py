"""Sine codes of positions and boxes, and the geometry of the token levels.

Shape letters: see `types.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from xpose.model.layers import cached
from xpose.model.types import LevelGeometry


def sine_code(values: Tensor, count: int, temperature: float) -> Tensor:
    """Sines (even) and cosines (odd) of angles: [...] to [..., count]."""
    angles = values[..., None] * _frequencies(count, temperature, values.dtype, values.device)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


@cached
def _frequencies(count: int, temperature: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    place = "cpu" if device.type == "mps" else device  # which has no float64
    with torch.inference_mode(False), torch.no_grad():  # cached tensors are used in training too
        exponent = torch.arange(count // 2, device=place, dtype=torch.float64) * 2 / count
        return (temperature**-exponent).to(device, dtype)


@cached
def level_sizes(shapes: tuple[tuple[int, int], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[levels, 2]: width and height of every level."""
    with torch.inference_mode(False):
        return torch.tensor([(w, h) for h, w in shapes], dtype=dtype, device=device)


def box_code(boxes: Tensor, count: int = 128) -> Tensor:
    """The code of boxes (cx, cy, w, h): [..., 4] to [..., 4 · count], in the order y, x, w, h."""
    order = boxes[..., [1, 0, 2, 3]] * (2 * math.pi)
    return sine_code(order, count, 10000.0).flatten(-2)


def level_positions(height: int, width: int, padding: Tensor | None, dim: int, like: Tensor) -> Tensor:
    """Position code of one level: [B or 1, h · w, dim], first the half for y, then that for x.

    Padding is not counted, so that the code does not depend on how much the batch was padded.
    """
    half = dim // 2
    if padding is None:
        y = _axis_code(height, half, like.dtype, like.device)
        x = _axis_code(width, half, like.dtype, like.device)
        grid = (y[:, None].expand(height, width, half), x[None].expand(height, width, half))
        return torch.cat(grid, dim=-1).view(1, height * width, dim)
    real = (~padding).to(like.dtype)
    y, x = real.cumsum(1), real.cumsum(2)
    y = y / (y[:, -1:, :] + 1e-6) * (2 * math.pi)
    x = x / (x[:, :, -1:] + 1e-6) * (2 * math.pi)
    return torch.cat((sine_code(y, half, 20.0), sine_code(x, half, 20.0)), dim=-1).flatten(1, 2)


@cached
def _axis_code(size: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # cached tensors are used in training too
        steps = torch.arange(1, size + 1, dtype=dtype, device=device)
        return sine_code(steps / (size + 1e-6) * (2 * math.pi), count, 20.0)


def level_geometry(
    shapes: tuple[tuple[int, int], ...], padding_mask: Tensor | None, like: Tensor
) -> tuple[LevelGeometry, list[Tensor | None]]:
    """Geometry of all levels, and each level's own padding mask [B, h, w] (None if nothing is padded)."""
    if padding_mask is None or not bool(padding_mask.any()):
        ratios = torch.ones(like.shape[0], len(shapes), 2, dtype=like.dtype, device=like.device)
        return LevelGeometry(shapes, None, ratios), [None] * len(shapes)
    masks = [
        F.interpolate(padding_mask[:, None].to(torch.uint8), size=shape, mode="nearest")[:, 0].bool()
        for shape in shapes
    ]
    real = [(~m).to(like.dtype) for m in masks]
    ratios = torch.stack([torch.stack((m[:, 0].mean(-1), m[:, :, 0].mean(-1)), dim=-1) for m in real], dim=1)
    flat = torch.cat([m.flatten(1) for m in masks], dim=1)
    return LevelGeometry(shapes, flat, ratios), list(masks)


def token_centres(geometry: LevelGeometry) -> Tensor:
    """Centre of every token in *valid* coordinates (1 = the last real pixel): [B or 1, N, 2] as x, y."""
    ratios = geometry.valid_ratios
    if geometry.padding is None:
        ratios = ratios[:1]
    sizes = level_sizes(geometry.shapes, ratios.dtype, ratios.device)
    per_level = []
    for level, (height, width) in enumerate(geometry.shapes):
        grid = _pixel_centres(height, width, ratios.dtype, ratios.device)
        per_level.append(grid / (ratios[:, level, None] * sizes[level]))
    return torch.cat(per_level, dim=1)


@cached
def _pixel_centres(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        y = torch.arange(height, dtype=dtype, device=device) + 0.5
        x = torch.arange(width, dtype=dtype, device=device) + 0.5
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).view(1, height * width, 2)
