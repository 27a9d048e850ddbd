"""The parts of a detector as modules whose inputs and outputs are named tensors of varying size.

There is one graph for each method of `Engine` that runs the network, with the same name:

| graph             | from                                          | to                                      |
|-------------------|-----------------------------------------------|-----------------------------------------|
| `encode`          | pictures                                      | feature maps                            |
| `decode`          | feature maps and prompt tokens                | instances with boxes and keypoints      |
| `decode_known`    | the same, and known boxes with their classes  | instances in the order of the boxes     |
| `project`         | embeddings of words or example pictures       | prompt tokens                           |
| `encode_examples` | example pictures with their keypoints         | embeddings                              |

Prompts are inputs, so that one set of files serves every prompt. All pictures of a batch have the same size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from xpose.inference.encoded import PromptArrays
from xpose.inference.engines.torch import TorchEngine
from xpose.model.deformable import DeformableAttention
from xpose.model.keypoint_decoder import PoseMap
from xpose.model.network import XPose
from xpose.model.prompting import ClipTextEncoder
from xpose.model.prompting.tokenizer import END, START
from xpose.model.types import Instances, ProjectedPrompts

SAMPLING = ("grid", "gather")
# Sizes for tracing. They all differ, because the exporter takes equal sizes for the same axis, and 1 for a constant.
_BATCH, _CLASSES, _SETS, _KEYPOINTS, _INSTANCES, _BOXES = 3, 5, 4, 7, 9, 11
_LEVELS = ((37, 41), (19, 23), (13, 17), (8, 6), (29, 31))


@dataclass(frozen=True)
class Graph:
    """A module to export.

    Attributes:
        name: the file's stem.
        module: takes the inputs in order and returns the outputs in order.
        inputs: example values.
        axes: the names of the varying axes of each input, by number.
        outputs: names.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    axes: Mapping[str, Mapping[int, str]]
    outputs: tuple[str, ...]


class EncodeModule(nn.Module):
    """The prompt-free part of the network."""

    def __init__(self, model: XPose) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, model.neck

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, h, w] to one map per level, [B, C, h / stride, w / stride]."""
        return tuple(self.neck.levels(self.backbone(images)))


class DecodeModule(nn.Module):
    """The prompted part of the network."""

    def __init__(self, model: XPose, *, known: bool) -> None:
        super().__init__()
        self.known = known
        # The caller knows the classes of known boxes.
        left_out = ("group_class",) if known else ()
        self.outputs = tuple(name for name in _output_names(model) if name not in left_out)
        self.neck, self.encoder, self.heads = model.neck, model.encoder, model.heads
        self.selection, self.object_decoder = model.selection, model.object_decoder
        self.keypoint_decoder = model.keypoint_decoder

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Maps, then the fields of `ProjectedPrompts`, then `instances`, or known boxes and classes."""
        levels = len(self.neck.level_embedding)
        given = dict(zip(_PROMPTS, tensors[levels:], strict=False))
        prompts = ProjectedPrompts(**given)  # type: ignore[arg-type]  # all of them are tensors
        scene = self.encoder(self.neck.flatten(list(tensors[:levels]), None), prompts)
        if self.known:
            boxes, classes = tensors[-2:]
            content = self.selection.known(classes, prompts)
            kept = self.object_decoder.known(content, boxes, classes, scene, self.heads)
        else:
            kept = self.object_decoder(self.selection(scene), scene, self.heads, instances=tensors[-1].shape[0])
        outputs = _outputs(self.keypoint_decoder(kept, scene, self.heads))
        return tuple(outputs[OUTPUTS.index(name)] for name in self.outputs)


def _outputs(groups: Instances) -> tuple[Tensor, ...]:
    """The tensors of `RawInstances`, for all images."""
    report, real = groups.reports[-1], groups.keypoint_mask
    assert real is not None
    assert report.keypoints is not None
    assert report.keypoint_logits is not None
    assert report.object_cosine is not None
    assert report.keypoint_cosine is not None
    confidence = report.visibility
    if confidence is None:
        confidence = report.keypoint_logits.diagonal(dim1=-2, dim2=-1)
    outputs = [
        report.logits if groups.logits is None else groups.logits,
        report.boxes,
        groups.group_class,
        report.keypoints.masked_fill(~real[..., None], math.nan),
        confidence.sigmoid().masked_fill(~real, math.nan),
        report.object_cosine,
        report.keypoint_cosine.masked_fill(~real, math.nan),
    ]
    if report.log_error is not None:
        outputs.append(report.log_error.exp().masked_fill(~real, math.nan))
    return tuple(outputs)


_PROMPTS = tuple(field.name for field in fields(PromptArrays))  # in the order of the inputs
OUTPUTS = ("logits", "boxes", "group_class", "points", "confidence", "object_cosine", "keypoint_cosine", "point_error")


