"""NanoDet-Plus-m's features: ShuffleNetV2 and, on top of it, a pyramid of ghost blocks.

It is the published network without heads, with batch norms folded into the convolutions and the first one reordered
from BGR to RGB. `read_nanodet` reads the published ONNX file; parts are registered in the order of its graph.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.errors import CheckpointError, first_line, missing_extra, quote
from xpose.model.checkpoints.files import existing
from xpose.model.layers import Recomputable, channels_last
from xpose.pictures.atomic import write_atomically

_STEM = 24
_STAGES = ((116, 4), (232, 8), (464, 4))  # channels and blocks, at strides 8, 16, 32
_PYRAMID = 96
_COARSEST = 32  # pictures are padded to multiples of this, so that every map is twice as large as the next

_WIRING = "f1947cbba6836496"  # digest of the graph without heads, see `_wiring`
_ATTRIBUTES = (
    *("alpha", "auto_pad", "axis", "ceil_mode", "coordinate_transformation_mode", "dilations", "group", "kernel_shape"),
    *("mode", "pads", "perm", "strides"),
)


def _activated(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1, inplace=True)  # a convolution's backward does not need its output


def _pointwise(width_in: int, width_out: int) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 1)


def _shuffled(left: Tensor, right: Tensor) -> Tensor:
    """Interleave the channels of two halves [B, C/2, h, w]: ShuffleNet's joining and shuffling in one copy."""
    return torch.stack((left, right), dim=2).flatten(1, 2)


