"""Graphs compute what the network computes, for any sizes, with both encoders and both forms of sampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.export.conftest import small_network

from xpose.export.files import to_onnx, traced, write_onnx
from xpose.export.graphs import Graph, graphs_of
from xpose.inference.engines.torch import TorchEngine
from xpose.model import XPose
from xpose.model.graph_files import open_onnx


def largest_difference(graph: Graph, path: Path, inputs: dict[str, torch.Tensor]) -> float:
    """Between a graph in ONNX Runtime and its module, as a share of the largest number of each output."""
    outputs = open_onnx(path).run({name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.inference_mode():
        expected = graph.module(*inputs.values())
    assert list(outputs) == list(graph.outputs)
    differences = []
    for wanted, got in zip(expected, outputs.values(), strict=True):
        assert wanted.shape == got.shape
        np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted.numpy()))
        differences.append(np.nanmax(np.abs(got - wanted.numpy())) / max(np.nanmax(np.abs(wanted.numpy())), 1))
    return float(max(differences))


def written(graph: Graph, folder: Path) -> Path:
    path = folder / f"{graph.name}.onnx"
    write_onnx(to_onnx(graph, traced(graph)), path, {"preset": "tiny"})
    assert open_onnx(path).metadata == {"preset": "tiny"}
    return path


def prompts_for(model: XPose, batch: int, classes: int, sets: int, points: int) -> dict[str, torch.Tensor]:
    """Random prompts, in which some classes and keypoints are padding."""
    generator, dim = torch.Generator().manual_seed(classes), model.config.dim
    object_mask, keypoint_mask = torch.ones(batch, classes).bool(), torch.ones(batch, sets, points).bool()
    object_mask[0, 1:], keypoint_mask[0, 0, 1:] = False, False
    return {
        "objects": torch.randn(batch, classes, dim, generator=generator),
        "object_mask": object_mask,
        "keypoints": torch.randn(batch, sets, points, dim, generator=generator),
        "keypoint_mask": keypoint_mask,
        "keypoint_set": torch.randint(0, sets, (batch, classes), generator=generator),
        "silent": torch.zeros(batch, classes).bool(),
        "required_logits": torch.randn(batch, classes, generator=generator),
    }


def levels_of(model: XPose, batch: int, height: int, width: int) -> dict[str, torch.Tensor]:
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    with torch.inference_mode():
        maps = model.neck.levels(model.backbone(images))
    return {f"level_{number}": level.clone() for number, level in enumerate(maps)}


# Tracing a decoder takes long, even a small one, so that every kind of encoder, decoder and sampling is traced once.
@pytest.mark.parametrize(("preset", "sampling"), [("xpose-swin-t", "grid"), ("xpose-nano", "gather")])
def test_decoding(preset: str, sampling: str, tmp_path: Path) -> None:
    model = small_network(preset)
    graph = next(graph for graph in graphs_of(TorchEngine(model), sampling) if graph.name == "decode")
    path = written(graph, tmp_path)
    assert (b"GridSample" in path.read_bytes()) == (sampling == "grid")
    for batch, size, classes, points, instances in ((1, (96, 128), 1, 1, 6), (2, (130, 96), 3, 7, 4)):
        inputs = levels_of(model, batch, *size) | prompts_for(model, batch, classes, min(classes, 2), points)
        inputs["instances"] = torch.zeros(instances, dtype=torch.long)
        assert largest_difference(graph, path, inputs) < 1e-4


@pytest.mark.parametrize("preset", ["xpose-r50", "xpose-nano"])
def test_encoding(preset: str, tmp_path: Path) -> None:
    model = small_network(preset)
    width = model.config.prompt_width
    inputs = {
        "encode": {"images": torch.randn(2, 3, 100, 133, generator=torch.Generator().manual_seed(0))},
        "project": {"objects": torch.randn(4, width), "keypoints": torch.randn(1, width)},
        "encode_examples": {
            "pictures": torch.randn(2, 3, 64, 64),
            "points": torch.rand(2, 4, 2),
            "visible": torch.tensor([[True, False, True, True], [True, True, True, False]]),
        },
    }
    for graph in graphs_of(TorchEngine(model)):
        if graph.name in inputs:
            assert largest_difference(graph, written(graph, tmp_path), inputs[graph.name]) < 1e-4, graph.name
