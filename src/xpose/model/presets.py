"""The preset networks: settings by name, and functions that create them with random weights.

`xpose.model.checkpoints.pretrained` loads networks with trained weights.
"""

from __future__ import annotations

from typing import Any

from xpose.model.checkpoints.calibration import Calibration
from xpose.model.config import SwinSettings, XPoseConfig
from xpose.model.network import XPose

_LARGE = SwinSettings(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12)
# Our own networks take sizes of keypoints from the prompt and scale their scores.
_OWN: dict[str, Any] = {"query_content": "token", "size_prior": "token", "scaled_logits": True, "visibility_head": True}
_CONFIGS = (
    XPoseConfig(),  # the released Swin-T checkpoint
    XPoseConfig(name="xpose-swin-l", swin=_LARGE, **_OWN),
    XPoseConfig(name="xpose-r50", backbone="resnet50", **_OWN),
    XPoseConfig(  # a small network for CPUs
        name="xpose-nano",
        backbone="mobilenetv2",
        encoder="hybrid",
        prompt_width=400,
        prompt_scale=20.0,
        dim=128,
        levels=3,
        ffn=512,
        encoder_layers=3,
        fusion_width=256,
        prompt_ffn=256,
        keypoint_layers=3,
        queries=100,
        instances=20,
        prompt_encoder="nano",
        example_side=128,
        image_short=320,
        image_long=512,
        point_steps="box",
        score="objects",
        **_OWN,
    ),
)
CONFIGS = {config.name: config for config in _CONFIGS}
CALIBRATIONS = {"xpose-nano": Calibration(nms=0.7)}  # of untrained networks, if not the default


def xpose_swin_t() -> XPose:
    """The published network with a Swin-T backbone; compatible with the released checkpoint."""
    return XPose(CONFIGS["xpose-swin-t"])


def xpose_nano() -> XPose:
    """The small network for CPUs."""
    return XPose(CONFIGS["xpose-nano"])
