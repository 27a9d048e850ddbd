"""The networks of the family: their settings by name, and functions that make one with random weights.

`xpose.model.checkpoints.pretrained` loads networks with trained weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpose.model.checkpoints.calibration import Calibration
from xpose.model.config import SwinSettings, XPoseConfig
from xpose.model.network import XPose

_OWN: dict[str, Any] = {"query_content": "token", "size_prior": "token", "scaled_logits": True, "visibility_head": True}


def swin_t_config() -> XPoseConfig:
    """Settings of the released Swin-T checkpoint."""
    return XPoseConfig()


def swin_l_config() -> XPoseConfig:
    """Settings of `xpose-swin-l`: sizes of keypoints come from the prompt, scores are scaled."""
    swin = SwinSettings(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12)
    return XPoseConfig(name="xpose-swin-l", swin=swin, **_OWN)


def r50_config() -> XPoseConfig:
    """Settings of `xpose-r50`: as `xpose-swin-l` with a ResNet-50."""
    return XPoseConfig(name="xpose-r50", backbone="resnet50", **_OWN)


def nano_config() -> XPoseConfig:
    """Settings of `xpose-nano`, a small network for CPUs: MobileNetV2, 128 channels, three levels."""
    return XPoseConfig(
        name="xpose-nano",
        backbone="mobilenetv2",
        encoder="hybrid",
        prompt_width=400,
        prompt_scale=20.0,
        dim=128,
        heads=8,
        levels=3,
        points=4,
        ffn=512,
        encoder_layers=3,
        fusion_width=256,
        fusion_heads=4,
        prompt_ffn=256,
        object_layers=2,
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
    )


CONFIGS: dict[str, Callable[[], XPoseConfig]] = {
    "xpose-swin-t": swin_t_config,
    "xpose-swin-l": swin_l_config,
    "xpose-r50": r50_config,
    "xpose-nano": nano_config,
}
CALIBRATIONS = {"xpose-nano": Calibration(nms=0.7)}  # of fresh networks, where it is not the usual one


def xpose_swin_t() -> XPose:
    """The published network with a Swin-T backbone; compatible with the released checkpoint."""
    return XPose(swin_t_config())


def xpose_nano() -> XPose:
    """The small network for CPUs."""
    return XPose(nano_config())
