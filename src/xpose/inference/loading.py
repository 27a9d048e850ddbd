"""`xpose.load`: create a detector from any weights, with the engine that suits them and this machine."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

from xpose.errors import CheckpointError, ConfigError, missing_extra, quote
from xpose.inference.detector import Detector
from xpose.inference.encoding import PromptEncoder
from xpose.inference.engines.graphs import (
    GraphEngine,
    bundled_graphs,
    exported_folder,
    open_exported,
    open_with_weights,
)
from xpose.inference.learned import Learned
from xpose.model.checkpoints.calibration import Calibration, read_calibration
from xpose.model.checkpoints.categories import LearnedCategory, read_categories
from xpose.model.checkpoints.folders import WEIGHT_FILE, located, read_config, weight_folder
from xpose.model.checkpoints.known import DEFAULT, bundled_weights, default_weights
from xpose.model.prompting import NanoTextEncoder, TextEncoder
from xpose.model.prompting.clip_words import ClipWordsGraph

if TYPE_CHECKING:
    import torch

EngineName: TypeAlias = Literal["torch", "onnx"]


class TorchOptions(TypedDict):
    """The options of `load` that only PyTorch has."""

    device: str | torch.device | None
    dtype: str | torch.dtype | None
    compile: bool
    clip: str | Path | None


def load(
    name_or_path: str | Path | None = None,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    engine: EngineName | None = None,
    compile: bool = False,
    clip: str | Path | None = None,
    revision: str | None = None,
) -> Detector:
    """Load a detector.

    Args:
        name_or_path: a bundled name ("xpose-nano"), a weight folder or file, the folder of a training run (its best
            weights), a file in the official layout, a hub id ("owner/name"), or a folder written by `xpose export` or
            one of its files. None takes the bundled default.
        weights: an alias of `name_or_path`.
        device: for PyTorch: "cpu", "cuda", "mps", ...; None takes the first available one of CUDA, MPS and CPU.
        dtype: for PyTorch: "float32" (None), "bfloat16" or "float16" (faster if hardware supports it, slightly less
            exact), "float64", or "auto": bfloat16 if the hardware supports it and a check of these weights shows that
            results hardly change, otherwise float32.
        engine: what runs the network: "torch" (PyTorch) or "onnx" (ONNX Runtime, for networks like the bundled ones).
            None takes ONNX Runtime if it can run these weights, there is no GPU and no option for PyTorch was given,
            and PyTorch otherwise.
        compile: for PyTorch: compile the network with `torch.compile` when a combination of picture size, batch size
            and number of keypoints first occurs, which takes up to minutes. It is meant for many pictures of one size
            on a GPU; on a CPU, compiled networks are slower.
        clip: for PyTorch: folder or hub id of CLIP ViT-B/32, for weight files that do not contain it.
        revision: branch, tag or commit of a hub id.

    Raises:
        CheckpointError: there are no such weights, or they do not fit.
        ConfigError: the engine, device or dtype is not available.
        MissingExtraError: these weights or options need PyTorch, which is not installed.
        XPoseError: this build of PyTorch computes wrong numbers on the device.
    """
    if name_or_path is not None and weights is not None:
        raise CheckpointError(f'Both "{name_or_path}" and weights="{weights}" were given. Give one of them.')
    if engine not in (None, "torch", "onnx"):
        raise ConfigError(f'engine is "{engine}". It must be "torch" or "onnx".')
    given = name_or_path if name_or_path is not None else weights
    source = located(default_weights() if given is None else given, revision)
    name = default_weights() if given is None else str(given)
    options: TorchOptions = {"device": device, "dtype": dtype, "compile": compile, "clip": clip}
    for_torch = [option for option, value in options.items() if value not in (None, False)]
    exported = exported_folder(source)
    if engine == "onnx" and for_torch:
        raise ConfigError(f'{", ".join(for_torch)} and engine="onnx" were both given, but only PyTorch has it.')
    if exported is not None:
        if engine == "torch" or for_torch:
            raise ConfigError(
                f"{quote(source)} was exported, and PyTorch does not run it. Load the weights that it was made from, "
                f"or omit {', '.join(for_torch) or 'engine'}."
            )
        return _exported(*exported, name)
    by_onnx = None if engine == "torch" or for_torch else _by_onnx(source, engine)
    if by_onnx is None:
        return _by_torch(source, name, options)
    return graph_detector(by_onnx, name, read_calibration(source), read_categories(source))


def _by_onnx(source: Path, engine: EngineName | None) -> GraphEngine | None:
    """The engine that runs these weights with ONNX Runtime, or None if PyTorch shall run them."""
    config = read_config(source) if source.is_dir() else None
    graphs = None if config is None else bundled_graphs(config)
    if config is None or graphs is None:
        if engine is not None:
            raise ConfigError(
                f"ONNX Runtime cannot run {quote(source)}: the package has no graphs for this network. Use PyTorch, or "
                "export the weights and load the result: xpose export"
            )
        return None
    if find_spec("onnxruntime") is None:
        if engine is not None:
            raise missing_extra('engine="onnx"', "onnxruntime", "onnx")
        return None
    if engine is None and find_spec("torch") is not None and _gpu():
        return None
    return open_with_weights(config, graphs, source)


def _gpu() -> bool:
    """Whether PyTorch can use a GPU; importing it takes seconds, so that the driver is looked for first."""
    if sys.platform == "linux" and not _driver():
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _driver() -> bool:
    """Whether Linux has a driver of NVIDIA or AMD."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def _by_torch(source: Path, name: str, options: TorchOptions) -> Detector:
    try:
        from xpose.inference.engines.torch_loading import load_with_torch
    except ImportError as error:
        if error.name not in ("torch", "transformers"):
            raise
        raise missing_extra(f"Loading {quote(source)} with these options", error.name, "torch") from None
    return load_with_torch(source, name, **options)


def _exported(folder: Path, ending: str, name: str) -> Detector:
    engine, metadata = open_exported(folder, ending)
    calibration = Calibration.from_json(metadata["calibration"], quote(folder / f"encode{ending}"))
    return graph_detector(engine, name, calibration, read_categories(folder))


def graph_detector(
    engine: GraphEngine, name: str, calibration: Calibration, categories: Sequence[LearnedCategory]
) -> Detector:
    """A detector whose network and encoders are graphs."""

    def text() -> TextEncoder:
        if engine.config.prompt_encoder == "nano":
            return NanoTextEncoder()
        return ClipWordsGraph(engine.graph("encode_words").run)

    return Detector(engine, PromptEncoder(engine, text, categories), name, calibration)


def learned_by(weights: str | None) -> Learned:
    """What weights have learned, without loading them; only the vocabulary if that is unknown."""
    path = bundled_weights().get(weights or DEFAULT, Path(weights or DEFAULT).expanduser())
    return Learned(read_categories(path.parent if path.name == WEIGHT_FILE else weight_folder(path)))
