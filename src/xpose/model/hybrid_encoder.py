"""The encoder of small networks: prompts meet the coarse levels only, the finest level joins at the end.

Plain attention over a few hundred coarse tokens costs less on a CPU than deformable attention over all of them, and
sees the whole picture at once. Shape letters: see `types.py`; M = tokens of the coarse levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.encoder import PromptLayer
from xpose.model.fusion import Fusion
from xpose.model.layers import Attention, FeedForward, Recomputable
from xpose.model.types import EncodedScene, ImageFeatures, ProjectedPrompts


class CoarseLayer(Recomputable):
    """Fusion, then each side by itself; the image side attends to all of its tokens."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.fusion = Fusion(config.dim, config.fusion_width, config.fusion_heads, config.sinks)
        self.prompt = PromptLayer(config.dim, config.fusion_heads, config.prompt_ffn)
        self.attention = Attention(config.dim, config.coarse_heads)
        self.norm1 = nn.LayerNorm(config.dim)
        self.ffn = FeedForward(config.dim, config.ffn)
        self.norm2 = nn.LayerNorm(config.dim)

    def forward(
        self,
        tokens: Tensor,
        objects: Tensor,
        positions: Tensor,
        padding: Tensor | None,
        object_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Image side [B, M, C] and object side [B, L, C] after one round."""
        tokens, objects = self.fusion(tokens, objects, padding, object_mask)
        objects = self.prompt(objects)
        placed = tokens + positions
        keep = None if padding is None else ~padding[:, None, None]
        tokens = self.norm1(tokens + self.attention(placed, placed, tokens, keep))
        return self.norm2(tokens + self.ffn(tokens)), objects


class Join(nn.Module):
    """A coarse map added to the next finer one, then smoothed channel by channel and mixed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)
        self.mix = nn.Conv2d(dim, dim, 1)
        self.norm = nn.GroupNorm(8, dim)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """[B, C, h, w] and [B, C, h', w'] to [B, C, h, w]."""
        joined = fine + F.interpolate(coarse, size=fine.shape[2:], mode="nearest")
        return joined + self.norm(self.mix(F.relu(self.smooth(joined))))


class HybridEncoder(nn.Module):
    """Turns three levels of image features and projected prompts into an encoded scene."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CoarseLayer(config) for _ in range(config.encoder_layers))
        self.joins = nn.ModuleList(Join(config.dim) for _ in range(config.levels - 1))

    def forward(self, features: ImageFeatures, prompts: ProjectedPrompts) -> EncodedScene:
        """Both sides after all layers."""
        geometry = features.geometry
        first = geometry.shapes[0][0] * geometry.shapes[0][1]
        padding = None if geometry.padding is None else geometry.padding[:, first:]
        tokens, objects = features.tokens[:, first:], prompts.objects
        for layer in self.layers:
            tokens, objects = layer(tokens, objects, features.positions[:, first:], padding, prompts.object_mask)
        sizes = [h * w for h, w in geometry.shapes]
        levels = [
            rows.transpose(1, 2).unflatten(2, shape)
            for rows, shape in zip(
                (features.tokens[:, :first], *tokens.split(sizes[1:], dim=1)), geometry.shapes, strict=True
            )
        ]
        for level in range(len(levels) - 2, -1, -1):
            levels[level] = self.joins[level](levels[level], levels[level + 1])
        joined = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return EncodedScene(joined, objects, prompts, geometry)
