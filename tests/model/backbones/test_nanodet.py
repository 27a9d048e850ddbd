"""NanoDet's features against a program of its own that runs the published graph node by node."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from tests.model.conftest import tiny_nano_config
from torch import Tensor, nn

from xpose.errors import CheckpointError, MissingExtraError
from xpose.inference.preprocess import MEAN, STD
from xpose.model import XPose
from xpose.model.backbones.nanodet import DepthwiseConv2d, NanoDet, ShuffleBlock, convert_nanodet, read_nanodet
from xpose.training.recipes.starting import load_backbone
from xpose.training.run.hardware import recompute

SHARED = Path(__file__).parents[4] / "shared"
FILE = SHARED / "teachers" / "nanodet_plus_m_416_coco80.onnx"


@pytest.fixture(scope="module")
def published() -> Path:
    if not FILE.is_file():
        pytest.skip(f"{FILE} is not there")
    pytest.importorskip("onnx")
    return FILE


@pytest.fixture(scope="module")
def judge(published: Path) -> nn.Module:
    spec = importlib.util.spec_from_file_location("nanodet_features", SHARED / "weights" / "nanodet_features.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NanoDetFeatures(published).eval()


def like_torch(width: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    ours, theirs = (
        DepthwiseConv2d(width, kernel, stride),
        nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width),
    )
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("size", [(64, 96), (75, 141), (1, 33)])
def test_maps_are_those_of_the_published_graph(judge: nn.Module, published: Path, size: tuple[int, int]) -> None:
    backbone = NanoDet().eval()
    backbone.load_state_dict(read_nanodet(published))
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        stages, pyramid = judge(pictures)
        maps = backbone((pictures / 255 - mean) / std)
    for map_, *both in zip(maps, stages, pyramid, strict=True):
        torch.testing.assert_close(map_, torch.cat(both, dim=1), rtol=1e-4, atol=1e-4)


def test_shapes_and_size() -> None:
    backbone = NanoDet()
    assert sum(p.numel() for p in backbone.parameters()) == 1_024_810
    maps = backbone(torch.randn(2, 3, 70, 33))
    assert [tuple(m.shape[1:]) for m in maps] == [(212, 9, 5), (328, 5, 3), (560, 3, 2)]
    assert tuple(m.shape[1] for m in maps) == backbone.channels


def test_signals_neither_fade_nor_burst_at_the_start() -> None:
    torch.manual_seed(0)
    assert all(0.05 < float(m.detach().std()) < 50 for m in NanoDet()(torch.randn(1, 3, 64, 64)))


def test_stages_freeze_from_the_picture_on() -> None:
    backbone = NanoDet()
    assert backbone.first_stages(1) == [backbone.stem]
    assert backbone.first_stages(4) == [backbone.stem, *backbone.stages]
    for module in (*backbone.first_stages(3), backbone.pyramid):
        module.requires_grad_(False)
    backbone.stages[2].requires_grad_(False)
    backbone.pyramid.laterals[2].requires_grad_(True)
    maps = backbone(torch.randn(1, 3, 64, 64))
    assert all(m.requires_grad for m in maps)  # each holds the pyramid, which sees all stages


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_every_weight_learns(dtype: torch.dtype | None, channels_last: bool) -> None:
    torch.manual_seed(0)
    backbone, images = NanoDet(), torch.randn(2, 3, 64, 96)
    if channels_last:
        backbone.to(memory_format=torch.channels_last)
    grads = []
    for again in (False, True):
        if again:
            assert recompute(backbone) > 15
        backbone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
            sum(m.float().square().mean() for m in backbone(images)).backward()  # type: ignore[union-attr]
        found = {name: value.grad for name, value in backbone.named_parameters()}
        assert [name for name, grad in found.items() if grad is None or not bool(grad.abs().sum() > 0)] == []
        grads.append(found)
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-3, atol=1e-3 * float(grad.abs().max()))  # type: ignore[union-attr]


def test_in_bfloat16_throughout() -> None:
    backbone = NanoDet().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole = backbone(images)
        short = backbone.to(torch.bfloat16)(images)
    for a, b in zip(whole, short, strict=True):
        assert b.dtype == torch.bfloat16
        assert float((a - b.float()).abs().mean()) < 0.05 * float(a.abs().mean())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("size", [(8, 10), (7, 9), (1, 2)])
def test_gradients_of_depthwise_filters_in_bfloat16(kernel: int, stride: int, size: tuple[int, int]) -> None:
    """The filters work in bfloat16; their gradients are as near to exact ones as its rounding allows."""
    ours, theirs = like_torch(6, kernel, stride)
    x = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(0))
    found: list[list[Tensor]] = []
    for module in (ours, theirs):
        seen = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=module is ours):
            y = module(seen)
        assert (y.dtype == torch.bfloat16) == (module is ours)
        (y.float() * torch.arange(y.numel()).view(y.shape)).sum().backward()
        found.append([y.detach().float(), seen.grad, *(p.grad for p in module.parameters())])  # type: ignore[list-item]
    for mine, exact in zip(*found, strict=True):
        assert float((mine - exact).abs().max()) < 0.02 * float(exact.abs().max())


def test_a_network_starts_from_the_published_file_and_from_our_own(published: Path, tmp_path: Path) -> None:
    models = [XPose(tiny_nano_config(backbone="nanodet")) for _ in range(2)]
    convert_nanodet(published, tmp_path / "trunk.safetensors")
    for model, source in zip(models, (published, tmp_path / "trunk.safetensors"), strict=True):
        result = load_backbone(model, source)
        assert (result.refused, result.left, result.unused) == ((), (), ())
    first, second = (model.backbone.state_dict() for model in models)
    assert all(torch.equal(second[name], value) for name, value in first.items())


def test_other_graphs_are_refused(published: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    def another_slope(graph: onnx.GraphProto) -> None:
        next(node for node in graph.node if node.op_type == "LeakyRelu").attribute[0].f = 0.01

    def wider_weight(graph: onnx.GraphProto) -> None:
        weight = next(constant for constant in graph.initializer if list(constant.dims) == [58, 24, 1, 1])
        weight.CopyFrom(numpy_helper.from_array(torch.zeros(58, 25, 1, 1).numpy(), weight.name))

    def fewer_nodes(graph: onnx.GraphProto) -> None:
        del graph.node[20:]

    for change in (another_slope, wider_weight, fewer_nodes):
        model = onnx.load(str(published))
        change(model.graph)
        onnx.save(model, str(tmp_path / "other.onnx"))
        with pytest.raises(CheckpointError, match="has another graph than NanoDet-Plus-m"):
            read_nanodet(tmp_path / "other.onnx")


def test_files_that_are_no_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.onnx"
    with pytest.raises(CheckpointError, match="There is no file"):
        read_nanodet(path)
    path.write_bytes(b"\xff" * 2000)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onnx", None)
        with pytest.raises(MissingExtraError, match=r'needs the package "onnx".*xpose\[export\]'):
            read_nanodet(path)
    pytest.importorskip("onnx")
    with pytest.raises(CheckpointError, match="cannot be read as an ONNX file"):
        read_nanodet(path)


def test_shuffling_takes_both_halves_in_turn() -> None:
    block = ShuffleBlock(4)
    for value in block.parameters():
        nn.init.zeros_(value)
    x = torch.arange(4.0).view(1, 4, 1, 1)
    assert block(x).flatten().tolist() == [0, 0, 1, 0]
