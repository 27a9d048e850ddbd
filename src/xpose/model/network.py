"""The network: five stages, from top to bottom as in the paper's figure.

Shape letters: see `types.py`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from xpose.errors import ImageError, PromptError
from xpose.model.backbones import build_backbone
from xpose.model.config import XPoseConfig
from xpose.model.decoder import Choose, DecoderHeads, ObjectDecoder
from xpose.model.encoder import CrossModalityEncoder, HybridEncoder
from xpose.model.keypoint_decoder import KeypointDecoder
from xpose.model.layers import MLP, linear
from xpose.model.positions import level_geometry, level_positions
from xpose.model.selection import QuerySelection
from xpose.model.types import (
    EncodedScene,
    GivenQueries,
    ImageFeatures,
    Instances,
    LayerReport,
    Predictions,
    ProjectedPrompts,
    PromptEmbeddings,
    Trace,
    prompt_counts,
)
from xpose.model.visual_prompts import VisualPrompts


class XPose(nn.Module):
    """Finds every prompted object in a batch of images, each with its box and its keypoints."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        self.neck = Neck(self.backbone.channels, config)
        self.object_projection = _projection(config)
        self.keypoint_projection = _projection(config)
        self.encoder = (HybridEncoder if config.encoder == "hybrid" else CrossModalityEncoder)(config)
        self.selection = QuerySelection(config)
        self.object_decoder = ObjectDecoder(config)
        self.keypoint_decoder = KeypointDecoder(config)
        self.heads = DecoderHeads(config)
        # Networks with CLIP prompts take example pictures through CLIP's own image tower instead.
        own_examples = config.prompt_encoder == "nano"
        self.visual_prompts = VisualPrompts(self.backbone.channels, config) if own_examples else None

    def forward(
        self,
        images: Tensor,
        prompts: PromptEmbeddings,
        padding_mask: Tensor | None = None,
        *,
        instances: int | None = None,
        with_reports: bool = False,
        given: GivenQueries | None = None,
    ) -> Predictions:
        """Detect.

        Args:
            images: [B, 3, h, w], normalised with the ImageNet mean and deviation, padded with zeros after that.
            prompts: what to look for; one entry per image, or one for all.
            padding_mask: [B, h, w] bool, True = padding; None if no image is padded.
            instances: how many instances to return per image; the configuration's number if None.
            with_reports: also return the report of every stage and layer (for training).
            given: further object queries for the trace, which change nothing else; requires `with_reports`.

        Raises:
            ImageError: the images or the mask have the wrong shape.
            PromptError: the prompts have another width or number of images.
        """
        features = self.encode_image(images, padding_mask)
        return self.decode(features, prompts, instances=instances, with_reports=with_reports, given=given)

    def encode_image(self, images: Tensor, padding_mask: Tensor | None = None) -> ImageFeatures:
        """Run the prompt-free part; see `decode`."""
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ImageError(f"The images have shape {tuple(images.shape)}. They must be [batch, 3, height, width].")
        if padding_mask is not None and padding_mask.shape != (images.shape[0], *images.shape[2:]):
            raise ImageError(
                f"The padding mask has shape {tuple(padding_mask.shape)}. For these images it must be "
                f"{(images.shape[0], *images.shape[2:])}, True where padded."
            )
        return self.neck(self.backbone(images), padding_mask)

    def decode(
        self,
        features: ImageFeatures,
        prompts: PromptEmbeddings | ProjectedPrompts,
        *,
        instances: int | None = None,
        with_reports: bool = False,
        given: GivenQueries | None = None,
        choose: Choose | None = None,
    ) -> Predictions:
        """Detect in encoded pictures, with prompts that may already be projected; for `choose` see `ObjectDecoder`."""
        if isinstance(prompts, PromptEmbeddings):
            prompts = self.project(prompts.expand(features.tokens.shape[0]))
        scene = self.encoder(features, prompts)
        queries = self.selection(scene, with_reports=with_reports)
        kept = self.object_decoder(
            queries, scene, self.heads, instances=instances, choose=choose, with_reports=with_reports
        )
        groups = self.keypoint_decoder(kept, scene, self.heads, with_reports=with_reports)
        answer = predictions(groups, prompts)
        if not with_reports:
            return answer
        reports = () if given is None else self._given_reports(given, scene)
        return replace(answer, trace=Trace(prompts, queries, groups.group_class, reports, groups.maps))

    def decode_known(
        self, features: ImageFeatures, prompts: PromptEmbeddings | ProjectedPrompts, boxes: Tensor, classes: Tensor
    ) -> Predictions:
        """Find the keypoints of objects in known boxes [B, G, 4] (cx, cy, w, h) of known classes [B, G].

        Query selection is skipped: each box becomes an object query, and opens a group at the same place. Predictions
        are in the order of the boxes. An instance does not depend on the other boxes.
        """
        if isinstance(prompts, PromptEmbeddings):
            prompts = self.project(prompts.expand(features.tokens.shape[0]))
        scene = self.encoder(features, prompts)
        content = self.selection.known(classes, prompts)
        kept = self.object_decoder.known(content, boxes, classes, scene, self.heads)
        return predictions(self.keypoint_decoder(kept, scene, self.heads), prompts)

    def _given_reports(self, given: GivenQueries, scene: EncodedScene) -> tuple[LayerReport, ...]:
        kept = self.object_decoder.given(given, scene, self.heads)
        if not given.opened.shape[1]:
            return kept.reports
        return self.keypoint_decoder(kept, scene, self.heads, with_reports=True).reports

    def project(self, prompts: PromptEmbeddings) -> ProjectedPrompts:
        """Project prompt embeddings to the network's width."""
        if prompts.objects.shape[-1] != self.config.prompt_width:
            raise PromptError(
                f"The prompt embeddings have {prompts.objects.shape[-1]} numbers, this network takes "
                f"{self.config.prompt_width}. Make them with the network's own prompt encoder "
                f'("{self.config.prompt_encoder}").'
            )
        objects, keypoints = self.project_tokens(prompts.objects, prompts.keypoints)
        counts = prompt_counts(prompts.object_mask, prompts.keypoint_mask)  # before the masks leave the CPU
        prompts = prompts.to(objects.device)
        return ProjectedPrompts(
            objects=objects,
            object_mask=None if all(n == objects.shape[1] for n, _ in counts) else prompts.object_mask,
            keypoints=keypoints,
            keypoint_mask=prompts.keypoint_mask,
            keypoint_set=prompts.keypoint_set,
            counts=counts,
        )

    def project_tokens(self, objects: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Project embeddings [..., D] of objects and keypoints, on any device, to the network's width [..., C]."""
        weight, scale = next(self.object_projection.parameters()), self.config.prompt_scale
        objects, keypoints = (x.to(weight.device, weight.dtype) * scale for x in (objects, keypoints))
        return self.object_projection(objects), self.keypoint_projection(keypoints)


class Neck(nn.Module):
    """Projects every map to C channels, adds coarser levels and flattens all levels."""

    def __init__(self, channels: tuple[int, ...], config: XPoseConfig) -> None:
        super().__init__()
        dim = config.dim
        groups = 32 if dim >= 128 else 8
        projections = [nn.Sequential(nn.Conv2d(c, dim, 1), nn.GroupNorm(groups, dim)) for c in channels]
        width = channels[-1]
        for _ in range(config.levels - len(channels)):
            projections.append(nn.Sequential(nn.Conv2d(width, dim, 3, 2, 1), nn.GroupNorm(groups, dim)))
            width = dim
        self.projections = nn.ModuleList(projections)
        self.level_embedding = nn.Parameter(torch.randn(config.levels, dim) * 0.02)

    def forward(self, maps: list[Tensor], padding_mask: Tensor | None) -> ImageFeatures:
        """Backbone maps and the input's mask [B, h, w] (True = padding) to tokens."""
        return self.flatten(self.levels(maps), padding_mask)

    def levels(self, maps: list[Tensor]) -> list[Tensor]:
        """Backbone maps to the maps of all levels, [B, C, h, w] each."""
        dtype = self.level_embedding.dtype
        levels = [_project(p, m.to(dtype)) for p, m in zip(self.projections, maps, strict=False)]
        coarser = maps[-1].to(dtype)
        for projection in list(self.projections)[len(maps) :]:
            coarser = projection(coarser)
            levels.append(coarser)
        return levels

    def flatten(self, levels: list[Tensor], padding_mask: Tensor | None) -> ImageFeatures:
        """The maps of all levels as tokens with positions."""
        shapes = tuple((level.shape[2], level.shape[3]) for level in levels)
        geometry, masks = level_geometry(shapes, padding_mask, levels[0])
        positions = [
            level_positions(*shape, mask, levels[0].shape[1], levels[0]) + embedding
            for shape, mask, embedding in zip(shapes, masks, self.level_embedding, strict=True)
        ]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return ImageFeatures(tokens, torch.cat(positions, dim=1), geometry)


def _project(projection: nn.Module, plane: Tensor) -> Tensor:
    assert isinstance(projection, nn.Sequential)
    convolution, norm = projection[0], projection[1]
    assert isinstance(convolution, nn.Conv2d)
    rows = plane.flatten(2).transpose(1, 2)
    rows = linear(rows, convolution.weight.flatten(1), convolution.bias)
    return norm(rows.transpose(1, 2).unflatten(2, plane.shape[2:]))


def _projection(config: XPoseConfig) -> MLP:
    """A projection of prompt embeddings, initialised so that different prompts stay different.

    With default initialisation, three linear layers would map all prompts to nearly one point.
    """
    projection = MLP(config.prompt_width, config.dim, config.dim, 3)
    for number, layer in enumerate(projection.layers):
        assert isinstance(layer, nn.Linear)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if number == 2 else "relu")
        nn.init.zeros_(layer.bias)
    return projection


