"""Opens graphs in files with ONNX Runtime or OpenVINO; needs no PyTorch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import CheckpointError, first_line, missing_extra, quote

if TYPE_CHECKING:
    import openvino

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True)
class OpenedGraph:
    """A graph that can be run.

    Attributes:
        run: takes and returns arrays by name; safe to use from several threads.
        metadata: texts stored in the file.
        runtime: name and version of what runs it.
    """

    run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    metadata: Mapping[str, str]
    runtime: str


def open_onnx(path: Path, weights: Mapping[str, np.ndarray] = MappingProxyType({}), threads: int = 0) -> OpenedGraph:
    """Open a graph with ONNX Runtime.

    `weights` are those that the file leaves out, and `threads` are for one call; 0 stands for `cpu_threads`.

    Raises:
        CheckpointError: the file is damaged or of another kind.
        MissingExtraError: the runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("Running an ONNX file", "onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cpu_threads()
    options.log_severity_level = 4
    # Threads that wait in a loop for the next of many small operations slow the others down, on two cores by a half.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    providers = [name for name in _PROVIDERS if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # the runtime raises many kinds for damaged and foreign files
        raise CheckpointError(
            f"{quote(path)} cannot be opened by ONNX Runtime {onnxruntime.__version__} ({first_line(error)}). The file "
            "is damaged or of another kind, or newer than the runtime: export it again, or install a newer onnxruntime."
        ) from None
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))

    return OpenedGraph(
        run, dict(session.get_modelmeta().custom_metadata_map), f"ONNX Runtime {onnxruntime.__version__}"
    )


def open_openvino(path: Path, threads: int = 0) -> OpenedGraph:
    """Open a graph with OpenVINO.

    With one thread, calls run side by side; otherwise, each uses `cpu_threads`. The errors are those of `open_onnx`.
    """
    try:
        openvino = import_openvino()
    except ImportError:
        raise missing_extra("Running an OpenVINO file", "openvino", "openvino") from None
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(cpu_threads())}
    settings |= {"NUM_STREAMS": str(cpu_threads())} if threads == 1 else {"PERFORMANCE_HINT": "LATENCY"}
    core = _openvino_core()
    try:
        model = core.read_model(path)
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:  # as above
        raise CheckpointError(
            f"{quote(path)} cannot be opened by OpenVINO {openvino.__version__} ({first_line(error)}). The file is "
            "damaged or of another kind, or its .bin file is missing: export it again."
        ) from None
    names = [output.any_name for output in compiled.outputs]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        request = compiled.create_infer_request()  # one per call, so that threads do not share tensors
        results = request.infer(dict(inputs))
        return {name: np.array(results[output]) for name, output in zip(names, compiled.outputs, strict=True)}

    metadata = json.loads(model.get_rt_info(["xpose"]).astype(str)) if model.has_rt_info(["xpose"]) else {}
    return OpenedGraph(run, metadata, f"OpenVINO {openvino.__version__.split('-')[0]}")


@cache
def _openvino_core() -> openvino.Core:
    """The only one of the process, which is never released.

    OpenVINO gives the thread a signal stack with each core and frees it with the core. If cores are not released in the
    opposite order of their making, the thread keeps a freed stack, and the next signal (Ctrl-C, say) ends the process.
    """
    return import_openvino().Core()


def import_openvino() -> Any:
    """The package openvino, without its reports to Google Analytics.

    Raises:
        ImportError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO goes on without it
    import openvino

    return openvino


def cpu_threads() -> int:
    """The number of threads that OMP_NUM_THREADS sets, as for PyTorch, or that of the processors."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    if value.isdecimal() and int(value):
        return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
