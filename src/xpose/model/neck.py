"""From backbone maps to one row of tokens with positions: the input side of the encoder.

Shape letters: see `types.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xpose.model.config import XPoseConfig
from xpose.model.layers import linear
from xpose.model.positions import level_geometry, level_positions
from xpose.model.types import ImageFeatures


class Neck(nn.Module):
    """Projects every map to C channels, adds coarser levels, flattens all of them."""

    def __init__(self, channels: tuple[int, ...], config: XPoseConfig) -> None:
        super().__init__()
        dim = config.dim
        groups = 32 if dim >= 128 else 8
        projections = [nn.Sequential(nn.Conv2d(c, dim, 1), nn.GroupNorm(groups, dim)) for c in channels]
        width = channels[-1]
        for _ in range(config.levels - len(channels)):
            projections.append(nn.Sequential(nn.Conv2d(width, dim, 3, 2, 1), nn.GroupNorm(groups, dim)))
            width = dim
        self.projections = nn.ModuleList(projections)
        self.level_embedding = nn.Parameter(torch.randn(config.levels, dim) * 0.02)

    def forward(self, maps: list[Tensor], padding_mask: Tensor | None) -> ImageFeatures:
        """Backbone maps and the input's mask [B, h, w] (True = padding) to tokens."""
        dtype = self.level_embedding.dtype
        levels = [_project(p, m.to(dtype)) for p, m in zip(self.projections, maps, strict=False)]
        source = maps[-1].to(dtype)
        for projection in list(self.projections)[len(maps) :]:
            source = projection(source)
            levels.append(source)
        shapes = tuple((level.shape[2], level.shape[3]) for level in levels)
        geometry, masks = level_geometry(shapes, padding_mask, levels[0])
        positions = [
            level_positions(*shape, mask, levels[0].shape[1], levels[0]) + embedding
            for shape, mask, embedding in zip(shapes, masks, self.level_embedding, strict=True)
        ]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return ImageFeatures(tokens, torch.cat(positions, dim=1), geometry)


def _project(projection: nn.Module, plane: Tensor) -> Tensor:
    assert isinstance(projection, nn.Sequential)
    convolution, norm = projection[0], projection[1]
    assert isinstance(convolution, nn.Conv2d)
    rows = plane.flatten(2).transpose(1, 2)
    rows = linear(rows, convolution.weight.flatten(1), convolution.bias)
    return norm(rows.transpose(1, 2).unflatten(2, plane.shape[2:]))
