"""The keypoint decoder: every instance and its keypoints refine each other; instances never meet.

Shape letters: see `types.py`; M = 1 + K, a group: one box query and its keypoint queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.decoder import DecoderHeads, DecoderLayer
from xpose.model.layers import Linear
from xpose.model.pose_map import PoseMap
from xpose.model.types import EncodedScene, Instances, LayerReport, PoseMaps

_LOG_ERROR = 2.3  # a tenth of the box's longer side is what is expected at the start


@dataclass(frozen=True)
class DecodedGroups:
    """All instances after keypoint decoding; places beyond an instance's own keypoints are not yet cleared."""

    report: LayerReport  # the last layer's
    keypoint_real: Tensor  # [B, G, K] bool
    group_class: Tensor  # [B, G]
    reports: tuple[LayerReport, ...]
    logits: Tensor | None = None  # [B, G, L], where not the last layer is to judge objects
    maps: PoseMaps | None = None


class SizePrior(nn.Module):
    """How large a keypoint's neighbourhood starts, as a share of the instance's box (before the sigmoid).

    The released checkpoint has a table by *position in the keypoint list*; positions beyond it take the table's mean.
    Our own presets ask the keypoint's prompt token, so that the order of the list does not matter.
    """

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.table: nn.Parameter | None = None
        self.head: Linear | None = None
        if config.size_prior == "table":
            self.table = nn.Parameter(torch.zeros(68, 2))
        else:
            self.head = Linear(config.dim, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., K, C] keypoint tokens to [..., K, 2] logits of the relative size."""
        if self.head is not None:
            return self.head(tokens)
        assert self.table is not None
        count, known = tokens.shape[-2], self.table.shape[0]
        table: Tensor = self.table
        if count > known:
            table = torch.cat((table, table.mean(0, keepdim=True).expand(count - known, -1)))
        return table[:count].expand(*tokens.shape[:-1], 2)


class KeypointDecoder(nn.Module):
    """Opens a group per instance and decodes it."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.size_prior = SizePrior(config)
        self.pose_map = PoseMap(config) if config.pose_map else None
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.keypoint_layers))

    def forward(
        self, instances: Instances, scene: EncodedScene, heads: DecoderHeads, *, with_reports: bool = False
    ) -> DecodedGroups:
        """Decode the groups; `with_reports` also returns what every layer would report by itself."""
        tokens, real = self._keypoint_tokens(instances, scene)
        batch, count, points, dim = tokens.shape
        starts, content, maps = instances.points, tokens, None
        if self.pose_map is not None and points:
            centres, seen, maps = self.pose_map(instances, tokens, scene)
            starts = centres if starts is None else torch.where(starts.isnan(), centres, starts)
            content = tokens + seen
        boxes = self._first_boxes(instances, tokens, heads, starts)
        content = torch.cat((instances.content[:, :, None], content), dim=2).view(batch, count * (points + 1), dim)
        mask = None
        if not bool(real.all()):
            mask = torch.cat((real.new_ones(batch, count, 1), real), dim=2).view(-1, 1, 1, points + 1)
        reports: list[LayerReport] = []
        for number, layer in enumerate(self.layers):
            seen = _settled(boxes)
            position = heads.position(seen.flatten(1, 2), scene)
            content = layer(content, position, seen.flatten(1, 2), scene, group=points + 1, mask=mask)
            groups = content.view(batch, count, points + 1, dim)
            last = number == len(self.layers) - 1
            if last or with_reports:
                reports.append(self._report(groups, boxes, tokens, scene, heads))
            if not last:
                refined = heads.refine_boxes(groups[:, :, :1], seen[:, :, :1])
                points_now = heads.refine_points(groups[:, :, 1:], seen[:, :, 1:], seen[:, :, :1, 2:])
                boxes = torch.cat((refined, points_now), dim=2)
        every = (*instances.reports, *reports)
        return DecodedGroups(reports[-1], real, instances.group_class, every, instances.logits, maps)

    def _keypoint_tokens(self, instances: Instances, scene: EncodedScene) -> tuple[Tensor, Tensor]:
        """The keypoint tokens of each instance's own class: [B, G, K, C], and which are real [B, G, K]."""
        prompts = scene.prompts
        which = prompts.keypoint_set.gather(1, instances.group_class)  # [B, G]
        image = torch.arange(which.shape[0], device=which.device)[:, None]
        return prompts.keypoints[image, which], prompts.keypoint_mask[image, which]

    def _first_boxes(self, instances: Instances, tokens: Tensor, heads: DecoderHeads, starts: Tensor | None) -> Tensor:
        """[B, G, M, 4]: the instance's box, then a small box per keypoint."""
        box = instances.boxes[:, :, None]
        if self.pose_map is not None and starts is not None:
            centres = starts
        else:
            centres = heads.points(tokens, box, box[..., 2:])
            if starts is not None:
                centres = torch.where(starts.isnan(), centres, starts)
        sizes = box[..., 2:] * self.size_prior(tokens).sigmoid()
        return torch.cat((box, torch.cat((centres, sizes), dim=-1)), dim=2)

    def _report(
        self, groups: Tensor, boxes: Tensor, tokens: Tensor, scene: EncodedScene, heads: DecoderHeads
    ) -> LayerReport:
        normed = heads.norm(groups)
        box_query, point_queries = normed[:, :, 0], normed[:, :, 1:]
        products = point_queries @ tokens.transpose(2, 3)
        return LayerReport(
            logits=heads.similarity(box_query, scene.objects, scene.prompts.object_mask),
            boxes=heads.refine_boxes(box_query, boxes[:, :, 0]),
            keypoints=heads.points(point_queries, boxes[:, :, 1:], boxes[:, :, :1, 2:].detach()),
            keypoint_logits=heads.keypoint_similarity.calibrate(products),
            visibility=None if heads.visibility is None else heads.visibility(point_queries)[..., 0],
            log_error=None if heads.error is None else heads.error(point_queries)[..., 0] - _LOG_ERROR,
            object_cosine=F.normalize(box_query, dim=-1) @ F.normalize(scene.objects, dim=-1).transpose(1, 2),
            keypoint_cosine=F.cosine_similarity(point_queries, tokens, dim=-1),
        )


def _settled(boxes: Tensor) -> Tensor:
    """The boxes [B, G, M, 4] that a layer looks around: what earlier layers answer for is a constant to it.

    The sizes of the keypoints are no part of any report; they learn only by what the layers see with them.
    """
    points = boxes[:, :, 1:]
    return torch.cat((boxes[:, :, :1].detach(), torch.cat((points[..., :2].detach(), points[..., 2:]), -1)), dim=2)
