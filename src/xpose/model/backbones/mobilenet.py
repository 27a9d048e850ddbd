"""MobileNetV2 features, with timm's names so that timm's weight files load unchanged."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xpose.model.layers import Recomputable, channels_last, piecewise

# expansion, channels, repeats, first stride: the published table
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_TAKEN = {2: 32, 4: 96, 6: 320}  # stage number: channels, at strides 8, 16, 32


def _normed(convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """`norm(convolution(x))`, in one step where nothing is learned."""
    mean, variance = norm.running_mean, norm.running_var
    if norm.training or not piecewise(x) or mean is None or variance is None:
        return norm(convolution(x))
    weight, bias = fuse_conv_bn_weights(convolution.weight, None, mean, variance, norm.eps, norm.weight, norm.bias)
    return F.conv2d(x, weight, bias, convolution.stride, convolution.padding, groups=convolution.groups)


def _active(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)  # a norm's backward does not need its output


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
        return _normed(self.conv_pw, self.bn2, _active(_normed(self.conv_dw, self.bn1, x)))


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
        y = _active(_normed(self.conv_pw, self.bn1, x))
        y = _normed(self.conv_pwl, self.bn3, _active(_normed(self.conv_dw, self.bn2, y)))
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
        x = _active(_normed(self.conv_stem, self.bn1, channels_last(images).to(self.conv_stem.weight.dtype)))
        maps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in _TAKEN:
                maps.append(x)
        return maps