class ProjectModule(nn.Module):
    """Projects embeddings of objects and keypoints to tokens."""

    def __init__(self, model: XPose) -> None:
        super().__init__()
        self.object_projection, self.keypoint_projection = model.object_projection, model.keypoint_projection
        self.scale = model.config.prompt_scale

    def forward(self, objects: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """[n, D] and [m, D] to [n, C] and [m, C]."""
        return self.object_projection(objects * self.scale), self.keypoint_projection(keypoints * self.scale)


class ExampleModule(nn.Module):
    """Encodes example pictures with the network's own backbone."""

    def __init__(self, model: XPose) -> None:
        super().__init__()
        self.backbone, self.visual_prompts = model.backbone, model.visual_prompts

    def forward(self, pictures: Tensor, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """[n, 3, s, s], [n, K, 2] in 0..1 and [n, K] to embeddings [n, D] and [n, K, D]."""
        assert self.visual_prompts is not None
        objects, keypoints = self.visual_prompts(self.backbone(pictures), points, visible)
        return objects, keypoints


class WordsModule(nn.Module):
    """Encodes texts with CLIP."""

    def __init__(self, encoder: ClipTextEncoder) -> None:
        super().__init__()
        self.tower = encoder.tower

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        """Token numbers [n, T] to embeddings [n, D]."""
        return (self.tower(input_ids=tokens).text_embeds,)


def graphs_of(engine: TorchEngine, sampling: str = "grid", text: ClipTextEncoder | None = None) -> Iterator[Graph]:
    """The graphs of a network in float32, and of CLIP's text encoder; `sampling` is one of `SAMPLING`."""
    model = engine.model
    for module in model.modules():
        if isinstance(module, DeformableAttention | PoseMap):
            module.graph_kernel = sampling
    yield _encode(model)
    yield _decode(model)
    yield _decode_known(model)
    yield _project(model)
    if model.visual_prompts is not None:
        yield _examples(ExampleModule(model), model.config.example_side)
    elif engine.has_visual:
        yield _examples(engine.visual, engine.visual.size)
    if text is not None:
        tokens = torch.tensor([[START, *range(400, 400 + n), END, 0, 0][:7] for n in (5, 3, 4)])
        axes = {"tokens": {0: "texts", 1: "tokens"}}
        yield Graph("encode_words", WordsModule(text), {"tokens": tokens}, axes, ("embeddings",))


def _encode(model: XPose) -> Graph:
    side = model.config.image_short
    images = torch.zeros(_BATCH, 3, side + 3, side + 45)
    outputs = tuple(f"level_{number}" for number in range(model.config.levels))
    axes = {"images": {0: "batch", 2: "height", 3: "width"}}
    return Graph("encode", EncodeModule(model), {"images": images}, axes, outputs)


def _decode(model: XPose) -> Graph:
    inputs, axes = _features_and_prompts(model)
    inputs["instances"] = torch.zeros(_INSTANCES, dtype=torch.long)
    axes["instances"] = {0: "instances"}
    module = DecodeModule(model, known=False)
    return Graph("decode", module, inputs, axes, module.outputs)


def _decode_known(model: XPose) -> Graph:
    inputs, axes = _features_and_prompts(model)
    inputs["known_boxes"] = torch.full((_BATCH, _BOXES, 4), 0.5)
    inputs["known_classes"] = torch.zeros(_BATCH, _BOXES, dtype=torch.long)
    axes["known_boxes"] = axes["known_classes"] = {0: "batch", 1: "instances"}
    module = DecodeModule(model, known=True)
    return Graph("decode_known", module, inputs, axes, module.outputs)


def _output_names(model: XPose) -> tuple[str, ...]:
    return OUTPUTS if model.config.point_error else OUTPUTS[:-1]


def _features_and_prompts(model: XPose) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
    """Example inputs and varying axes of what both decoding graphs take."""
    dim = model.config.dim
    inputs: dict[str, Tensor] = {}
    axes: dict[str, dict[int, str]] = {}
    for number, shape in enumerate(_LEVELS[: model.config.levels]):
        inputs[f"level_{number}"] = torch.zeros(_BATCH, dim, *shape)
        axes[f"level_{number}"] = {0: "batch", 2: f"height_{number}", 3: f"width_{number}"}
    of_class, of_point = {0: "batch", 1: "classes"}, {0: "batch", 1: "sets", 2: "keypoints"}
    inputs |= {
        "objects": torch.zeros(_BATCH, _CLASSES, dim),
        "object_mask": torch.ones(_BATCH, _CLASSES, dtype=torch.bool),
        "keypoints": torch.zeros(_BATCH, _SETS, _KEYPOINTS, dim),
        "keypoint_mask": torch.ones(_BATCH, _SETS, _KEYPOINTS, dtype=torch.bool),
        "keypoint_set": torch.zeros(_BATCH, _CLASSES, dtype=torch.long),
        "silent": torch.zeros(_BATCH, _CLASSES, dtype=torch.bool),
        "required_logits": torch.zeros(_BATCH, _CLASSES),
    }
    of_points = ("keypoints", "keypoint_mask")
    for name in list(inputs)[model.config.levels :]:
        axes[name] = dict(of_point if name in of_points else of_class)
    return inputs, axes


def _project(model: XPose) -> Graph:
    width = model.config.prompt_width
    inputs = {"objects": torch.zeros(3, width), "keypoints": torch.zeros(5, width)}
    axes = {"objects": {0: "classes"}, "keypoints": {0: "keypoints"}}
    return Graph("project", ProjectModule(model), inputs, axes, ("object_tokens", "keypoint_tokens"))


def _examples(module: nn.Module, side: int) -> Graph:
    inputs = {
        "pictures": torch.zeros(3, 3, side, side),
        "points": torch.full((3, 5, 2), 0.5),
        "visible": torch.ones(3, 5, dtype=torch.bool),
    }
    axes: dict[str, dict[int, str]] = {name: {0: "examples", 1: "keypoints"} for name in ("points", "visible")}
    axes["pictures"] = {0: "examples"}
    return Graph("encode_examples", module, inputs, axes, ("object_embeddings", "keypoint_embeddings"))
