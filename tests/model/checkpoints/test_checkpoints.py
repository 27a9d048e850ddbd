"""Weights in and out: the official layout, our own folders, and files that must be refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from tests.model.conftest import PARITY, lively, random_images, random_prompts, tiny_config, tiny_nano_config
from torch import Tensor

from xpose.errors import CheckpointError, ConfigError
from xpose.model import PromptEmbeddings, XPose, XPoseConfig, load_official, to_official
from xpose.model.checkpoints.files import read_tensors
from xpose.model.checkpoints.folders import BEST, CONFIG_FILE, LAST, WEIGHT_FILE, weight_folder
from xpose.model.checkpoints.official import sort_official
from xpose.model.checkpoints.pretrained import from_pretrained, save_pretrained


def same_weights(a: XPose, b: XPose) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def without_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.startswith("clip_model.")}


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda s: s, id="bare"),
        pytest.param(lambda s: {"model": s}, id="wrapped"),
        pytest.param(lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}, id="module prefixes"),
        pytest.param(lambda s: {k: v.numpy() for k, v in s.items()}, id="numpy arrays"),
        pytest.param(
            lambda s: {k: v for k, v in s.items() if not k.startswith(("pos_proj", "padding"))}, id="no visual"
        ),
        pytest.param(lambda s: s | {"clip_model.logit_scale": torch.tensor(1.0)}, id="clip's scale"),
        pytest.param(
            lambda s: s | {"backbone.0.layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49).long()},
            id="integer buffers",
        ),
    ],
)
def test_forms_of_the_official_layout(official_state: dict, seeded_model: XPose, form: object) -> None:
    assert callable(form)
    model = load_official(form(without_clip(official_state)))
    assert not model.training
    assert same_weights(model, seeded_model)


def test_every_official_entry_is_accounted_for(official_state: dict, seeded_model: XPose) -> None:
    """All 1165 names of the released file: the network's, the prompt encoders', or known to be unused."""
    lines = (PARITY / "checkpoint_keys.txt").read_text().splitlines()
    shapes = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    assert len(shapes) == 1165
    network = to_official(seeded_model)
    assert set(network) <= set(shapes)
    assert all(str(tuple(v.shape)) == shapes[k] for k, v in network.items())
    encoders = sort_official(official_state, seeded_model)[1]
    rest = set(shapes) - set(network) - set(encoders)
    assert {name for name in rest if not name.endswith("relative_position_index")} == {
        "label_enc.weight",
        "clip_model.logit_scale",
    }


def test_official_round_trip(official_state: dict, seeded_model: XPose) -> None:
    back = to_official(seeded_model)
    assert all(torch.equal(back[k], official_state[k]) for k in back)
    assert same_weights(load_official(back), seeded_model)


def test_half_precision_files_load_as_float32(official_state: dict) -> None:
    model = load_official({k: v.half() for k, v in without_clip(official_state).items()})
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda s: s.pop("transformer.tgt_embed.weight"), "missing transformer.tgt_embed.weight", id="missing"
        ),
        pytest.param(lambda s: s.update(strange=torch.zeros(1)), "unexpected strange", id="unexpected"),
        pytest.param(
            lambda s: s.update({"transformer.tgt_embed.weight": torch.zeros(100, 256)}), "shape (100, 256)", id="shape"
        ),
        pytest.param(
            lambda s: s.update({"bbox_embed.3.layers.0.bias": torch.ones(256)}),
            "its copies differ",
            id="unshared heads",
        ),
    ],
)
def test_a_wrong_name_stops_with_the_list(official_state: dict, change: object, message: str) -> None:
    state = without_clip(official_state)
    assert callable(change)
    change(state)
    with pytest.raises(CheckpointError) as error:
        load_official(state)
    assert message in str(error.value)
    assert "1 fault" in str(error.value)


@pytest.mark.parametrize("content", [{}, {"model": 3}, {"a": "text"}, {"model": {"x": [1]}}])
def test_what_is_no_state_dict_is_refused(content: dict) -> None:
    with pytest.raises(CheckpointError, match="no state dict"):
        load_official(content)


class Malicious:
    """Its pickle asks the reader to run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return (os.system, (f"touch {self.witness}",))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, writer: str) -> None:
    path, witness = tmp_path / "evil.pth", tmp_path / "witness"
    content = {"model": Malicious(witness)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="not opened"):
        load_official(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("x.pth", b"", "cannot be read", id="empty"),
        pytest.param("x.pth", b"PK\x03\x04 cut short", "cannot be read", id="truncated zip"),
        pytest.param("x.pth", b"<html>not found</html>", "not opened|cannot be read", id="a web page"),
        pytest.param("x.safetensors", b"\xff" * 64, "cannot be read", id="damaged safetensors"),
        pytest.param("x.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull", id="lfs"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_official(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no file"):
        load_official(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_official(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="owner/name"):
        from_pretrained("nothing-like-this")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_tensors(tmp_path / "list.pth")


def test_the_hub_being_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*args: object, **kwargs: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(CheckpointError, match="could not be fetched"):
        from_pretrained("somebody/some-weights")


def test_a_hub_id_is_loaded_from_the_fetched_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    model = lively(XPose(tiny_config()))
    save_pretrained(model, tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **kwargs: str(tmp_path))
    assert same_weights(from_pretrained("somebody/some-weights")[0], model)


@pytest.mark.parametrize("config", [tiny_config(), tiny_nano_config()], ids=["compatible", "own"])
def test_our_folder_round_trip(tmp_path: Path, config: XPoseConfig) -> None:
    model = lively(XPose(config))
    encoders = {"pos_proj.weight": torch.randn(4, 4)}
    folder = save_pretrained(model, tmp_path / "weights", encoders=encoders, card="# card\n")
    files = ["README.md", "calibration.json", "config.json", "model.safetensors"]
    assert sorted(p.name for p in folder.iterdir()) == files
    for source in (folder, folder / WEIGHT_FILE):
        again, found, *_ = from_pretrained(source)
        assert again.config == config
        assert same_weights(again, model)
        torch.testing.assert_close(found, encoders)
    (o, k) = random_prompts(2, 5)
    prompt, images = PromptEmbeddings.from_lists([o.float()], [k.float()]), random_images(1, 64, 64).float()
    with torch.inference_mode():
        torch.testing.assert_close(again(images, prompt).keypoints[0], model(images, prompt).keypoints[0])


def test_the_folder_of_a_run_stands_for_its_best_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="as soon as the run was tested"):
        from_pretrained(tmp_path)
    last, best = lively(XPose(tiny_config())), lively(XPose(tiny_config()))
    save_pretrained(last, tmp_path / LAST)
    assert same_weights(from_pretrained(tmp_path).model, last)
    save_pretrained(best, tmp_path / BEST)
    assert same_weights(from_pretrained(tmp_path).model, best)
    assert weight_folder(tmp_path / LAST) == tmp_path / LAST


def test_official_file_to_folder(tmp_path: Path, official_state: dict, seeded_model: XPose) -> None:
    path = tmp_path / "unipose_swint.pth"
    small = without_clip(official_state)
    torch.save({"model": small}, path)
    model, encoders, *_ = from_pretrained(path)
    assert same_weights(model, seeded_model)
    assert set(encoders) == {"pos_proj.weight", "pos_proj.bias", "padding.weight"}


def test_half_the_size_on_disk(tmp_path: Path) -> None:
    model = lively(XPose(tiny_config()))
    full = (save_pretrained(model, tmp_path / "a") / WEIGHT_FILE).stat().st_size
    half = (save_pretrained(model, tmp_path / "b", dtype=torch.float16) / WEIGHT_FILE).stat().st_size
    assert half < 0.6 * full
    again = from_pretrained(tmp_path / "b").model
    torch.testing.assert_close(again.heads.norm.weight, model.heads.norm.weight, atol=1e-3, rtol=1e-3)


def test_weights_that_do_not_fit_their_settings(tmp_path: Path) -> None:
    save_pretrained(XPose(tiny_config()), tmp_path)
    (tmp_path / CONFIG_FILE).write_text(tiny_config(queries=41).to_json())
    with pytest.raises(CheckpointError, match=r"selection\.content\.weight has shape \(40, 32\)"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda c: c.pop("format"), "another program", id="another program's"),
        pytest.param(lambda c: c.update(quiries=3), 'Did you mean "queries"', id="misspelt"),
        pytest.param(lambda c: c.update(dim=30), "multiple of 4 times heads", id="dim"),
        pytest.param(lambda c: c.update(backbone="vgg"), "must be one of", id="backbone"),
        pytest.param(lambda c: c.update(levels=-1, queries=0), "levels is -1(.|\n)*queries is 0", id="all faults"),
        pytest.param(lambda c: c.update(swin={"dims": 3}), "cannot be read", id="swin"),
    ],
)
def test_settings_with_faults(tmp_path: Path, change: object, message: str) -> None:
    save_pretrained(XPose(tiny_config()), tmp_path)
    values = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert callable(change)
    change(values)
    (tmp_path / CONFIG_FILE).write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message):
        from_pretrained(tmp_path)


def test_settings_that_are_no_json() -> None:
    with pytest.raises(ConfigError, match="not valid JSON"):
        XPoseConfig.from_json("{")


def test_a_damaged_config_is_named_with_its_folder(tmp_path: Path) -> None:
    save_pretrained(XPose(tiny_config()), tmp_path)
    (tmp_path / CONFIG_FILE).write_text("{")
    with pytest.raises(ConfigError) as told:
        from_pretrained(tmp_path)
    assert str(told.value).startswith(f'"{tmp_path / CONFIG_FILE}" is not valid JSON')


def test_our_own_networks_have_no_official_form() -> None:
    with pytest.raises(CheckpointError, match="Only xpose-swin-t"):
        to_official(XPose(tiny_nano_config()))
