"""Similarity of queries with prompt tokens: the class score, and the confidence of a keypoint.

Shape letters: see `types.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from xpose.model.config import XPoseConfig

_PRIOR = -4.595  # logit of 0.01: at the start of training nearly everything is background


class Similarity(nn.Module):
    """Dot products of features with prompt tokens.

    The released checkpoint uses them as they are; our own presets learn a scale and a bias.
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
