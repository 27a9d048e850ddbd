"""Exports a detector: writes its graphs, runs them on pictures beside PyTorch, and keeps only files that agree."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from xpose import __version__
from xpose.errors import CheckpointError, ConfigError, quote
from xpose.export import files
from xpose.export.graphs import SAMPLING, Graph, graphs_of
from xpose.export.parity import TOLERANCES, Differences, compare
from xpose.inference.detector import Detector
from xpose.inference.engines.graphs import ENDINGS, FORMAT, GraphEngine
from xpose.inference.engines.torch import TorchEngine
from xpose.inference.loading import graph_detector, load
from xpose.inference.preprocess import MEAN, STD
from xpose.model.checkpoints.categories import write_categories
from xpose.model.graph_files import OpenedGraph
from xpose.model.prompting import ClipTextEncoder
from xpose.model.prompting.sentences import MODEL_SHA256
from xpose.prompts import Prompt, TextPrompt, VisualPrompt

if TYPE_CHECKING:
    from xpose.pictures.reading import PictureSource

FORMATS = (*ENDINGS, "torch-export")
PRECISIONS = ("float32", "float16", "int8")
_MOST_COMPARED = 6  # categories


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Attributes:
        format: one of `FORMATS`.
        sampling: "grid" (the operator GridSample) or "gather" (plain indexing, for runtimes that compute GridSample
            wrongly).
        precision: "float32", "float16", or "int8" (8-bit convolutions in `encode`, the rest in 32 bits).

    Raises:
        ConfigError: a value is unknown, or the combination does not exist.
    """

    format: str = "onnx"
    sampling: str = "grid"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, known in (("format", FORMATS), ("sampling", SAMPLING), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ConfigError(f'{name} is "{getattr(self, name)}". It must be one of {", ".join(known)}.')
        if self.format == "torch-export" and self.precision != "float32":
            raise ConfigError(f'The format "torch-export" has only float32. Omit precision="{self.precision}".')


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how its results differ from PyTorch's."""

    folder: Path
    files: tuple[Path, ...]
    differences: Differences


def export_detector(
    detector: Detector,
    folder: str | Path,
    pictures: Sequence[PictureSource],
    words: Sequence[str] = (),
    options: ExportOptions = ExportOptions(),
    *,
    licence: str = "not stated",
    note: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Write the graphs of a detector to a folder, after a comparison with PyTorch.

    Args:
        detector: run by PyTorch, in float32 on the CPU.
        folder: a new or empty folder.
        pictures: photographs for the comparison, and for the ranges of 8-bit numbers.
        words: the objects to compare; by default some that the weights have learned.
        options: see `ExportOptions`.
        licence: of the weights, for the metadata.
        note: takes a line about each step.

    Raises:
        CheckpointError: the results differ too much, or the folder is in use; nothing is written.
        MissingExtraError: a package for this format is not installed.
    """
    engine = detector.engine
    if not isinstance(engine, TorchEngine) or next(engine.model.parameters()).dtype != torch.float32:
        raise ConfigError('Only float32 weights in PyTorch can be exported. Load them with xpose.load(engine="torch").')
    target = Path(folder).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{quote(target)} exists and is not an empty folder. Choose another name.")
    if not pictures:
        raise ConfigError("No picture was given. Results are compared on pictures before anything is written.")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        write_categories(staging, detector.learned.categories)  # the default keypoints of both detectors depend on them
        if options.format == "torch-export":
            exported = _write_programs(detector, staging, options, licence, note)
        else:
            _write_graphs(detector, staging, pictures, options, licence, note)
            exported = load(staging)
        note(f"Comparing the results for {len(pictures)} pictures with PyTorch's")
        worst = options.precision != "int8"
        with_examples = any(staging.glob("encode_examples.*"))
        differences = _differences(detector, exported, pictures, words, with_examples, best=worst)
        if faults := differences.faults(TOLERANCES[options.precision], worst=worst):
            raise CheckpointError(
                f"The exported files do not compute what PyTorch computes: {'; '.join(faults)}. Nothing was written."
                + (" Export in float32." if options.precision != "float32" else "")
            )
        del exported  # closes the files, which some systems require before they can be moved
        staging.chmod(0o755)
        if target.exists():
            target.rmdir()
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return ExportReport(target, tuple(sorted(target.iterdir())), differences)


def _metadata(detector: Detector, options: ExportOptions, licence: str) -> dict[str, str]:
    config = detector.engine.config
    preprocessing = {
        "colours": "RGB",
        "short_side": config.image_short,
        "long_side_at_most": config.image_long,
        "mean": np.asarray(MEAN).ravel().tolist(),
        "std": np.asarray(STD).ravel().tolist(),
        "layout": "batch, 3, height, width; float32; (value / 255 - mean) / std",
    }
    words = {"encoder": "all-MiniLM-L6-v2 and a code of sides", "sha256": MODEL_SHA256}
    if config.prompt_encoder == "clip":
        words = {"encoder": "CLIP ViT-B/32", "tokens": "byte-pair encoding with 49,408 tokens"}
    return {
        "format": FORMAT,
        "config": config.to_json(),
        "calibration": detector.calibration.to_json(),
        "fingerprint": detector.engine.fingerprint(),
        "preprocessing": json.dumps(preprocessing),
        "words": json.dumps(words),
        "weights": detector.name,
        "licence": licence,
        "version": __version__,
        "opset": str(files.OPSET),
        "sampling": options.sampling,
        "precision": options.precision,
    }


def _graphs(detector: Detector, sampling: str) -> Iterator[Graph]:
    engine = detector.engine
    assert isinstance(engine, TorchEngine)
    text = detector.prompts.text
    return graphs_of(engine, sampling, text if isinstance(text, ClipTextEncoder) else None)


def _write_graphs(
    detector: Detector,
    folder: Path,
    pictures: Sequence[PictureSource],
    options: ExportOptions,
    licence: str,
    note: Callable[[str], None],
) -> None:
    metadata = _metadata(detector, options, licence)
    for graph in _graphs(detector, options.sampling):
        start = time.monotonic()
        path = folder / f"{graph.name}.onnx"
        files.write_onnx(files.to_onnx(graph, files.traced(graph)), path, metadata)
        if options.precision == "int8" and graph.name == "encode":
            _in_place(path, lambda source, result: files.to_int8(source, result, _inputs(detector, pictures)))
        if options.precision == "float16" and options.format == "onnx":
            _in_place(path, files.to_float16)
        if options.format == "openvino":
            half = options.precision == "float16"
            files.to_openvino(path, path.with_suffix(".xml"), metadata, half=half)
            path.unlink()
        note(f"Traced {graph.name} in {time.monotonic() - start:.0f} s")


def _in_place(path: Path, convert: Callable[[Path, Path], None]) -> None:
    result = path.with_name(f"converted-{path.name}")
    convert(path, result)
    result.replace(path)


def _inputs(detector: Detector, pictures: Sequence[PictureSource]) -> Iterator[Mapping[str, np.ndarray]]:
    for picture in pictures:
        yield {"images": detector.prepare_image(picture).values[None]}


def _write_programs(
    detector: Detector, folder: Path, options: ExportOptions, licence: str, note: Callable[[str], None]
) -> Detector:
    """Write `.pt2` files, and return a detector that runs the programs in them."""
    metadata = _metadata(detector, options, licence)
    opened: dict[str, OpenedGraph] = {}
    for graph in _graphs(detector, options.sampling):
        path = folder / f"{graph.name}.pt2"
        files.write_torch(files.traced(graph), path, metadata)
        opened[graph.name] = _opened_program(path, graph)
        note(f"Traced {graph.name}")
    engine = GraphEngine(
        detector.engine.config, folder, lambda name, _: opened.get(name), detector.engine.fingerprint()
    )
    return graph_detector(engine, detector.name, detector.calibration, detector.learned.categories)


def _opened_program(path: Path, graph: Graph) -> OpenedGraph:
    module = torch.export.load(path).module()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(inputs[name]) for name in graph.inputs))
        tensors = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
        return {name: tensor.numpy() for name, tensor in zip(graph.outputs, tensors, strict=True)}

    return OpenedGraph(run, {}, f"torch.export {torch.__version__}")


def _differences(
    detector: Detector,
    exported: Detector,
    pictures: Sequence[PictureSource],
    words: Sequence[str],
    with_examples: bool,
    *,
    best: bool,
) -> Differences:
    """The differences in detections, with `best` in the best candidates of other classes, and in known boxes.

    The first object that PyTorch found is also an example, if the network can encode examples.
    """
    prompts: list[Prompt] = [TextPrompt(word) for word in words or _learned(detector) or ["person"]]
    asked = [(picture, prompt) for picture in pictures for prompt in prompts]
    found = [(*pair, detector.detect(*pair, best=best)) for pair in asked]
    expected = [poses for _, _, poses in found]
    results = [exported.detect(*pair, best=best) for pair in asked]
    for picture, prompt, poses in found:
        if len(poses):
            expected.append(detector.detect(picture, prompt, boxes=poses.boxes))
            results.append(exported.detect(picture, prompt, boxes=poses.boxes))
    shown = next(((picture, poses[0]) for picture, _, poses in found if len(poses)), None)
    if with_examples and shown is not None:
        places = {name: (point.x, point.y) for name, point in shown[1].points.items()}
        example = VisualPrompt(shown[0], places, name="object")
        expected += [detector.detect(other, example, best=best) for other in pictures]
        results += [exported.detect(other, example, best=best) for other in pictures]
    return compare(expected, results)


def _learned(detector: Detector) -> list[str]:
    return list(dict.fromkeys(category.name for category in detector.learned.categories))[:_MOST_COMPARED]
