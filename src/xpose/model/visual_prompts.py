"""Example pictures as prompts for our own networks, using the detector's backbone.

The example's object is cut out and goes through the same backbone as any picture. An object token and one token per
keypoint (the picture's feature at the point, plus a sine code of its position; a learned token if it is not visible)
attend to each other and to the cut-out's features. The result has the width of a text embedding.

Letters: n example pictures, K keypoints, P tokens of the cut-out, C channels, D width of a prompt embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.layers import Attention, FeedForward, Linear
from xpose.model.positions import level_positions, sine_code

_LAYERS = 2


class ExampleLayer(nn.Module):
    """Prompt tokens attend to themselves and to the picture (pre-norm)."""

    def __init__(self, dim: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn, activation="gelu")

    def forward(self, tokens: Tensor, picture: Tensor, keep: Tensor) -> Tensor:
        """[n, 1 + K, C] with pictures [n, P, C]; `keep` [n, 1 + K] is False at padding."""
        normed = self.norm1(tokens)
        seen = torch.cat((normed, picture), dim=1)
        mask = torch.cat((keep, keep.new_ones(keep.shape[0], picture.shape[1])), dim=1)[:, None, None]
        tokens = tokens + self.attention(normed, seen, seen, mask)
        return tokens + self.ffn(self.norm2(tokens))


class VisualPrompts(nn.Module):
    """Turns example pictures, as backbone maps, into prompt embeddings."""

    def __init__(self, channels: tuple[int, ...], config: XPoseConfig) -> None:
        super().__init__()
        dim = config.dim
        self.fine = nn.Conv2d(channels[0], dim, 1)
        self.coarse = nn.Conv2d(channels[1], dim, 1)
        self.norm = nn.LayerNorm(dim)
        self.object_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.hidden_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.place = Linear(256, dim)
        self.layers = nn.ModuleList(ExampleLayer(dim, config.heads, config.ffn) for _ in range(_LAYERS))
        self.out_norm = nn.LayerNorm(dim)
        self.object_out = Linear(dim, config.prompt_width)
        self.keypoint_out = Linear(dim, config.prompt_width)

    def forward(
        self, maps: list[Tensor], points: Tensor, visible: Tensor, real: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of the object [n, D] and of each keypoint [n, K, D].

        Args:
            maps: the backbone's maps of the cut-outs, strides 8, 16 and 32.
            points: [n, K, 2], x and y in 0..1 of the cut-out; ignored if invisible.
            visible: [n, K] bool.
            real: [n, K] bool, False where a point is only padding of the batch; all real if None.
        """
        dtype = self.place.weight.dtype
        fine, coarse = self.fine(maps[0].to(dtype)), self.coarse(maps[1].to(dtype))
        height, width = coarse.shape[2:]
        positions = level_positions(height, width, None, coarse.shape[1], coarse)
        picture = self.norm(coarse.flatten(2).transpose(1, 2) + positions)
        places = points.to(dtype).masked_fill(~visible[..., None], 0.0)  # can be NaN there
        code = sine_code(places[..., [1, 0]] * (2 * math.pi), 128, 10000.0).flatten(-2)
        local = F.grid_sample(fine, places[:, :, None] * 2 - 1, align_corners=False)[..., 0].transpose(1, 2)
        keypoints = torch.where(visible[..., None], local + self.place(code), self.hidden_token)
        tokens = torch.cat((self.object_token.expand(points.shape[0], 1, -1), keypoints), dim=1)
        keep = visible.new_ones(visible.shape) if real is None else real
        keep = torch.cat((keep.new_ones(keep.shape[0], 1), keep), dim=1)
        for layer in self.layers:
            tokens = layer(tokens, picture, keep)
        tokens = self.out_norm(tokens)
        # Normalised, like the embeddings of words.
        return F.normalize(self.object_out(tokens[:, 0]), dim=-1), F.normalize(self.keypoint_out(tokens[:, 1:]), dim=-1)
