"""Writes graphs as files of ONNX, OpenVINO or torch.export, in 32, 16 or 8 bits."""

from __future__ import annotations

import inspect
import json
import logging
import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from xpose.errors import missing_extra
from xpose.export.graphs import Graph
from xpose.model.graph_files import import_openvino

if TYPE_CHECKING:
    import onnx

OPSET = 20  # the first one with a GridSample that all runtimes compute alike
# Operations that compute places: 16 bits would move keypoints by several pixels.
_PLACES = ["GridSample", "Sin", "Cos", "TopK", "Log", "Exp", "Range", "CumSum", "Resize", "Floor", "ReduceMax", "Mod"]


def traced(graph: Graph) -> ExportedProgram:
    """The graph as a program in which all named axes vary."""
    axes: Any = tuple(dict.fromkeys(graph.axes[name], Dim.DYNAMIC) for name in graph.inputs)
    parameters = inspect.signature(graph.module.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        axes = (axes,)
    graph.module.requires_grad_(False)  # otherwise, the exporter can take a part for one that is trained
    with torch.no_grad():
        return torch.export.export(graph.module, tuple(graph.inputs.values()), dynamic_shapes=axes, strict=False)


def write_torch(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a `.pt2` file for `torch.export.load`, with the metadata as an extra file `xpose.json`."""
    torch.export.save(program, path, extra_files={"xpose.json": json.dumps(dict(metadata))})


def to_onnx(graph: Graph, program: ExportedProgram) -> onnx.ModelProto:
    """The program as an ONNX model, simplified without changing its weights.

    Raises:
        MissingExtraError: the ONNX packages are not installed.
    """
    try:
        import onnx
        from onnxscript import optimizer
    except ImportError as error:
        raise missing_extra("Writing an ONNX file", error.name or "onnxscript", "export") from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # warns that torchvision is not installed
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        converted = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            optimize=False,
            verbose=False,
        )
    assert converted is not None
    model = converted.model_proto
    # As inputs, the weights cannot be folded with others; their names and values stay those of the state dict.
    names = graph.module.state_dict().keys()
    weights = [tensor for tensor in model.graph.initializer if tensor.name in names]
    others = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    _replace(model.graph.initializer, others)
    usual = list(model.graph.input)
    for tensor in weights:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    model = optimizer.optimize(model)
    _replace(model.graph.input, [value for value in model.graph.input if value.name not in names])
    assert [value.name for value in model.graph.input] == [value.name for value in usual]
    model.graph.initializer.extend(weights)
    _name_axes(graph, model)
    return model


def _replace(repeated: Any, values: Iterable[Any]) -> None:
    kept = list(values)
    del repeated[:]
    repeated.extend(kept)


def _name_axes(graph: Graph, model: onnx.ModelProto) -> None:
    """Give varying axes readable names instead of s0, s1, ..., and remove what tracing left behind."""
    for value in model.graph.input:
        for number, axis in graph.axes.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[number].dim_param = axis
    del model.graph.value_info[:]
    for entry in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        entry.doc_string = ""
        del entry.metadata_props[:]


def write_onnx(model: onnx.ModelProto, path: Path, metadata: Mapping[str, str]) -> None:
    """Write an ONNX file with its weights inside."""
    import onnx

    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def write_without_weights(model: onnx.ModelProto, path: Path, weights: Collection[str]) -> list[str]:
    """Write an ONNX file without these weights, and return the names of those that it needs."""
    import onnx

    left_out = onnx.ModelProto()
    left_out.CopyFrom(model)
    needed = []
    for tensor in left_out.graph.initializer:
        if tensor.name in weights:
            needed.append(tensor.name)
            length = 4 * int(np.prod(tensor.dims))
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            # Runtimes require these entries, and ignore them if they are given the weights.
            for key, value in (("location", "weights"), ("offset", "0"), ("length", str(length))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
    path.write_bytes(left_out.SerializeToString())
    return needed


def to_float16(source: Path, target: Path) -> None:
    """Convert an ONNX file to 16 bits, except for inputs, outputs and the operations that compute places."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tiny weights
        half = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=_PLACES)
    onnx.save(half, target)


def to_int8(source: Path, target: Path, examples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Quantise the convolutions of an ONNX file to 8 bits, with ranges measured on examples of its inputs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._examples = iter(examples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next((dict(example) for example in self._examples), None)

    prepared = target.with_suffix(".prepared.onnx")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        prepared.unlink(missing_ok=True)


def to_openvino(source: Path, target: Path, metadata: Mapping[str, str], *, half: bool) -> None:
    """Convert an ONNX file to OpenVINO's pair of `.xml` and `.bin`, with 16-bit weights if `half`.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        openvino = import_openvino()
    except ImportError:
        raise missing_extra("Writing an OpenVINO file", "openvino", "openvino") from None
    model = openvino.convert_model(str(source))
    model.set_rt_info(json.dumps(dict(metadata)), ["xpose"])
    openvino.save_model(model, str(target), compress_to_fp16=half)
