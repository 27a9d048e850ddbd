"""Graphs in ONNX Runtime give the results of PyTorch; missing, damaged and foreign files are explained."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xpose import Detector, Poses, TextPrompt, VisualPrompt, load
from xpose.demo.pictures import photographs
from xpose.errors import CheckpointError, ConfigError
from xpose.inference import loading
from xpose.inference.engines.graphs import FORMAT, GraphEngine, architecture, bundled_graphs
from xpose.model.checkpoints.folders import read_config
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.presets import CONFIGS


@pytest.fixture(scope="module")
def pair() -> tuple[Detector, Detector]:
    """The bundled weights in PyTorch and in ONNX Runtime."""
    return load(engine="torch"), load(engine="onnx")


def assert_close(a: Poses, b: Poses) -> None:
    assert list(a.categories) == list(b.categories)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.05)
    np.testing.assert_allclose(a.xy, b.xy, atol=0.05)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
    np.testing.assert_allclose(a.keypoint_scores, b.keypoint_scores, atol=1e-4)


@pytest.mark.parametrize("words", ["person", "face,person,horse"])
def test_photographs(pair: tuple[Detector, Detector], words: str) -> None:
    """One after the other, and in batches of equal sizes, with more instances than usual."""
    pictures = list(photographs().values())[:3]
    for options in ({"best": True}, {"threshold": 0.05, "max_instances": 30, "batch_size": 3}):
        expected, results = (detector.detect(pictures, words, **options) for detector in pair)
        assert sum(map(len, expected)) >= 3
        for a, b in zip(expected, results, strict=True):
            assert_close(a, b)


def test_one_and_no_keypoints_examples_known_boxes_and_similarity(pair: tuple[Detector, Detector]) -> None:
    picture = photographs()["astronaut.png"]
    for keypoints in (["nose"], []):
        assert_close(*(d.detect(picture, TextPrompt("person", keypoints=keypoints), best=True) for d in pair))
    person = pair[0].detect(picture, "person", best=True)
    assert_close(*(d.detect(picture, "person", boxes=person.boxes) for d in pair))
    example = VisualPrompt(picture, {name: (p.x, p.y) for name, p in person[0].points.items()}, name="somebody")
    assert_close(*(d.detect(picture, example, best=True) for d in pair))
    similar = [d.similarity(picture, "person") for d in pair]
    np.testing.assert_allclose(similar[0].objects, similar[1].objects, atol=1e-4)
    np.testing.assert_allclose(similar[0].keypoints, similar[1].keypoints, atol=1e-4)


def test_banks_fit_both(pair: tuple[Detector, Detector]) -> None:
    assert pair[0].engine.fingerprint() == pair[1].engine.fingerprint()
    assert pair[0].engine.runtime.startswith("PyTorch")
    assert pair[1].engine.runtime.startswith("ONNX Runtime")


def test_every_bundled_network_has_graphs_and_others_have_none() -> None:
    for folder in bundled_weights().values():
        assert bundled_graphs(read_config(folder)) is not None
    assert bundled_graphs(CONFIGS["xpose-r50"]) is None
    assert architecture(CONFIGS["xpose-nano"]) != architecture(CONFIGS["xpose-r50"])


def test_what_onnx_runtime_cannot_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'device and engine="onnx" were both given'):
        load(engine="onnx", device="cpu")
    with pytest.raises(ConfigError, match='engine is "tensorrt"'):
        load(engine="tensorrt")  # type: ignore[arg-type]
    damaged = shutil.copytree(next(iter(bundled_weights().values())), tmp_path / "weights")
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(damaged)


def small_file(path: Path, metadata: dict[str, str], opset: int = 20) -> Path:
    """An ONNX file that returns its input."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_foreign_and_damaged_files_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "encode.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(CheckpointError, match=r"encode.onnx\" cannot be opened by ONNX Runtime .* export it again"):
        load(path)
    with pytest.raises(CheckpointError, match="was not written by `xpose export`"):
        load(small_file(path, {}))
    with pytest.raises(CheckpointError, match="without the metadata calibration, fingerprint"):
        load(small_file(path, {"format": FORMAT, "config": "{}", "version": "0", "opset": "20"}))
    with pytest.raises(CheckpointError, match=r"cannot be opened by ONNX Runtime .*newer than the runtime"):
        load(small_file(path, {}, opset=99))
    with pytest.raises(ConfigError, match="was exported, and PyTorch does not run it"):
        load(path, engine="torch")
    path.rename(tmp_path / "decode.onnx")
    with pytest.raises(CheckpointError, match=r"has no encode.onnx"):
        load(tmp_path / "decode.onnx")


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    engine = GraphEngine(CONFIGS["xpose-nano"], tmp_path, lambda name, threads: None, "x")
    with pytest.raises(CheckpointError, match=r"has no graph project\. Keep the files"):
        engine.project(np.zeros((1, 400)), np.zeros((1, 400)))
    assert json.loads(CONFIGS["xpose-nano"].to_json())["name"] == "xpose-nano"


def test_the_default_engine_on_a_computer_without_a_gpu_does_not_import_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_driver", lambda: False)
    monkeypatch.setattr(loading, "find_spec", lambda name: name)  # all packages are installed
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "torch", None)  # so that importing it is an error
    assert load().engine.runtime.startswith("ONNX Runtime")