class DepthwiseConv2d(nn.Conv2d):
    """One filter of odd size per channel, padded by half its size; weights are named as in `nn.Conv2d`.

    In bfloat16 on a CPU, the gradients of 5 by 5 and of strided filters take up to ten times as long as in float32,
    so their backward pass runs in float32.
    """

    def __init__(self, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__(width, width, kernel, stride, kernel // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, h', w']."""
        if self._slow_backward(x) and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _Filtered.apply(x, self.weight, self.bias, self.stride[0])  # type: ignore[no-untyped-call]
        return super().forward(x)

    def _slow_backward(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or (self.kernel_size[0] < 5 and self.stride[0] == 1):
            return False
        used = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        return used == torch.bfloat16


class _Filtered(torch.autograd.Function):
    """Forward in bfloat16, backward in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        channels, half = weight.shape[0], weight.shape[-1] // 2
        needed = list(ctx.needs_input_grad[:3])
        wide, seen = (t.float().contiguous(memory_format=torch.channels_last) for t in (grad, x))
        strides, padding = [ctx.stride] * 2, [half] * 2
        gradients = torch.ops.aten.convolution_backward(
            wide, seen, weight.float(), [channels], strides, padding, [1, 1], False, [0, 0], channels, needed
        )
        kinds = (x.dtype, weight.dtype, weight.dtype)
        return *(t.to(kind) if need else None for t, kind, need in zip(gradients, kinds, needed, strict=True)), None


class ShrinkingBlock(Recomputable):
    """Both branches see all channels and halve the picture."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        half = width_out // 2
        self.left_filter = DepthwiseConv2d(width_in, 3, 2)
        self.left_mix = _pointwise(width_in, half)
        self.enter = _pointwise(width_in, half)
        self.filter = DepthwiseConv2d(half, 3, 2)
        self.leave = _pointwise(half, half)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] to [B, out, h/2, w/2]."""
        left = _activated(self.left_mix(self.left_filter(x)))
        return _shuffled(left, _activated(self.leave(self.filter(_activated(self.enter(x))))))


class ShuffleBlock(Recomputable):
    """One half of the channels is unchanged, the other is filtered; then both are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.enter = _pointwise(half, half)
        self.filter = DepthwiseConv2d(half, 3)
        self.leave = _pointwise(half, half)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to the same."""
        left, right = x.chunk(2, dim=1)
        return _shuffled(left, _activated(self.leave(self.filter(_activated(self.enter(right))))))


class Ghost(nn.Module):
    """Mixes half of the channels from the input and filters the other half from these."""

    def __init__(self, width_in: int, width_out: int, *, active: bool) -> None:
        super().__init__()
        self.mix = _pointwise(width_in, width_out // 2)
        self.filter = DepthwiseConv2d(width_out // 2, 3)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] to [B, out, h, w]."""
        first = self.mix(x)
        if not self.active:
            return torch.cat((first, self.filter(first)), dim=1)
        first = _activated(first)
        return torch.cat((first, _activated(self.filter(first))), dim=1)


class GhostBlock(Recomputable):
    """Joins two maps of the pyramid: two ghost layers in parallel with a 5 by 5 filter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = Ghost(2 * width, width, active=True)
        self.contract = Ghost(width, width, active=False)
        self.side_filter = DepthwiseConv2d(2 * width, 5)
        self.side_mix = _pointwise(2 * width, width)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps [B, C, h, w] to one."""
        x = torch.cat((first, second), dim=1)
        return self.contract(self.expand(x)) + self.side_mix(self.side_filter(x))


class UpwardStep(Recomputable):
    """Halves a finer map of the pyramid and joins the coarser one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.filter = DepthwiseConv2d(width, 5, 2)
        self.mix = _pointwise(width, width)
        self.join = GhostBlock(width)

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        """[B, C, 2h, 2w] and [B, C, h, w] to [B, C, h, w]."""
        return self.join(_activated(self.mix(_activated(self.filter(finer)))), coarser)


class GhostPyramid(nn.Module):
    """Converts the three stage maps to one width: from coarse to fine, and back."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_pointwise(w, width) for w in widths)
        self.downward = nn.ModuleList(GhostBlock(width) for _ in widths[1:])
        self.upward = nn.ModuleList(UpwardStep(width) for _ in widths[1:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of the stages, fine to coarse, to [B, C, h, w] of the same sizes."""
        laterals = [_activated(mix(x)) for mix, x in zip(self.laterals, maps, strict=True)]
        inner = [laterals.pop()]
        for block in self.downward:
            inner.append(block(_doubled(inner[-1]), laterals.pop()))
        outer = [inner.pop()]
        for step in self.upward:
            outer.append(step(outer[-1], inner.pop()))
        return outer


def _doubled(x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):  # which would widen the map needlessly
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class NanoDet(nn.Module):
    """Feature maps of 212, 328 and 560 channels at strides 8, 16 and 32: stage channels, then pyramid channels."""

    channels = tuple(width + _PYRAMID for width, _ in _STAGES)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM, 3, 2, 1)
        width, stages = _STEM, []
        for wider, blocks in _STAGES:
            stages.append(
                nn.Sequential(ShrinkingBlock(width, wider), *(ShuffleBlock(wider) for _ in range(blocks - 1)))
            )
            width = wider
        self.stages = nn.ModuleList(stages)
        self.pyramid = GhostPyramid(tuple(wider for wider, _ in _STAGES), _PYRAMID)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # without norms, default initialisation shrinks activations
                nn.init.kaiming_normal_(module.weight, 0.1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def first_stages(self, count: int) -> list[nn.Module]:
        """The stem, which ends at stride 4, and `count - 1` stages."""
        return [self.stem, *self.stages[: max(0, count - 1)]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, h, w], which are padded to multiples of 32, to three maps, which are cropped."""
        height, width = images.shape[-2:]
        x = F.pad(channels_last(images), (0, -width % _COARSEST, 0, -height % _COARSEST)).to(self.stem.weight.dtype)
        x = F.max_pool2d(_activated(self.stem(x)), 3, 2, 1)
        stages = []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        maps = [torch.cat(pair, dim=1) for pair in zip(stages, self.pyramid(stages), strict=True)]
        # Floor division of negative numbers, the usual way to round up, differs between runtimes.
        sizes = [((height + s - 1) // s, (width + s - 1) // s) for s in (8, 16, 32)]
        return [_cropped(x, *size) for x, size in zip(maps, sizes, strict=True)]


def _cropped(x: Tensor, height: int, width: int) -> Tensor:
    if torch.compiler.is_compiling():  # a slice would tie the graph to sizes that are, or are not, multiples of 32
        rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
        return x.index_select(2, rows).index_select(3, columns)
    return x[..., :height, :width]


def convert_nanodet(source: str | Path, target: str | Path) -> None:
    """Convert the backbone of a NanoDet-Plus-m ONNX file to safetensors, for use in a recipe."""
    from safetensors.torch import save_file

    state = read_nanodet(source)
    write_atomically(Path(target), lambda temporary: save_file(state, temporary))


def read_nanodet(source: str | Path) -> dict[str, Tensor]:
    """Read the weights of `NanoDet` from the ONNX file of NanoDet-Plus-m (416 or 320, width 1.0) with folded norms.

    Raises:
        CheckpointError: the file is missing or damaged, or has another graph.
        MissingExtraError: the package that reads ONNX files is not installed.
    """
    path = existing(Path(source).expanduser())
    nodes, values = _graph(path)
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in NanoDet().state_dict().items()}
    places = [place for place, node in enumerate(nodes) if node.op_type == "Conv"][: len(shapes) // 2]
    trunk = nodes[: places[-1] + 2] if places else []  # the last result is added to the last map of the pyramid
    weights = [values.get(name) for place in places for name in nodes[place].input[1:3]]
    same_shapes = [() if value is None else value.shape for value in weights] == list(shapes.values())
    if not same_shapes or _wiring(trunk, values) != _WIRING:
        raise CheckpointError(
            f"{quote(path)} has another graph than NanoDet-Plus-m before its heads. Take the ONNX file of "
            "NanoDet-Plus-m (width 1.0, not 1.5x) with folded batch norms, in the published form."
        )
    state = {name: torch.from_numpy(value).float() for name, value in zip(shapes, weights, strict=True)}
    state["stem.weight"] = state["stem.weight"].flip(1).contiguous()  # BGR to RGB
    return state


def _graph(path: Path) -> tuple[list[Any], dict[str, Any]]:
    """The nodes of an ONNX file and its constant arrays by name."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise missing_extra("Reading an ONNX file", "onnx", "export") from None
    try:
        graph = onnx.load(str(path)).graph
        values = {constant.name: numpy_helper.to_array(constant).copy() for constant in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t).copy()
    except Exception as error:  # protobuf's errors cannot be named without importing it
        raise CheckpointError(
            f"{quote(path)} cannot be read as an ONNX file ({first_line(error)}). It is damaged, cut short or of "
            "another kind. Download it again and compare its size."
        ) from None
    return [node for node in graph.node if node.op_type != "Constant"], values


def _wiring(nodes: list[Any], values: dict[str, Any]) -> str:
    """A digest of the operations and their connections, but not of weights, names and picture sizes."""
    from onnx import helper

    made: dict[str, int] = {}
    lines = []
    for number, node in enumerate(nodes):
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in _ATTRIBUTES}
        fed = [made.get(name, "-") for name in node.input if name not in values]
        small = [values[name].tolist() for name in node.input if name in values and node.op_type in ("Slice", "Resize")]
        ranks = [len(values[name]) for name in node.input if name in values and node.op_type == "Reshape"]
        rounded = {
            key: value.decode() if isinstance(value, bytes) else round(value, 6) if isinstance(value, float) else value
            for key, value in sorted(settings.items())
        }
        lines.append(f"{node.op_type} {fed} {rounded} {small} {ranks}")
        made.update(dict.fromkeys(node.output, number))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
