"""Networks small enough to trace in a few seconds."""

from __future__ import annotations

from dataclasses import replace

import torch
from tests.model.conftest import lively

from xpose.model import SwinSettings, XPose
from xpose.model.presets import CONFIGS

_SMALL = {
    "swin": SwinSettings(dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=3),
    "dim": 32,
    "heads": 4,
    "ffn": 48,
    "encoder_layers": 1,
    "object_layers": 1,
    "keypoint_layers": 1,
    "fusion_width": 48,
    "prompt_width": 12,
    "prompt_ffn": 40,
    "queries": 40,
    "instances": 6,
    "image_short": 96,
    "image_long": 160,
    "example_side": 64,
}


def small_network(preset: str, **changes: object) -> XPose:
    """A preset with one layer of each kind and few channels."""
    torch.manual_seed(0)
    return lively(XPose(replace(CONFIGS[preset], **(_SMALL | changes)))).requires_grad_(False)
