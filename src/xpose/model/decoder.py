"""The object decoder, whose best queries open keypoint groups, with the layer and the heads that both decoders share.

Shape letters: see `types.py`; T = queries of any kind.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xpose.model.config import XPoseConfig
from xpose.model.deformable import DeformableAttention
from xpose.model.layers import MLP, Attention, FeedForward, Linear, PromptSimilarity, Recomputable, logit
from xpose.model.positions import box_code
from xpose.model.selection import rows_at
from xpose.model.types import EncodedScene, GivenQueries, Instances, LayerReport, ObjectQueries

# Maps the report of the last object layer to the indices of the queries to keep [B, G] and their classes [B, G].
Choose = Callable[[LayerReport], tuple[Tensor, Tensor]]


class DecoderLayer(Recomputable):
    """Self-attention, attention to object tokens and to the image around a box, feed-forward (all post-norm)."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        dim = config.dim
        self.self_attention = Attention(dim, config.heads)
        self.norm_self = nn.LayerNorm(dim)
        self.prompt_attention = Attention(dim, config.heads, sink=config.sinks)
        self.norm_prompt = nn.LayerNorm(dim)
        self.image_attention = DeformableAttention(dim, config.heads, config.levels, config.points)
        self.norm_image = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, config.ffn)
        self.norm_ffn = nn.LayerNorm(dim)

    def forward(
        self,
        content: Tensor,
        position: Tensor,
        boxes: Tensor,
        scene: EncodedScene,
        group: int | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Queries [B, T, C] after the layer; `position` [B, T, C] is the code of `boxes` [B, T, 4].

        Queries attend only within consecutive runs of `group`, if given; `mask` [B · T / group, 1, 1, group] is False
        for empty places.
        """
        folded = content if group is None else content.reshape(-1, group, content.shape[2])
        placed = folded + position.reshape(folded.shape)
        seen = self.self_attention(placed, placed, folded, mask)
        content = self.norm_self(content + seen.view(content.shape))
        placed = content + position
        keep = scene.prompts.object_mask
        mask = None if keep is None else keep[:, None, None]
        seen = self.prompt_attention(placed, scene.objects, scene.objects, mask)
        content = self.norm_prompt(content + seen)
        reference = boxes[:, :, None] * _box_ratios(scene)[:, None]
        seen = self.image_attention(content + position, reference, scene.tokens, scene.geometry)
        content = self.norm_image(content + seen)
        return self.norm_ffn(content + self.ffn(content))


def _box_ratios(scene: EncodedScene) -> Tensor:
    """Valid ratios for centre and size: [B, R, 4]."""
    return scene.geometry.valid_ratios.repeat(1, 1, 2)


class DecoderHeads(nn.Module):
    """What all decoder layers share: a query's position code, the norm before a report, and the heads."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        dim = config.dim
        self.place = MLP(2 * 256, dim, dim, 2)
        self.norm = nn.LayerNorm(dim)
        self.box = _zero_last(MLP(dim, dim, 4, 3))
        self.point = _zero_last(MLP(dim, dim, 2, 3))
        self.size = _zero_last(MLP(dim, dim, 2, 3))
        self.similarity = PromptSimilarity(config)
        self.keypoint_similarity = PromptSimilarity(config)
        self.visibility = Linear(dim, 1) if config.visibility_head else None
        self.error = Linear(dim, 1) if config.point_error else None
        self.steps_of_box = config.point_steps == "box"

    def position(self, boxes: Tensor, scene: EncodedScene) -> Tensor:
        """The code [B, T, C] of boxes [B, T, 4], seen on the finest level."""
        return self.place(box_code(boxes * _box_ratios(scene)[:, None, 0]))

    def refine_boxes(self, content: Tensor, boxes: Tensor) -> Tensor:
        """Boxes moved by the box head of `content`, in logit space."""
        return (logit(boxes) + self.box(content)).sigmoid()

    def refine_points(self, content: Tensor, boxes: Tensor, object_sides: Tensor) -> Tensor:
        """Keypoint boxes moved by the point and the size head of `content`; sizes in logit space."""
        sides = (logit(boxes[..., 2:]) + self.size(content)).sigmoid()
        return torch.cat((self.points(content, boxes, object_sides), sides), dim=-1)

    def points(self, content: Tensor, boxes: Tensor, object_sides: Tensor) -> Tensor:
        """Centres of `boxes` [..., 2 or 4] moved by the point head of `content` [..., C]: [..., 2].

        A step measured in the sides of the object's box, `object_sides` [..., 2], means the same for near and far
        objects. Such points can be outside the picture, like those of truncated objects.
        """
        if self.steps_of_box:
            return boxes[..., :2] + self.point(content) * object_sides
        return (logit(boxes[..., :2]) + self.point(content)).sigmoid()


def _zero_last(head: MLP) -> MLP:
    """The head, initialised to output 0."""
    nn.init.zeros_(head.layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(head.layers[-1].bias)  # type: ignore[arg-type]
    return head


class ObjectDecoder(nn.Module):
    """Refines the boxes of all queries, then keeps the best G, best first."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.instances, self.scores = config.instances, config.score == "objects"
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.object_layers))

    def forward(
        self,
        queries: ObjectQueries,
        scene: EncodedScene,
        heads: DecoderHeads,
        *,
        instances: int | None = None,
        kept: Tensor | None = None,
        choose: Choose | None = None,
        with_reports: bool = False,
    ) -> Instances:
        """The instances whose keypoints are decoded.

        Args:
            queries: from the query selection.
            scene: the encoded picture and prompt.
            heads: shared with the keypoint decoder.
            instances: how many to keep; the configuration's number if None.
            kept: [B, G] query numbers to keep instead of the best ones, in order.
            choose: selects them from the last layer's report instead; requires `with_reports`.
            with_reports: also return every layer's own report.
        """
        content, boxes, reports = self._refine(queries.content, queries.boxes, scene, heads, with_reports)
        judged = heads.norm(content) if self.scores else content
        scores = heads.similarity(judged, scene.objects, scene.prompts.object_mask)
        answering = scene.prompts.answering(scores)
        classes = None
        if choose is not None:
            kept, classes = choose(reports[-1])
        if kept is None:
            count = instances or self.instances
            if not torch.compiler.is_compiling():
                count = min(count, scores.shape[1])
            kept = answering.amax(-1).topk(count, dim=1).indices
        logits = rows_at(scores, kept)
        return Instances(
            rows_at(content, kept),
            rows_at(boxes, kept),
            rows_at(answering, kept).argmax(-1) if classes is None else classes,
            kept,
            reports,
            logits=logits if self.scores else None,
        )

    def given(self, given: GivenQueries, scene: EncodedScene, heads: DecoderHeads) -> Instances:
        """The instances that given queries open, with the report of every layer; runs do not see each other."""
        real = given.real.view(len(given.real), -1, given.run)
        keep = real | ~real.any(-1, keepdim=True)  # attention needs a key, even in an empty run
        start = rows_at(scene.prompts.objects, given.classes)
        mask = keep.view(-1, 1, 1, given.run)
        content, boxes, reports = self._refine(start, given.boxes, scene, heads, True, given.run, mask)
        opened = given.opened
        return Instances(
            rows_at(content, opened), rows_at(boxes, opened), given.group_class, opened, reports, points=given.points
        )

    def known(
        self, content: Tensor, boxes: Tensor, classes: Tensor, scene: EncodedScene, heads: DecoderHeads
    ) -> Instances:
        """The instances of known boxes [B, G, 4] and classes [B, G], with queries that start as `content` [B, G, C].

        The boxes do not move, and the queries do not see each other.
        """
        content, _, _ = self._refine(content, boxes, scene, heads, False, run=1)
        logits = heads.similarity(heads.norm(content), scene.objects, scene.prompts.object_mask)
        numbers = torch.arange(boxes.shape[1], device=boxes.device).expand(boxes.shape[0], -1)
        return Instances(content, boxes, classes, numbers, logits=logits if self.scores else None)

    def _refine(
        self,
        content: Tensor,
        boxes: Tensor,
        scene: EncodedScene,
        heads: DecoderHeads,
        with_reports: bool,
        run: int | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, tuple[LayerReport, ...]]:
        """Run all layers: raw content and refined boxes after the last one, and each layer's report."""
        reports = []
        for layer in self.layers:
            # A layer's loss must not move earlier boxes through the places that this layer attends to.
            seen = boxes.detach()
            content = layer(content, heads.position(seen, scene), seen, scene, group=run, mask=mask)
            if with_reports:
                normed = heads.norm(content)
                logits = heads.similarity(normed, scene.objects, scene.prompts.object_mask)
                reports.append(LayerReport(logits, heads.refine_boxes(normed, boxes)))
            boxes = heads.refine_boxes(content, seen)
        return content, boxes, tuple(reports)
