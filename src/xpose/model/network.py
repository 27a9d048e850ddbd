"""The network: five stages, read from top to bottom as in the paper's figure.

Shape letters: see `types.py`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from xpose.errors import ImageError, PromptError
from xpose.model.backbones import build_backbone
from xpose.model.config import XPoseConfig
from xpose.model.decoder import DecoderHeads
from xpose.model.encoder import CrossModalityEncoder
from xpose.model.hybrid_encoder import HybridEncoder
from xpose.model.keypoint_decoder import DecodedGroups, KeypointDecoder
from xpose.model.layers import MLP
from xpose.model.neck import Neck
from xpose.model.object_decoder import Choose, ObjectDecoder
from xpose.model.selection import QuerySelection
from xpose.model.types import (
    EncodedScene,
    GivenQueries,
    ImageFeatures,
    LayerReport,
    Predictions,
    ProjectedPrompts,
    PromptEmbeddings,
    Trace,
)
from xpose.model.visual_prompts import VisualPrompts


class XPose(nn.Module):
    """Finds every prompted object in a batch of images, each with its box and its keypoints."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        self.neck = Neck(self.backbone.channels, config)  # type: ignore[arg-type]
        self.object_projection = _projection(config)
        self.keypoint_projection = _projection(config)
        self.encoder = (HybridEncoder if config.encoder == "hybrid" else CrossModalityEncoder)(config)
        self.selection = QuerySelection(config)
        self.object_decoder = ObjectDecoder(config)
        self.keypoint_decoder = KeypointDecoder(config)
        self.heads = DecoderHeads(config)
        # Networks with CLIP prompts take example pictures through CLIP's own image tower instead.
        own_examples = config.prompt_encoder == "nano"
        self.visual_prompts = VisualPrompts(self.backbone.channels, config) if own_examples else None  # type: ignore[arg-type]

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
            padding_mask: [B, h, w] bool, True = padding; None where no image is padded.
            instances: how many instances to return per image; the configuration's number where None. More of them leave
                the first ones as they are.
            with_reports: also return what every stage and layer would report by itself (for training).
            given: further object queries, whose reports go to the trace and which change nothing else; only together
                with reports.

        Raises:
            ImageError: the images or the mask have the wrong shape.
            PromptError: the prompts are of another width, or for another number of images.
        """
        features = self.encode_image(images, padding_mask)
        return self.decode(features, prompts, instances=instances, with_reports=with_reports, given=given)

    def encode_image(self, images: Tensor, padding_mask: Tensor | None = None) -> ImageFeatures:
        """The part that no prompt changes; see `decode`."""
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
        """Detect in pictures that are already encoded, with prompts that may already be projected.

        `choose` says which queries become instances, where not simply the best ones do; see `ObjectDecoder`.
        """
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

    def _given_reports(self, given: GivenQueries, scene: EncodedScene) -> tuple[LayerReport, ...]:
        kept = self.object_decoder.given(given, scene, self.heads)
        if not given.opened.shape[1]:
            return kept.reports
        return self.keypoint_decoder(kept, scene, self.heads, with_reports=True).reports

    def project(self, prompts: PromptEmbeddings) -> ProjectedPrompts:
        """Prompt embeddings in the network's own width."""
        if prompts.objects.shape[-1] != self.config.prompt_width:
            raise PromptError(
                f"The prompt embeddings have {prompts.objects.shape[-1]} numbers, this network takes "
                f"{self.config.prompt_width}. Make them with the network's own prompt encoder "
                f'("{self.config.prompt_encoder}").'
            )
        objects, keypoints = self.project_tokens(prompts.objects, prompts.keypoints)
        prompts = prompts.to(device=objects.device)
        return ProjectedPrompts(
            objects=objects,
            object_mask=None if bool(prompts.object_mask.all()) else prompts.object_mask,
            keypoints=keypoints,
            keypoint_mask=prompts.keypoint_mask,
            keypoint_set=prompts.keypoint_set,
        )

    def project_tokens(self, objects: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [..., D] of objects and of keypoints, on any device, in the network's own width [..., C]."""
        weight, scale = next(self.object_projection.parameters()), self.config.prompt_scale
        objects, keypoints = (x.to(weight.device, weight.dtype) * scale for x in (objects, keypoints))
        return self.object_projection(objects), self.keypoint_projection(keypoints)

    def embed_examples(self, pictures: Tensor, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Prompt embeddings of example pictures: objects [n, D] and keypoints [n, K, D]; see `VisualPrompts`.

        Raises:
            PromptError: this network takes examples through CLIP's image tower instead.
        """
        if self.visual_prompts is None:
            raise PromptError(
                f"{self.config.name} has no example encoder of its own. It takes examples through CLIP's image tower: "
                "use xpose.model.prompting.ClipVisualPromptEncoder."
            )
        return self.visual_prompts(self.backbone(pictures), points, visible)


def _projection(config: XPoseConfig) -> MLP:
    """From a prompt embedding to the network's width, started so that different prompts stay different.

    Linear layers start with a third of the variance that keeps a signal through ReLU. After three of them all prompts
    were nearly one point, and telling keypoints apart had to wait until training had undone that.
    """
    projection = MLP(config.prompt_width, config.dim, config.dim, 3)
    for number, layer in enumerate(projection.layers):
        assert isinstance(layer, nn.Linear)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if number == 2 else "relu")
        nn.init.zeros_(layer.bias)
    return projection


def predictions(groups: DecodedGroups, prompts: ProjectedPrompts | PromptEmbeddings) -> Predictions:
    """The last layer's report, one entry per image, cleared of padding."""
    report, real = groups.report, groups.keypoint_real
    logits = report.logits if groups.logits is None else groups.logits
    assert report.keypoints is not None
    assert report.keypoint_logits is not None
    assert report.object_cosine is not None
    assert report.keypoint_cosine is not None
    nothing = torch.full((), float("nan"), dtype=report.keypoints.dtype, device=report.keypoints.device)
    keypoints = torch.where(real[..., None], report.keypoints, nothing)
    confidence = torch.where(real, report.keypoint_logits.diagonal(dim1=-2, dim2=-1).sigmoid(), nothing)
    cosine = torch.where(real, report.keypoint_cosine, nothing)
    visibility = None if report.visibility is None else torch.where(real, report.visibility.sigmoid(), nothing)
    error = None if report.log_error is None else torch.where(real, report.log_error.exp(), nothing)
    mask = prompts.object_mask
    classes = [logits.shape[2]] * len(logits) if mask is None else mask.sum(1).tolist()
    points = prompts.keypoint_mask.sum(2).amax(1).tolist()
    return Predictions(
        logits=tuple(x[:, :count] for x, count in zip(logits, classes, strict=True)),
        boxes=tuple(report.boxes),
        keypoints=tuple(x[:, :count] for x, count in zip(keypoints, points, strict=True)),
        keypoint_confidence=tuple(x[:, :count] for x, count in zip(confidence, points, strict=True)),
        group_class=tuple(groups.group_class),
        object_cosine=tuple(x[:, :n] for x, n in zip(report.object_cosine, classes, strict=True)),
        keypoint_cosine=tuple(x[:, :n] for x, n in zip(cosine, points, strict=True)),
        visibility=None if visibility is None else tuple(x[:, :n] for x, n in zip(visibility, points, strict=True)),
        keypoint_error=None if error is None else tuple(x[:, :n] for x, n in zip(error, points, strict=True)),
        reports=groups.reports,
    )
