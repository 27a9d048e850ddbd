"""The small backbone for CPUs."""

from __future__ import annotations

import torch
from torch import nn

from xpose.model.backbones.mobilenet import MobileNetV2


def test_norms_folded_into_convolutions_change_nothing() -> None:
    torch.manual_seed(0)
    backbone = MobileNetV2().double().eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 1.5)
            for values in (module.bias.data, module.running_mean):
                values.normal_(0, 0.2)
    images = torch.randn(2, 3, 65, 96, dtype=torch.float64)
    plain = backbone(images)
    with torch.inference_mode():
        folded = backbone(images)
    assert [tuple(x.shape[1:]) for x in folded] == [(32, 9, 12), (96, 5, 6), (320, 3, 3)]
    for a, b in zip(folded, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
