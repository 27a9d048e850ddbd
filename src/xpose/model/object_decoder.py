"""The object decoder: queries become instances, and the best of them open keypoint groups.

Shape letters: see `types.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from xpose.model.config import XPoseConfig
from xpose.model.decoder import DecoderHeads, DecoderLayer
from xpose.model.selection import rows_at
from xpose.model.types import EncodedScene, GivenQueries, Instances, LayerReport, ObjectQueries

# Given the report of the last object layer: the numbers of the queries to keep [B, G], and the class of each [B, G].
Choose = Callable[[LayerReport], tuple[Tensor, Tensor]]


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
            instances: how many to keep; the configuration's number where None.
            kept: [B, G] query numbers to keep instead of the best ones, in order.
            choose: chooses them from the last layer's report instead; only together with reports.
            with_reports: also return what every layer would report by itself.
        """
        content, boxes, reports = self._refine(queries.content, queries.boxes, scene, heads, with_reports)
        judged = heads.norm(content) if self.scores else content
        scores = heads.similarity(judged, scene.objects, scene.prompts.object_mask)
        answering = scene.prompts.answering(scores)
        classes = None
        if choose is not None:
            kept, classes = choose(reports[-1])
        if kept is None:
            kept = answering.amax(-1).topk(min(instances or self.instances, scores.shape[1]), dim=1).indices
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
        keep = real | ~real.any(-1, keepdim=True)  # attention needs a key, in an empty run too
        start = rows_at(scene.prompts.objects, given.classes)
        mask = keep.view(-1, 1, 1, given.run)
        content, boxes, reports = self._refine(start, given.boxes, scene, heads, True, given.run, mask)
        opened = given.opened
        return Instances(
            rows_at(content, opened), rows_at(boxes, opened), given.group_class, opened, reports, points=given.points
        )

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
        """All layers: raw content and refined boxes after the last one, and what each layer would report."""
        reports = []
        for layer in self.layers:
            # A layer's loss must not move earlier boxes by way of the places that this layer looks at.
            seen = boxes.detach()
            content = layer(content, heads.position(seen, scene), seen, scene, group=run, mask=mask)
            if with_reports:
                normed = heads.norm(content)
                logits = heads.similarity(normed, scene.objects, scene.prompts.object_mask)
                reports.append(LayerReport(logits, heads.refine_boxes(normed, boxes)))
            boxes = heads.refine_boxes(content, seen)
        return content, boxes, tuple(reports)
