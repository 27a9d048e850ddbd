"""Weights to start from: what fits is taken for what it means, and what became of everything is told.

The files are made here, by the libraries that would make them, with small sizes and random weights. What is taken must
also compute the same: transformers' own modules are the judges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.model.conftest import lively, tiny_config
from torch import Tensor, nn

from xpose.errors import CheckpointError
from xpose.model import XPose
from xpose.model.backbones.resnet import ResNet50
from xpose.model.checkpoints.official import to_official
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.model.decoder import DecoderLayer
from xpose.model.types import EncodedScene, LevelGeometry, ProjectedPrompts
from xpose.training.recipes.starting import load_backbone, read_weights, start_from

SHAPES = ((6, 5), (3, 3), (2, 2), (1, 1))


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


@pytest.fixture(scope="module")
def grounding() -> nn.Module:
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    text = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**swin_settings(), out_features=["stage2", "stage3", "stage4"]),
        text_config=text,
        d_model=32,
        encoder_layers=2,
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        decoder_layers=6,
        decoder_ffn_dim=48,
        decoder_attention_heads=4,
        num_queries=40,
        fusion_droppath=0.0,
        fusion_dropout=0.0,
    )
    return shake(GroundingDinoForObjectDetection(config))


def like_grounding() -> XPose:
    """Of the sizes that the relative has in fusion and prompt layers."""
    return fresh(fusion_width=24, fusion_heads=2, prompt_ffn=24)


def saved(state: dict[str, Tensor], path: Path) -> Path:
    save_file({name: value.clone().contiguous() for name, value in state.items()}, path)
    return path


def test_an_own_folder_is_taken_whole(tmp_path: Path) -> None:
    theirs, ours = lively(XPose(tiny_config()), seed=7), fresh()
    result = start_from(ours, save_pretrained(theirs, tmp_path / "weights", encoders={"token.weight": torch.ones(3)}))
    assert (result.refused, result.left, result.unused) == ((), (), ())
    assert set(result.taken) == set(theirs.state_dict())
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())


def test_of_a_network_with_other_sizes_what_fits_is_taken(tmp_path: Path) -> None:
    theirs = lively(XPose(tiny_config(ffn=56, visibility_head=True)), seed=7)
    ours = fresh(keypoint_layers=5)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    result = start_from(ours, save_pretrained(theirs, tmp_path / "weights"))
    after = ours.state_dict()
    assert all(torch.equal(after[name], theirs.state_dict()[name]) for name in result.taken)
    assert all(torch.equal(after[name], before[name]) for name in result.left)
    assert {name.partition(" ")[0].rpartition(".ffn.")[2] for name in result.refused} >= {
        "expand.weight",
        "expand.bias",
    }
    assert all(name.startswith("keypoint_decoder.layers.4.") for name in result.left)
    assert set(result.unused) == {"heads.visibility.weight", "heads.visibility.bias"}
    assert len(result.taken) + len(result.refused) + len(result.left) == len(before)
    text = str(result)
    for part in (
        f"{len(result.taken)} tensors taken",
        f"{len(result.left)} left at their start",
        "(56, 32) for (48, 32)",
    ):
        assert part in text


def test_the_official_layout_is_taken_whole(tmp_path: Path) -> None:
    theirs = lively(XPose(tiny_config()), seed=7)
    path = tmp_path / "official.pth"
    torch.save({"model": {f"module.{name}": value for name, value in to_official(theirs).items()}}, path)
    ours = fresh()
    result = start_from(ours, path)
    assert (result.refused, result.left) == ((), ())
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())


def test_the_official_layout_serves_networks_with_our_additions(tmp_path: Path) -> None:
    path = saved(to_official(lively(XPose(tiny_config()), seed=7)), tmp_path / "official.safetensors")
    ours = fresh(scaled_logits=True, visibility_head=True, size_prior="token", query_content="token")
    result = start_from(ours, path)
    assert {name.partition(".")[0] for name in result.left} == {"heads", "selection", "keypoint_decoder"}
    assert "heads.visibility.weight" in result.left
    assert any(name.startswith("selection.content.weight (40, 32) for (1, 32)") for name in result.refused)


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


@pytest.mark.parametrize("names", ["transformers", "torchvision"])
def test_a_resnet_is_taken_whole(tmp_path: Path, names: str) -> None:
    theirs = shake(ResNet50())
    state = {name.removeprefix("net."): value for name, value in theirs.state_dict().items()}
    rename: Callable[[str], str] = (lambda name: f"resnet.{name}") if names == "transformers" else as_torchvision
    path = saved({rename(name): value for name, value in state.items()}, tmp_path / "resnet.safetensors")
    ours = fresh(backbone="resnet50")
    result = load_backbone(ours, path)
    assert (result.refused, result.left, result.unused) == ((), (), ())
    assert all(torch.equal(value, ours.backbone.state_dict()[name]) for name, value in theirs.state_dict().items())


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
    result = start_from(ours, path)
    assert (result.refused, result.left, result.unused) == ((), (), ("classifier.bias",))
    assert all(torch.equal(v, ours.backbone.state_dict()[n]) for n, v in theirs.backbone.state_dict().items())


def test_grounding_dino_gives_all_but_what_is_ours_alone(grounding: nn.Module, tmp_path: Path) -> None:
    grounding.save_pretrained(tmp_path)  # type: ignore[operator]
    ours = like_grounding()
    result = start_from(ours, tmp_path)
    # There the code of a place is as wide as the network, here always 256: the same where the network has that width.
    assert [name.partition(" ")[0] for name in result.refused] == ["heads.place.layers.0.weight"]
    assert {".".join(name.split(".")[:2]) for name in result.left} == {
        *("object_projection.layers", "keypoint_projection.layers", "heads.point", "heads.size"),
        "keypoint_decoder.size_prior",
    }
    assert {name.split(".")[1] for name in result.unused if name.startswith("model.")} <= {
        *("text_backbone", "text_projection", "backbone", "decoder"),
    }
    assert not any("decoder.layers" in name for name in result.unused)


def test_a_backbone_out_of_grounding_dino_computes_the_same(grounding: nn.Module, tmp_path: Path) -> None:
    path = saved(
        {k: v for k, v in grounding.state_dict().items() if not k.startswith("bbox_embed")}, tmp_path / "g.safetensors"
    )
    ours = like_grounding()
    result = load_backbone(ours, path)
    assert all(name.startswith("backbone.") for name in result.taken)
    assert (result.refused, result.left) == ((), ())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = grounding.model.backbone.conv_encoder.model(images).feature_maps  # type: ignore[union-attr]
    for mine, map_ in zip(maps_of(ours, images), expected, strict=True):
        torch.testing.assert_close(mine, map_, rtol=1e-4, atol=1e-4)


def test_layers_out_of_grounding_dino_compute_the_same(grounding: nn.Module, tmp_path: Path) -> None:
    """Fusion, prompt layer and the whole decoder layer: the names mean the same there and here."""
    grounding.save_pretrained(tmp_path)  # type: ignore[operator]
    ours = like_grounding().eval()
    start_from(ours, tmp_path)
    generator = torch.Generator().manual_seed(0)
    count = sum(h * w for h, w in SHAPES)
    tokens, objects = (torch.randn(2, n, 32, generator=generator) for n in (count, 3))
    queries, position = (torch.randn(2, 7, 32, generator=generator) for _ in range(2))
    boxes = torch.rand(2, 7, 4, generator=generator) * 0.5 + 0.2
    theirs, mine = grounding.model.encoder.layers[1], ours.encoder.layers[1]  # type: ignore[union-attr, index]
    with torch.no_grad():
        (image, _), (text, _) = theirs.fusion_layer(vision_features=tokens, text_features=objects)
        ours_image, ours_text = mine.fusion(tokens, objects, None, None)
        torch.testing.assert_close(ours_image, image, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours_text, text, rtol=1e-4, atol=1e-4)
        layer, judge = ours.keypoint_decoder.layers[0], grounding.model.decoder.layers[2]  # type: ignore[union-attr, index]
        assert isinstance(layer, DecoderLayer)
        result = layer(queries, position, boxes, scene_of(tokens, objects))
        starts = torch.tensor([0, *torch.tensor([h * w for h, w in SHAPES]).cumsum(0)[:-1].tolist()])
        (expected, *_rest) = judge(
            hidden_states=queries,
            position_embeddings=position,
            reference_points=boxes[:, :, None].expand(-1, -1, 4, -1),
            spatial_shapes=torch.tensor(SHAPES),
            spatial_shapes_list=list(SHAPES),
            level_start_index=starts,
            vision_encoder_hidden_states=tokens,
            text_encoder_hidden_states=objects,
        )
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def scene_of(tokens: Tensor, objects: Tensor) -> EncodedScene:
    batch = len(tokens)
    one = torch.ones(batch, 1, 1, dtype=torch.bool)
    keypoint_set = torch.zeros(batch, objects.shape[1], dtype=torch.long)
    prompts = ProjectedPrompts(objects, None, objects[:, None, :1], one, keypoint_set)
    return EncodedScene(tokens, objects, prompts, LevelGeometry(SHAPES, None, torch.ones(batch, 4, 2)))


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


def test_what_fits_nowhere_is_refused(tmp_path: Path) -> None:
    state = {"keypoint_decoder.layers.0.norm_ffn.weight": torch.zeros(5)}
    with pytest.raises(CheckpointError, match=r"Nothing of .* fits tiny"):
        start_from(fresh(), saved(state, tmp_path / "own.safetensors"))
    with pytest.raises(CheckpointError, match=r"names nobody here knows.*GroundingDINO of transformers"):
        start_from(fresh(), saved({"lstm.weight": torch.zeros(5)}, tmp_path / "strange.safetensors"))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        start_from(fresh(), tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match=r"holds none of model\.safetensors"):
        load_backbone(fresh(), tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        start_from(fresh(), save_pretrained(fresh(), tmp_path / "own")).taken = ()  # type: ignore[misc]


def test_pieces_of_a_large_file_are_read_together(tmp_path: Path) -> None:
    state = lively(XPose(tiny_config()), seed=7).state_dict()
    names = sorted(state)
    for number, part in enumerate((names[::2], names[1::2])):
        saved({name: state[name] for name in part}, tmp_path / f"model-0000{number + 1}-of-00002.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    result = start_from(fresh(), tmp_path)
    assert (result.refused, result.left) == ((), ())
