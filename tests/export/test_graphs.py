"""The graphs of every preset, in both forms of sampling, compute what the network computes, for any sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.model.conftest import lively
from tests.training.small_runs import clip_encoders

from xpose.export.files import to_onnx, traced, write_onnx
from xpose.export.graphs import Graph, graphs_of
from xpose.inference.engines.torch import TorchEngine
from xpose.model import SwinSettings, XPose
from xpose.model.graph_files import open_onnx
from xpose.model.presets import CONFIGS

Inputs = dict[str, torch.Tensor]
SMALL = {
    "swin": SwinSettings(dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 2, 2), window=3),
    "dim": 32,
    "heads": 4,
    "ffn": 48,
    "encoder_layers": 1,
    "object_layers": 1,
    "keypoint_layers": 1,
    "fusion_width": 48,
    "prompt_width": 12,
    "prompt_ffn": 40,
    "queries": 40,
    "instances": 6,
    "image_short": 96,
    "image_long": 160,
    "example_side": 64,
}
DENSE = {"selection": "peaks", "sinks": True, "pose_map": 4, "pose_map_width": 16, "point_error": True}


def small_network(preset: str, **changes: object) -> XPose:
    """A preset with one layer of each kind and few channels."""
    torch.manual_seed(0)
    return lively(XPose(replace(CONFIGS[preset], **(SMALL | changes)))).requires_grad_(False)  # type: ignore[arg-type]


def largest_difference(graph: Graph, outputs: list[np.ndarray], inputs: Inputs) -> float:
    """From what the module computes, as a share of the largest number of each output."""
    with torch.inference_mode():
        expected = [tensor.numpy() for tensor in graph.module(*inputs.values())]
    differences = []
    for wanted, got in zip(expected, outputs, strict=True):
        assert wanted.shape == got.shape
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(got[~finite], wanted[~finite])
        differences.append(np.abs(got[finite] - wanted[finite]).max() / max(np.abs(wanted[finite]).max(), 1))
    return float(max(differences))


def decoding_inputs(model: XPose, batch: int, size: tuple[int, int], classes: int, points: int, kept: int) -> Inputs:
    """Feature maps of noise and random prompts, in which some classes and keypoints are padding."""
    generator, dim, sets = torch.Generator().manual_seed(classes), model.config.dim, min(classes, 2)
    object_mask, keypoint_mask = torch.ones(batch, classes).bool(), torch.ones(batch, sets, points).bool()
    object_mask[0, 1:], keypoint_mask[0, 0, 1:] = False, False
    with torch.inference_mode():
        maps = model.neck.levels(model.backbone(torch.randn(batch, 3, *size, generator=generator)))
    return {f"level_{number}": level.clone() for number, level in enumerate(maps)} | {
        "objects": torch.randn(batch, classes, dim, generator=generator),
        "object_mask": object_mask,
        "keypoints": torch.randn(batch, sets, points, dim, generator=generator),
        "keypoint_mask": keypoint_mask,
        "keypoint_set": torch.randint(0, sets, (batch, classes), generator=generator),
        "silent": torch.zeros(batch, classes).bool(),
        "required_logits": torch.randn(batch, classes, generator=generator),
        "instances": torch.zeros(kept, dtype=torch.long),
    }


# Conversion of a decoder to ONNX takes longer than tracing it, and the bundled graphs test it; here, traces run alone.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "changes", "sampling"), [("xpose-swin-t", {}, "grid"), ("xpose-nano", DENSE, "gather")]
)
def test_decoding(preset: str, changes: dict, sampling: str) -> None:
    model = small_network(preset, **changes)
    graph = next(graph for graph in graphs_of(TorchEngine(model), sampling) if graph.name == "decode")
    program = traced(graph)
    assert ("grid_sampler" in program.graph_module.print_readable(print_output=False)) == (sampling == "grid")
    for sizes in ((1, (96, 128), 1, 1, 6), (2, (130, 96), 3, 7, 4)):
        inputs = decoding_inputs(model, *sizes)
        outputs = [tensor.numpy() for tensor in program.module()(*inputs.values())]
        assert largest_difference(graph, outputs, inputs) < 1e-4


@pytest.mark.parametrize("preset", ["xpose-swin-l", "xpose-r50", "xpose-nano"])
def test_encoding(preset: str) -> None:
    model = small_network(preset)
    inputs = {"images": torch.randn(2, 3, 100, 133, generator=torch.Generator().manual_seed(0))}
    graph = next(graph for graph in graphs_of(TorchEngine(model)) if graph.name == "encode")
    outputs = [tensor.numpy() for tensor in traced(graph).module()(*inputs.values())]
    assert largest_difference(graph, outputs, inputs) < 1e-4


def test_encoding_of_prompts_with_clip(tmp_path: Path) -> None:
    """Some of the parameters are trained; `encode_examples` and `project` of other networks are bundled graphs."""
    text, visual = clip_encoders()
    engine = TorchEngine(small_network("xpose-swin-t", prompt_width=text.dim), lambda: visual)
    graphs = {graph.name: graph for graph in graphs_of(engine, text=text)}
    for graph in (graphs["encode_words"], graphs["encode_examples"]):
        path = tmp_path / "graph.onnx"
        write_onnx(to_onnx(graph, traced(graph)), path, {"preset": "tiny"})
        opened = open_onnx(path)
        assert opened.metadata == {"preset": "tiny"}
        inputs = {name: tensor[:2] for name, tensor in graph.inputs.items()}
        outputs = opened.run({name: tensor.numpy() for name, tensor in inputs.items()})
        assert list(outputs) == list(graph.outputs)
        assert largest_difference(graph, list(outputs.values()), inputs) < 1e-4, graph.name
