"""bfloat16 on request, and never where it would only cost accuracy."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from tests.model.conftest import lively, random_images, random_prompts, tiny_config

from xpose.errors import ConfigError, XPoseWarning
from xpose.inference import loading
from xpose.inference.loading import quick_bfloat16, set_precision
from xpose.model import PromptEmbeddings, XPose
from xpose.model.config import BackboneName


def run(model: XPose) -> torch.Tensor:
    objects, keypoints = random_prompts(1, 5)
    prompt = PromptEmbeddings.from_lists([objects.float()], [keypoints.float()])
    with torch.inference_mode():
        features = model.encode_image(random_images(1, 96, 128).float())
        scene = model.encoder(features, model.project(prompt))
    assert scene.tokens.dtype == torch.float32
    return scene.tokens


def test_bfloat16_lowers_what_it_says_and_stays_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "quick_bfloat16", lambda device: True)
    model = lively(XPose(tiny_config()))
    exact = run(model)
    set_precision(model, "bfloat16")
    lowered = {n.split(".")[0] for n, p in model.named_parameters() if p.dtype == torch.bfloat16}
    assert lowered == {"backbone", "encoder"}
    assert all(p.dtype == torch.float32 for n, p in model.named_parameters() if "sampling_offsets" in n)
    error = (run(model) - exact).abs().median() / exact.abs().median()
    assert 0 < error < 0.05


@pytest.mark.parametrize("backbone", get_args(BackboneName))
def test_every_backbone_takes_float32_pictures_in_bfloat16(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "quick_bfloat16", lambda device: True)
    model = set_precision(lively(XPose(tiny_config(backbone=backbone))), "bfloat16")
    with torch.inference_mode():
        tokens = model.encode_image(random_images(1, 96, 128).float()).tokens
    assert tokens.dtype == torch.float32
    assert bool(torch.isfinite(tokens).all())


def test_bfloat16_without_hardware_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "quick_bfloat16", lambda device: False)
    model = lively(XPose(tiny_config()))
    with pytest.warns(XPoseWarning, match="staying in float32"):
        set_precision(model, torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_other_types() -> None:
    model = XPose(tiny_config())
    assert next(set_precision(model, "float64").parameters()).dtype == torch.float64
    assert next(set_precision(model, None).parameters()).dtype == torch.float32
    with pytest.raises(ConfigError, match="bfloat16"):
        set_precision(model, "int8")


@pytest.mark.parametrize(("bf16", "amx"), [(False, False), (True, False), (False, True)])
def test_a_cpu_is_quick_in_bfloat16_with_either_instruction_set(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, amx: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert quick_bfloat16("cpu") is (bf16 or amx)
