"""Backbones, which compute feature maps at strides 8, 16 and 32. The settings choose one."""

from __future__ import annotations

from torch import Tensor, nn

from xpose.model.backbones.mobilenet import MobileNetV2
from xpose.model.backbones.nanodet import NanoDet
from xpose.model.backbones.swin import Swin
from xpose.model.config import XPoseConfig
from xpose.model.layers import Recomputable


def build_backbone(config: XPoseConfig) -> Swin | MobileNetV2 | NanoDet | ResNet50:
    """The backbone of a network: a module with `.channels` whose forward gives three maps [B, c, h, w]."""
    if config.backbone == "swin":
        s = config.swin
        return Swin(dim=s.dim, depths=s.depths, heads=s.heads, window=s.window)
    if config.backbone == "mobilenetv2":
        return MobileNetV2()
    return NanoDet() if config.backbone == "nanodet" else ResNet50()


class ResNet50(Recomputable):
    """ResNet-50 of the transformers library: maps of 512, 1024 and 2048 channels at strides 8, 16 and 32."""

    channels = (512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        from transformers import ResNetBackbone, ResNetConfig

        self.net = ResNetBackbone(ResNetConfig(out_features=["stage2", "stage3", "stage4"]))  # type: ignore[call-arg]

    def first_stages(self, count: int) -> list[nn.Module]:
        """The stem and `count` stages; the first stage ends at stride 4."""
        return [self.net.embedder, *self.net.encoder.stages[:count]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, h, w] to three maps."""
        return list(self.net(images.to(self.net.dtype)).feature_maps)
