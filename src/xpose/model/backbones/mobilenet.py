"""MobileNetV2 features, with timm's names so that timm's weight files load unchanged."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.layers import Recomputable

# expansion, channels, repeats, first stride: the published table
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_TAKEN = {2: 32, 4: 96, 6: 320}  # stage number: channels, at strides 8, 16, 32


class DepthwiseSeparable(Recomputable):
    """The first block, whose expansion is 1."""

    def __init__(self, width_in: int, width_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width_in, width_in, 3, stride, 1, groups=width_in, bias=False)
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv_pw = nn.Conv2d(width_in, width_out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] to [B, out, h', w']."""
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class InvertedResidual(Recomputable):
    """Expand, filter each channel, contract; residual if the shape is unchanged."""

    def __init__(self, width_in: int, width_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = width_in * expansion
        self.conv_pw = nn.Conv2d(width_in, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv_dw = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv_pwl = nn.Conv2d(hidden, width_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width_out)
        self.residual = stride == 1 and width_in == width_out

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] to [B, out, h', w']."""
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(y)))))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Feature maps of 32, 96 and 320 channels at strides 8, 16 and 32."""

    channels = tuple(_TAKEN.values())

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        width = 32
        stages = []
        for expansion, channels, repeats, stride in _STAGES:
            first = (DepthwiseSeparable if expansion == 1 else InvertedResidual)(width, channels, stride, expansion)
            rest = (InvertedResidual(channels, channels, 1, expansion) for _ in range(repeats - 1))
            stages.append(nn.Sequential(first, *rest))
            width = channels
        self.blocks = nn.ModuleList(stages)

    def first_stages(self, count: int) -> list[nn.Module]:
        """The stem and `count` stages; the second ends at stride 4."""
        return [self.conv_stem, self.bn1, *self.blocks[:count]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, h, w] to three maps."""
        x = F.relu6(self.bn1(self.conv_stem(images.to(self.conv_stem.weight.dtype))))
        maps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in _TAKEN:
                maps.append(x)
        return maps
