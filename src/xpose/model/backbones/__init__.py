"""Backbones: a picture to feature maps at strides 8, 16 and 32. One file each; the settings choose."""

from __future__ import annotations

from torch import nn

from xpose.model.config import XPoseConfig


def build_backbone(config: XPoseConfig) -> nn.Module:
    """The backbone of a network: a module with `.channels` whose forward gives three maps [B, c, h, w]."""
    if config.backbone == "swin":
        from xpose.model.backbones.swin import Swin

        s = config.swin
        return Swin(dim=s.dim, depths=s.depths, heads=s.heads, window=s.window)
    if config.backbone == "mobilenetv2":
        from xpose.model.backbones.mobilenet import MobileNetV2

        return MobileNetV2()
    if config.backbone == "nanodet":
        from xpose.model.backbones.nanodet import NanoDet

        return NanoDet()
    from xpose.model.backbones.resnet import ResNet50

    return ResNet50()
