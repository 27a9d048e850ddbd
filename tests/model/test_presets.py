"""The networks of the family: sizes, names, and that each runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.model.conftest import tiny_config

from xpose.model import PromptEmbeddings, XPose, XPoseConfig
from xpose.model.checkpoints.files import read_tensors
from xpose.model.presets import CONFIGS, xpose_nano


def test_nano_is_small() -> None:
    assert sum(p.numel() for p in xpose_nano().parameters()) <= 10_000_000


@pytest.mark.parametrize("name", [n for n in CONFIGS if n != "xpose-swin-l"])
def test_presets_are_named_and_run(name: str) -> None:
    model = XPose(CONFIGS[name]).eval()
    assert model.config.name == name
    width = model.config.prompt_width
    prompt = PromptEmbeddings.from_lists([torch.randn(2, width)], [torch.randn(5, width)])
    with torch.inference_mode():
        result = model(torch.randn(1, 3, 96, 128), prompt)
    assert torch.isfinite(result.keypoints[0]).all()


def test_swin_l_is_the_large_one() -> None:
    with torch.device("meta"):
        model = XPose(CONFIGS["xpose-swin-l"])
    assert model.backbone.channels == (384, 768, 1536)
    assert sum(p.numel() for p in model.backbone.parameters()) > 190e6


def test_nano_backbone_has_timm_names() -> None:
    """So that timm's mobilenetv2_100 file loads as it is, but for its classifier."""
    path = Path(__file__).parents[3] / "shared" / "weights" / "mobilenetv2_100.safetensors"
    if not path.exists():
        pytest.skip(f"the ImageNet backbone is not at {path}")
    weights = {k: v for k, v in read_tensors(path).items() if not k.startswith(("conv_head", "bn2.", "classifier"))}
    backbone = xpose_nano().backbone
    wanted = {k for k in backbone.state_dict() if not k.endswith("num_batches_tracked")}
    assert wanted == {k for k in weights if not k.endswith("num_batches_tracked")}
    backbone.load_state_dict(weights, strict=False)


def test_config_json_is_the_same_settings() -> None:
    for config in (XPoseConfig(), CONFIGS["xpose-nano"], tiny_config()):
        assert XPoseConfig.from_json(config.to_json()) == config
