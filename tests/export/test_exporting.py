"""Exports agree with PyTorch in every precision and runtime, or are refused; their metadata says what they are.

Tracing the bundled network takes minutes, so that the package's own graphs, filled with weights, stand in for it here.
`test_graphs.py` traces small networks, and `tests/inference/engines/test_graphs.py` compares the package's graphs with
PyTorch.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xpose import Detector, load
from xpose.demo.pictures import photographs
from xpose.errors import CheckpointError, ConfigError
from xpose.export import exporting, files
from xpose.export.exporting import ExportOptions, export_detector
from xpose.export.graphs import Graph
from xpose.export.parity import TOLERANCES, compare
from xpose.inference.engines.graphs import FORMAT, bundled_graphs


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load(engine="torch")


@pytest.fixture
def filled(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Changes of weights, applied to the graphs that are written instead of traced ones."""
    changes: dict[str, np.ndarray] = {}
    state = {name: tensor.numpy() for name, tensor in detector.model.state_dict().items()}
    graphs = bundled_graphs(detector.engine.config)
    assert graphs is not None

    def stored(graph: Graph, program: object) -> onnx.ModelProto:
        model = onnx.load(graphs / f"{graph.name}.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            if tensor.name in state:
                tensor.CopyFrom(numpy_helper.from_array(changes.get(tensor.name, state[tensor.name]), tensor.name))
        return model

    monkeypatch.setattr(files, "traced", lambda graph: None)
    monkeypatch.setattr(files, "to_onnx", stored)
    return changes


PICTURES = [photographs()["astronaut.png"]]


@pytest.mark.parametrize(
    ("form", "precision"), [("onnx", "float32"), ("onnx", "float16"), ("onnx", "int8"), ("openvino", "float32")]
)
def test_exports_agree(detector: Detector, filled: dict, form: str, precision: str, tmp_path: Path) -> None:
    if form == "openvino":
        pytest.importorskip("openvino")
    options = ExportOptions(form, precision=precision)
    words = ["face", "bird"]  # the weights have learned another skeleton for birds than that of the vocabulary
    report = export_detector(detector, tmp_path / "exported", PICTURES, words, options, licence="research only")
    assert report.differences.objects >= 3
    assert report.differences.faults(TOLERANCES[precision], worst=precision != "int8") == []
    again = load(tmp_path / "exported")
    expected = detector.detect(PICTURES[0], "face", best=True)
    near = compare([expected], [again.detect(PICTURES[0], "face", best=True)])
    assert near.missing == 0
    assert near.summary(worst=True)[0] < 0.05
    assert [c.name for c in again.learned.categories] == [c.name for c in detector.learned.categories]
    assert again.calibration == detector.calibration
    assert again.engine.fingerprint() == detector.engine.fingerprint()
    assert again.engine.identity != detector.engine.identity
    if form == "onnx":
        about = {entry.key: entry.value for entry in onnx.load(tmp_path / "exported" / "decode.onnx").metadata_props}
        assert about["format"] == FORMAT
        assert about["licence"] == "research only"
        assert about["precision"] == precision
        assert about["opset"] == "20"
        assert json.loads(about["preprocessing"])["short_side"] == detector.engine.config.image_short


def test_files_that_compute_something_else_are_refused(detector: Detector, filled: dict, tmp_path: Path) -> None:
    name = "heads.point.layers.2.bias"
    filled[name] = detector.model.state_dict()[name].numpy() + np.float32(0.05)
    with pytest.raises(CheckpointError, match=r"largest shift of a place is 0\.\d+ .*Nothing was written"):
        export_detector(detector, tmp_path / "exported", PICTURES, ["face"])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_said(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'format is "tflite"\. It must be one of onnx, openvino, torch-export'):
        ExportOptions("tflite")
    with pytest.raises(ConfigError, match="has only float32"):
        ExportOptions("torch-export", precision="int8")
    with pytest.raises(ConfigError, match="No picture was given"):
        export_detector(detector, tmp_path / "exported", [])
    with pytest.raises(ConfigError, match="Only float32 weights in PyTorch"):
        export_detector(load(engine="onnx"), tmp_path / "exported", PICTURES)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(CheckpointError, match="is not an empty folder"):
        export_detector(detector, tmp_path / "used", PICTURES)
    assert exporting.FORMATS == ("onnx", "openvino", "torch-export")