def predictions(groups: Instances, prompts: ProjectedPrompts) -> Predictions:
    """The last layer's report, one entry per image, without padding."""
    report, real = groups.reports[-1], groups.keypoint_mask
    assert real is not None
    logits = report.logits if groups.logits is None else groups.logits
    assert report.keypoints is not None
    assert report.keypoint_logits is not None
    assert report.object_cosine is not None
    assert report.keypoint_cosine is not None
    mask = logits.new_ones(logits.shape[::2], dtype=torch.bool) if prompts.object_mask is None else prompts.object_mask
    counts = prompts.counts or prompt_counts(mask, prompts.keypoint_mask)

    def of_classes(values: Tensor) -> tuple[Tensor, ...]:
        return tuple(x[:, :classes] for x, (classes, _) in zip(values, counts, strict=True))

    def of_points(values: Tensor) -> tuple[Tensor, ...]:
        keep = real if values.ndim == 3 else real[..., None]
        return tuple(x[:, :points] for x, (_, points) in zip(values.masked_fill(~keep, math.nan), counts, strict=True))

    return Predictions(
        logits=of_classes(logits),
        boxes=tuple(report.boxes),
        keypoints=of_points(report.keypoints),
        keypoint_confidence=of_points(report.keypoint_logits.diagonal(dim1=-2, dim2=-1).sigmoid()),
        group_class=tuple(groups.group_class),
        object_cosine=of_classes(report.object_cosine),
        keypoint_cosine=of_points(report.keypoint_cosine),
        visibility=None if report.visibility is None else of_points(report.visibility.sigmoid()),
        keypoint_error=None if report.log_error is None else of_points(report.log_error.exp()),
        reports=groups.reports,
    )
