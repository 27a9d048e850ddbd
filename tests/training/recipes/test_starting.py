"""Weights to start from: what fits is taken for what it means, and what became of everything is told.

The files are made here, by the libraries that would make them, with small sizes and random weights. What is taken must
also compute the same: transformers' own modules are the judges.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.model.conftest import lively, tiny_config
from torch import Tensor, nn

from xpose.errors import CheckpointError
from xpose.model import XPose
from xpose.model.backbones import ResNet50
from xpose.model.checkpoints.official import to_official
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.training.recipes.starting import load_backbone, read_weights


def fresh(**changes: object) -> XPose:
    return lively(XPose(tiny_config(**changes)), seed=1)


def swin_settings() -> dict:
    return {"embed_dim": 8, "depths": [1, 2, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 3}


def shake(module: nn.Module) -> nn.Module:
    """Random weights everywhere, in train-free mode."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in (*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())):
            value.copy_(torch.rand(value.shape, generator=generator) * 0.4 + 0.05)
    return module.eval()


def saved(state: dict[str, Tensor], path: Path) -> Path:
    save_file({name: value.clone().contiguous() for name, value in state.items()}, path)
    return path


def test_the_backbone_of_an_own_folder_is_taken_whole(tmp_path: Path) -> None:
    theirs, ours = lively(XPose(tiny_config()), seed=7), fresh()
    result = load_backbone(
        ours, save_pretrained(theirs, tmp_path / "weights", encoders={"token.weight": torch.ones(3)})
    )
    names = {name for name in theirs.state_dict() if name.startswith("backbone.")}
    assert (result.refused, result.left, set(result.taken)) == ((), (), names)
    assert all(torch.equal(theirs.state_dict()[name], ours.state_dict()[name]) for name in names)
    assert f"{len(names)} tensors taken" in str(result)


def maps_of(model: XPose, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(model.eval().backbone(images))


@pytest.mark.parametrize("form", ["folder", "bare", "older names"])
def test_a_swin_of_transformers_computes_the_same(tmp_path: Path, form: str) -> None:
    from transformers import SwinBackbone, SwinConfig

    theirs = shake(SwinBackbone(SwinConfig(**swin_settings(), out_features=["stage2", "stage3", "stage4"])))
    if form == "folder":
        theirs.save_pretrained(tmp_path)
        path = tmp_path
    else:
        state = theirs.state_dict()
        if form == "older names":
            state = {older(name): value for name, value in state.items()}
            assert any("attention.self.query" in name for name in state)
        path = saved(state, tmp_path / "swin.safetensors")
    ours = fresh()
    result = load_backbone(ours, path)
    assert (result.refused, result.left) == ((), ())
    images = torch.randn(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(images).feature_maps
    for mine, map_ in zip(maps_of(ours, images), expected, strict=True):
        torch.testing.assert_close(mine, map_, rtol=1e-4, atol=1e-4)


def older(name: str) -> str:
    """A tensor's name in files on the hub, which older versions of transformers wrote."""
    for new, old in {
        "q_proj": "self.query",
        "k_proj": "self.key",
        "v_proj": "self.value",
        "o_proj": "output.dense",
        "relative_position_bias.relative": "self.relative",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }.items():
        name = name.replace(new, old)
    return name


def test_a_swin_classifier_of_its_authors_leaves_only_the_norms_of_the_maps(tmp_path: Path) -> None:
    theirs = fresh()
    state = {
        name.removeprefix("backbone.0."): value
        for name, value in to_official(lively(XPose(tiny_config()), seed=7)).items()
        if name.startswith("backbone.0.") and not name.startswith("backbone.0.norm")
    }
    path = saved(state | {"head.weight": torch.zeros(3, 4)}, tmp_path / "swin.safetensors")
    result = load_backbone(theirs, path)
    assert {name.rpartition(".")[0] for name in result.left} == {f"backbone.norms.{i}" for i in range(3)}
    assert result.unused == ("head.weight",)
    assert result.refused == ()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return shake(ResNet50())


@pytest.mark.parametrize("names", ["transformers", "torchvision"])
def test_a_resnet_is_taken_whole(resnet: nn.Module, tmp_path: Path, names: str) -> None:
    state = {name.removeprefix("net."): value for name, value in resnet.state_dict().items()}
    rename: Callable[[str], str] = (lambda name: f"resnet.{name}") if names == "transformers" else as_torchvision
    path = saved({rename(name): value for name, value in state.items()}, tmp_path / "resnet.safetensors")
    ours = XPose(tiny_config(backbone="resnet50"))
    result = load_backbone(ours, path)
    assert (result.refused, result.left, result.unused) == ((), (), ())
    mine = ours.backbone.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in resnet.state_dict().items())


def as_torchvision(name: str) -> str:
    """A ResNet tensor's name in torchvision, which counts from 1."""
    parts = name.split(".")
    kind = {"convolution": "conv", "normalization": "bn"}
    if parts[0] == "embedder":
        return f"{kind[parts[2]]}1.{parts[3]}"
    block = f"layer{int(parts[2]) + 1}.{parts[4]}"
    if parts[5] == "shortcut":
        return f"{block}.downsample.{int(parts[6] == 'normalization')}.{parts[7]}"
    return f"{block}.{kind[parts[7]]}{int(parts[6]) + 1}.{parts[8]}"


def test_the_imagenet_backbone_of_the_small_network() -> None:
    path = Path(__file__).parents[4] / "shared" / "weights" / "mobilenetv2_100.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    ours = fresh(encoder="hybrid", levels=3, backbone="mobilenetv2")
    result = load_backbone(ours, path)
    assert (result.refused, result.left) == ((), ())
    assert {name.partition(".")[0] for name in result.unused} == {"conv_head", "bn2", "classifier"}
    stem = read_weights(path)["conv_stem.weight"]
    assert torch.equal(ours.backbone.state_dict()["conv_stem.weight"], stem)


def test_a_mobilenet_with_timms_names(tmp_path: Path) -> None:
    theirs, ours = (fresh(encoder="hybrid", levels=3, backbone="mobilenetv2") for _ in range(2))
    shake(theirs.backbone)
    path = saved(theirs.backbone.state_dict() | {"classifier.bias": torch.zeros(9)}, tmp_path / "m.safetensors")
    result = load_backbone(ours, path)
    assert (result.refused, result.left, result.unused) == ((), (), ("classifier.bias",))
    assert all(torch.equal(v, ours.backbone.state_dict()[n]) for n, v in theirs.backbone.state_dict().items())


def test_weights_of_another_backbone_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = saved(
        fresh(encoder="hybrid", levels=3, backbone="mobilenetv2").backbone.state_dict(), tmp_path / "m.safetensors"
    )
    ours = fresh()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"MobileNetV2 of timm; it has 0 of the .* of tiny \(swin\)"):
        load_backbone(ours, path)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_a_backbone_of_another_size_is_refused_with_an_example(tmp_path: Path) -> None:
    from transformers import SwinBackbone, SwinConfig

    SwinBackbone(SwinConfig(**swin_settings() | {"embed_dim": 16})).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"For example: backbone\.patch\.weight \(16, 3, 4, 4\) for \(8, 3, 4, 4\)"
    ):
        load_backbone(fresh(), tmp_path)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"unknown names.*Swin of transformers"):
        load_backbone(fresh(), saved({"lstm.weight": torch.zeros(5)}, tmp_path / "strange.safetensors"))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        load_backbone(fresh(), tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match=r"contains neither model\.safetensors"):
        load_backbone(fresh(), tmp_path)
