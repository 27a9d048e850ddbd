"""`xpose prompt` and `xpose models`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import make_picture, write_json
from tests.inference.conftest import own_detector

from xpose.model.checkpoints import known as weights_module
from xpose.model.checkpoints.categories import LearnedCategory, Quality
from xpose.model.checkpoints.pretrained import save_pretrained

Run = Callable[..., tuple[int, str, str]]


def test_a_bank_of_words_and_examples(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "ref.png")
    leaf = {"name": "leaf", "keypoints": {"tip": [20, 20], "stalk": [40, 30]}, "edges": [["tip", "stalk"]]}
    write_json(here / "leaf.json", leaf)
    made = ["-t", "wren", "--like", "ref.png", "--points", "leaf.json"]
    code, out, err = run("prompt", "save", "birds.safetensors", *made, "-p", weights)
    assert code == 0, err
    assert "wren, leaf" in out
    shown = json.loads(run("prompt", "show", "birds.safetensors", "--json")[1])
    assert shown["network"] == "tiny"
    assert [(one["name"], one["skeleton"]) for one in shown["classes"]] == [("wren", "animal"), ("leaf", None)]
    assert shown["classes"][1]["keypoints"] == ["tip", "stalk"]
    assert shown["classes"][1]["edges"] == [["tip", "stalk"]]
    table = run("prompt", "show", "birds.safetensors")[1]
    assert "tip, stalk" in table
    assert "works with these weights only" in table


def test_a_bank_keeps_the_edges_of_a_points_file(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "ref.png")
    edges = [["tip", "stalk"]]
    write_json(here / "leaf.json", {"keypoints": {"tip": [20, 20], "stalk": [40, 30]}, "edges": edges})
    assert run("prompt", "save", "b.safetensors", "--like", "ref.png", "--points", "leaf.json", "-p", weights)[0] == 0
    code, out, err = run("detect", "ref.png", "--bank", "b.safetensors", "-p", weights, "--json", "--threshold", "0")
    assert code == 0, err
    assert json.loads(out)["pictures"][0]["classes"][0]["edges"] == edges


def test_a_bank_is_replaced_only_when_asked(here: Path, run: Run, weights: str) -> None:
    assert run("prompt", "save", "b.safetensors", "-t", "wren", "-p", weights)[0] == 0
    before = (here / "b.safetensors").read_bytes()
    assert run("prompt", "save", "b.safetensors", "-t", "dog", "-p", weights)[0] == 1
    assert (here / "b.safetensors").read_bytes() == before
    assert run("prompt", "save", "b.safetensors", "-t", "dog", "-p", weights, "--overwrite")[0] == 0
    assert [one["name"] for one in json.loads(run("prompt", "show", "b.safetensors", "--json")[1])["classes"]] == [
        "dog"
    ]


def test_a_bank_of_other_weights_is_refused(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    other = save_pretrained(own_detector(seed=5).model, here / "other")
    assert run("prompt", "save", "b.safetensors", "-t", "wren", "-p", other)[0] == 0
    code, out, err = run("detect", "a.png", "--bank", "b.safetensors", "-p", weights, "-o", "out")
    assert (code, out) == (1, "")
    assert "made with another network" in err
    assert not (here / "out").exists()


def test_a_name_of_the_bank_is_not_asked_for_twice(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    assert run("prompt", "save", "b.safetensors", "-t", "wren", "-p", weights)[0] == 0
    code, _, err = run("detect", "a.png", "--bank", "b.safetensors", "-t", "wren", "-p", weights, "-o", "out")
    assert code == 1
    assert '"wren" was given and is also in the prompt bank' in err


def test_models_without_bundled_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "bundled_weights", dict)
    code, out, _ = run("models")
    assert code == 0
    for word in ("None. Use others", "unipose_swint.pth", "Non-commercial", "xpose convert unipose_swint.pth", "-p"):
        assert word in out
    content = json.loads(run("models", "--json")[1])
    assert content["bundled"] == []
    assert {"name", "what", "licence", "where", "use", "convert"} <= content["known"][0].keys()


def test_models_lists_what_weights_have_learned(run: Run, tmp_path: Path, weights: str) -> None:
    dog = LearnedCategory(
        "dog", "animal_pose", ("nose", "left eye"), objects=12, quality=Quality({"text PCK@0.2": 0.617}, 5)
    )
    save_pretrained(
        own_detector().model, tmp_path / "mine", categories=[dog, LearnedCategory("truck", "truck", (), objects=3)]
    )
    code, out, _ = run("models", tmp_path / "mine")
    assert code == 0
    assert re.search(r"dog +animal_pose +2 +12 +61\.7 +5 *\n", out)
    assert re.search(r"truck +truck +boxes only +3 *\n", out)
    content = json.loads(run("models", tmp_path / "mine", "--json")[1])
    assert content["categories"][0]["keypoints"] == ["nose", "left eye"]
    assert "do not state what they have learned" in run("models", weights)[1]
    assert 'Did you mean "xpose-nano"' in run("models", "xpose-nan")[2]


def test_models_with_bundled_weights(here: Path, run: Run, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And they are what is used where -p is left out."""
    monkeypatch.setattr(weights_module, "bundled_weights", lambda: {"xpose-nano": Path(weights)})
    monkeypatch.setattr("xpose.model.checkpoints.folders.bundled_weights", lambda: {"xpose-nano": Path(weights)})
    entry = json.loads(run("models", "--json")[1])["bundled"][0]
    assert entry["network"] == "tiny"
    assert entry["default"] is True
    assert entry["licence"] is None
    assert entry["bytes"] == (Path(weights) / "model.safetensors").stat().st_size
    assert "licence: not stated" in run("models")[1]
    make_picture(here / "a.png")
    assert run("detect", "a.png", "-t", "dog", "-o", "out")[0] == 0
