"""ResNet-50 of the transformers library, as the papers' small backbone."""

from __future__ import annotations

from torch import Tensor, nn

from xpose.model.layers import Recomputable


class ResNet50(Recomputable):
    """Feature maps of 512, 1024 and 2048 channels at strides 8, 16 and 32."""

    channels = (512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        from transformers import ResNetBackbone, ResNetConfig

        self.net = ResNetBackbone(ResNetConfig(out_features=["stage2", "stage3", "stage4"]))  # type: ignore[call-arg]

    def first_stages(self, count: int) -> list[nn.Module]:
        """The stem and so many stages; the first ends at stride 4."""
        return [self.net.embedder, *self.net.encoder.stages[:count]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, h, w] to three maps."""
        return list(self.net(images.to(self.net.dtype)).feature_maps)
