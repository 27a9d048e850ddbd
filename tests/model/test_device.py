"""Lower precision on request, and never where it would only cost accuracy; compiled networks."""

from __future__ import annotations

import copy
import math
from typing import get_args

import pytest
import torch
from tests.model.conftest import lively, random_images, random_prompts, tiny_config, tiny_nano_config

from xpose.errors import ConfigError, XPoseWarning
from xpose.model import PromptEmbeddings, XPose, device
from xpose.model.config import BackboneName
from xpose.model.device import Difference, difference, multiplies_bf16, set_precision


def run(model: XPose) -> torch.Tensor:
    objects, keypoints = random_prompts(1, 5)
    prompt = PromptEmbeddings.from_lists([objects.float()], [keypoints.float()])
    with torch.inference_mode():
        features = model.encode_image(random_images(1, 96, 128).float())
        scene = model.encoder(features, model.project(prompt))
    assert scene.tokens.dtype == torch.float32
    return scene.tokens


def test_bfloat16_lowers_what_it_says_and_stays_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda place: True)
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
    monkeypatch.setattr(device, "multiplies_bf16", lambda place: True)
    model = set_precision(lively(XPose(tiny_config(backbone=backbone))), "bfloat16")
    with torch.inference_mode():
        tokens = model.encode_image(random_images(1, 96, 128).float()).tokens
    assert tokens.dtype == torch.float32
    assert bool(torch.isfinite(tokens).all())


def test_bfloat16_without_hardware_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda place: False)
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


def test_float16_needs_a_gpu() -> None:
    with pytest.warns(XPoseWarning, match="no hardware for float16"):
        model = set_precision(lively(XPose(tiny_config())), "float16")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_auto_takes_bfloat16_where_it_is_native_and_hardly_changes_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively(XPose(tiny_config()))
    for native, scale, taken in ((True, 1e-4, True), (True, 1.0, False), (False, 1e-4, False)):
        monkeypatch.setattr(device, "multiplies_bf16", lambda place, native=native: native)
        monkeypatch.setattr(device, "difference", lambda *_, scale=scale: Difference(scale, scale))
        chosen = set_precision(model, "auto")
        assert (next(chosen.backbone.parameters()).dtype == torch.bfloat16) is taken
        assert {p.dtype for p in model.parameters()} == {torch.float32}, "the given network stays as it is"


def test_the_difference_grows_with_the_change_and_is_out_of_bounds_for_broken_networks() -> None:
    model = lively(XPose(tiny_nano_config()))
    assert difference(model, copy.deepcopy(model)) == Difference(0, 0)
    found = []
    for change in (1e-3, 1e-1, math.nan):
        changed = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in changed.backbone.parameters():
                parameter.mul_(1 + change)
        found.append(difference(model, changed))
    assert 0 < found[0].keypoints < found[1].keypoints
    assert 0 < found[0].scores < found[1].scores
    assert not found[2].within_bounds, "NaN"


@pytest.mark.parametrize(("bf16", "amx"), [(False, False), (True, False), (False, True)])
def test_older_versions_of_pytorch_name_single_instruction_sets(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, amx: bool
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert multiplies_bf16(torch.device("cpu")) is (bf16 or amx)


def test_layers_and_the_backbone_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compiling anything; tests of training compare the numbers of compiled layers."""
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda function, backend: function)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, backend, dynamic: compiled.append(module))
    model = XPose(tiny_config())
    device.compile_network(model)
    layers = [*model.encoder.layers, *model.object_decoder.layers, *model.keypoint_decoder.layers]
    assert compiled == [*layers, model.backbone]


def test_without_a_compiler_the_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(function: object, backend: str) -> None:
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(torch, "compile", no_compiler)
    model = XPose(tiny_config())
    with pytest.warns(XPoseWarning, match=r"not compiled.*no C\+\+ compiler found.*works without it"):
        device.compile_network(model)
    assert model.backbone._compiled_call_impl is None
