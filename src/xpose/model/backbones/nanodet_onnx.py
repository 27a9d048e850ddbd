"""NanoDet-Plus-m's published ONNX file to the weights of `nanodet.py`.

convert_nanodet("nanodet-plus-m_416.onnx", "trunk.safetensors")  # then: --set network.backbone=trunk.safetensors
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xpose.errors import CheckpointError, first_line, missing_extra, quote
from xpose.model.backbones.nanodet import NanoDet
from xpose.model.checkpoints.files import existing
from xpose.pictures.atomic import write_atomically

_WIRING = "f1947cbba6836496"  # of the graph up to the heads, see `_wiring`
_ATTRIBUTES = (
    *("alpha", "auto_pad", "axis", "ceil_mode", "coordinate_transformation_mode", "dilations", "group", "kernel_shape"),
    *("mode", "pads", "perm", "strides"),
)


def convert_nanodet(source: str | Path, target: str | Path) -> None:
    """Write the features of a NanoDet-Plus-m file as safetensors with our names.

    Raises:
        XPoseError: see `read_nanodet`; or the target cannot be written.
        MissingExtraError: the package that reads ONNX files is not installed.
    """
    from safetensors.torch import save_file

    state = read_nanodet(source)
    write_atomically(Path(target), lambda temporary: save_file(state, temporary))


def read_nanodet(source: str | Path) -> dict[str, Tensor]:
    """The weights of `NanoDet` out of the ONNX file of NanoDet-Plus-m (416 or 320, width 1.0) with folded norms.

    Raises:
        CheckpointError: the file is missing or damaged, or its graph is another.
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
    state["stem.weight"] = state["stem.weight"].flip(1).contiguous()  # it saw BGR
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
    except Exception as error:  # protobuf's own errors have no base that could be named without it
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
