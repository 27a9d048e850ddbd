"""The network as graphs, run by ONNX Runtime or OpenVINO; needs no PyTorch.

A folder written by `xpose export` has one file for each graph, with its weights and with metadata. The package has
graphs without weights for the architecture of its own weights (`bundled_graphs/`), which take them from a weight
folder.
`export/graphs.py` defines the graphs.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import numpy as np

from xpose.errors import CheckpointError, first_line, quote
from xpose.inference.encoded import BoxArrays, PromptArrays
from xpose.inference.engines import RawInstances, fingerprint_of
from xpose.model.checkpoints.folders import WEIGHT_FILE
from xpose.model.config import XPoseConfig
from xpose.model.graph_files import OpenedGraph, cpu_threads, open_onnx, open_openvino

FORMAT = "xpose-graphs-1"
# One graph for each method of `Engine` that runs the network, and the text encoder of networks with CLIP prompts.
NAMES = ("encode", "decode", "decode_known", "project", "encode_examples", "encode_words")
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}
METADATA = ("config", "calibration", "fingerprint", "version", "opset")
ABOUT_FILE = "graphs.json"  # in a folder of graphs without weights: the settings, and the weights of each graph
BUNDLED_GRAPHS = Path(str(files("xpose.inference.engines") / "bundled_graphs"))

OpenGraph: TypeAlias = Callable[[str, int], OpenedGraph | None]


class GraphEngine:
    """Runs graphs; see `Engine`. Graphs are opened when they are first used. Safe to use from several threads."""

    def __init__(
        self, config: XPoseConfig, source: Path, open_graph: OpenGraph, fingerprint: str, threads: int = 0
    ) -> None:
        """Take the network's settings, its folder for messages, and a function that opens graphs.

        The function takes the name of a graph and the number of CPU threads for one call; 0 stands for all.
        """
        self._config, self.source, self._fingerprint = config, source, fingerprint
        self._open, self._threads = open_graph, threads
        self._graphs: dict[str, OpenedGraph] = {}
        self._lock = threading.Lock()

    @property
    def config(self) -> XPoseConfig:
        """The settings of the network."""
        return self._config

    @property
    def runtime(self) -> str:
        """What runs the network, with its version."""
        return self.graph("encode").runtime

    def graph(self, name: str) -> OpenedGraph:
        """The opened graph of a name.

        Raises:
            CheckpointError: there is none.
        """
        with self._lock:
            if name not in self._graphs:
                graph = self._open(name, self._threads)
                if graph is None:
                    raise CheckpointError(f"{quote(self.source)} has no graph {name}. {_WITHOUT[name]}")
                self._graphs[name] = graph
            return self._graphs[name]

    def side_by_side(self) -> tuple[GraphEngine, int]:
        """The same graphs, each run by the thread that calls it, and the number of CPU threads; see `Engine`.

        Small operations gain little from several threads, so that two pictures at once take half of the time.
        """
        return GraphEngine(self.config, self.source, self._open, self._fingerprint, threads=1), cpu_threads()

    @property
    def resizes(self) -> bool:
        """Whether pictures are resized here: they are not."""
        return False

    def encode_pictures(self, pictures: Sequence[np.ndarray], height: int, width: int) -> object:
        """Not available, because `resizes` is False; see `Engine`."""
        raise NotImplementedError

    def encode(self, images: np.ndarray) -> list[np.ndarray]:
        """Run the prompt-free part of the network; see `Engine`."""
        maps = self.graph("encode").run({"images": _floats(images)})
        return [maps[_level(number)] for number in range(self.config.levels)]

    def decode(
        self, features: object, prompts: PromptArrays, instances: int | None = None, *, with_cosines: bool = False
    ) -> list[RawInstances]:
        """Detect in encoded images; see `Engine`."""
        count = np.zeros(instances or self.config.instances, np.int64)
        outputs = self.graph("decode").run({**_inputs(features, prompts), "instances": count})
        return _instances(outputs, prompts, with_cosines)

    def decode_known(self, features: object, prompts: PromptArrays, known: BoxArrays) -> list[RawInstances]:
        """Find the keypoints of objects in known boxes; see `Engine`."""
        places = {"known_boxes": _floats(known.boxes), "known_classes": known.classes}
        outputs = self.graph("decode_known").run({**_inputs(features, prompts), **places})
        return _instances({**outputs, "group_class": known.classes}, prompts, False)

    def project(self, objects: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project embeddings to prompt tokens; see `Engine`."""
        outputs = self.graph("project").run({"objects": _floats(objects), "keypoints": _floats(keypoints)})
        return outputs["object_tokens"], outputs["keypoint_tokens"]

    def encode_examples(
        self, pictures: np.ndarray, points: np.ndarray, visible: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode example pictures; see `Engine`."""
        inputs = {"pictures": _floats(pictures), "points": _floats(np.nan_to_num(points)), "visible": visible}
        outputs = self.graph("encode_examples").run(inputs)
        return outputs["object_embeddings"], outputs["keypoint_embeddings"]

    def fingerprint(self) -> str:
        """A short text shared only by networks with the same prompt tokens."""
        return self._fingerprint

    @cached_property
    def identity(self) -> str:
        """The sha256 of all weights; see `Engine`."""
        digest = hashlib.sha256()
        for path in sorted(self.source.glob("*.*")):
            if path.suffix in (".onnx", ".xml", ".bin", ".safetensors"):
                digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()


_WITHOUT = {
    **dict.fromkeys(NAMES, "Keep the files of an export together, or export the weights again with: xpose export"),
    "encode_examples": "Use words, or export weights that can encode examples.",
}


def _level(number: int) -> str:
    return f"level_{number}"


def _floats(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def _inputs(features: object, prompts: PromptArrays) -> dict[str, np.ndarray]:
    """The inputs that both decoding graphs take; optional prompt arrays are filled in."""
    assert isinstance(features, list), type(features)
    shape = prompts.objects.shape[:2]
    filled = {field.name: getattr(prompts, field.name) for field in fields(PromptArrays)}
    if prompts.object_mask is None:
        filled["object_mask"] = np.ones(shape, bool)
    if prompts.silent is None:
        filled["silent"] = np.zeros(shape, bool)
    if prompts.required_logits is None:
        filled["required_logits"] = np.zeros(shape, np.float32)
    if not prompts.keypoints.shape[2]:  # graphs need at least one keypoint; a masked one changes nothing
        filled["keypoints"] = np.zeros((*prompts.keypoints.shape[:2], 1, prompts.keypoints.shape[3]), np.float32)
        filled["keypoint_mask"] = np.zeros((*prompts.keypoint_mask.shape[:2], 1), bool)
    arrays = {_level(number): values for number, values in enumerate(features)}
    return arrays | {name: _floats(array) if array.dtype.kind == "f" else array for name, array in filled.items()}


def _instances(outputs: Mapping[str, np.ndarray], prompts: PromptArrays, with_cosines: bool) -> list[RawInstances]:
    """The instances of every image, cropped to its own numbers of classes and keypoints."""
    mask = prompts.object_mask
    points = prompts.keypoint_mask.sum(2).max(1)
    with np.errstate(over="ignore"):
        scores = 1 / (1 + np.exp(-outputs["logits"]))
    results = []
    for b, count in enumerate(points):
        classes = prompts.objects.shape[1] if mask is None else int(mask[b].sum())
        error = outputs.get("point_error")
        results.append(
            RawInstances(
                logits=outputs["logits"][b, :, :classes],
                scores=scores[b, :, :classes],
                boxes=outputs["boxes"][b],
                group_class=outputs["group_class"][b],
                keypoints=outputs["points"][b, :, :count],
                confidence=outputs["confidence"][b, :, :count],
                keypoint_error=None if error is None else error[b, :, :count],
                object_cosine=outputs["object_cosine"][b, :, :classes] if with_cosines else None,
                keypoint_cosine=outputs["keypoint_cosine"][b, :, :count] if with_cosines else None,
            )
        )
    return results


def exported_folder(path: Path) -> tuple[Path, str] | None:
    """The folder of an export and the ending of its files, for the folder or one of its files; None if it is none."""
    if path.is_file() and path.suffix in ENDINGS.values():
        return path.parent, path.suffix
    return next(((path, ending) for ending in ENDINGS.values() if (path / f"encode{ending}").is_file()), None)


def open_exported(folder: Path, ending: str) -> tuple[GraphEngine, Mapping[str, str]]:
    """The engine for a folder written by `xpose export`, and its metadata.

    Raises:
        CheckpointError: a file is missing, damaged, or was not written by `xpose export`.
        MissingExtraError: the runtime is not installed.
    """
    if not (folder / f"encode{ending}").is_file():
        raise CheckpointError(
            f"The folder {quote(folder)} has no encode{ending}. `xpose export` writes it, together with decode{ending} "
            "and others; keep them together."
        )
    open_file = open_openvino if ending == ".xml" else open_onnx

    def opened(name: str, threads: int) -> OpenedGraph | None:
        path = folder / f"{name}{ending}"
        if not path.is_file():
            return None
        graph = open_file(path, threads=threads)
        _check(path, graph.metadata)
        if graph.metadata["fingerprint"] != first.metadata["fingerprint"]:
            raise CheckpointError(
                f"{quote(path)} and {quote(folder / f'encode{ending}')} are from different weights. Export them again."
            )
        return graph

    first = open_file(folder / f"encode{ending}")
    _check(folder / f"encode{ending}", first.metadata)
    config = XPoseConfig.from_json(first.metadata["config"], quote(folder / f"encode{ending}"))
    engine = GraphEngine(config, folder, opened, first.metadata["fingerprint"])
    engine._graphs["encode"] = first
    return engine, first.metadata


def _check(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{quote(path)} was not written by `xpose export`, or by another version of it (its metadata has the "
            f'format "{metadata.get("format", "")}" instead of "{FORMAT}"). Export the weights again.'
        )
    if missing := [name for name in METADATA if name not in metadata]:
        raise CheckpointError(
            f"{quote(path)} is without the metadata {', '.join(missing)}. Another program may have changed the file; "
            "export the weights again."
        )


def bundled_graphs(config: XPoseConfig) -> Path | None:
    """The folder of the package's graphs for networks with these settings, or None."""
    for path in sorted(BUNDLED_GRAPHS.glob(f"*/{ABOUT_FILE}")):
        stored = json.dumps(json.loads(path.read_text("utf-8"))["config"])
        if architecture(XPoseConfig.from_json(stored, quote(path))) == architecture(config):
            return path.parent
    return None


def architecture(config: XPoseConfig) -> XPoseConfig:
    """The settings without those that no graph depends on."""
    usual = XPoseConfig()
    free = ("name", "image_short", "image_long", "instances")
    return replace(config, **{name: getattr(usual, name) for name in free})


def open_with_weights(config: XPoseConfig, graphs: Path, folder: Path) -> GraphEngine:
    """The engine for graphs without weights and a weight folder, run by ONNX Runtime.

    Raises:
        CheckpointError: the weights are damaged, or do not fit.
    """
    names: dict[str, list[str]] = json.loads((graphs / ABOUT_FILE).read_text("utf-8"))["weights"]
    path = folder / WEIGHT_FILE

    def opened(name: str, threads: int) -> OpenedGraph | None:
        if name not in names:
            return None
        return open_onnx(graphs / f"{name}.onnx", _tensors(path, names[name]), threads=threads)

    projection = [
        f"{kind}_projection.layers.{layer}.{part}"
        for kind in ("object", "keypoint")
        for layer in range(3)
        for part in ("weight", "bias")
    ]
    return GraphEngine(config, folder, opened, fingerprint_of(config, _tensors(path, projection).values()))


def _tensors(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named tensors of a weight file, in float32."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name).astype(np.float32) for name in names}
    except (SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(
            f"{quote(path)} cannot be read ({first_line(error)}). It is damaged, or does not fit its settings; get the "
            "weight folder again."
        ) from None
