"""The keypoint decoder: every instance and its keypoints refine each other, separately from other instances.

Shape letters: see `types.py`; M = 1 + K, size of a group: a box query and its keypoint queries. In `PoseMap`, R = cells
per side, W = channels of the map.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.decoder import DecoderHeads, DecoderLayer
from xpose.model.deformable import sample_gather
from xpose.model.layers import Linear, Recomputable
from xpose.model.types import EncodedScene, Instances, LayerReport, PoseMaps

_MARGIN = 1.3  # side of the frame relative to the box: points can be slightly outside
_LEVELS = 2  # the finest levels are used
_BLOCKS = 2
_LOG_ERROR = 2.3  # the initial expected error is a tenth of the box's longer side


class SizePrior(nn.Module):
    """The first size of a keypoint's neighbourhood, as a share of the instance's box (before the sigmoid).

    The released checkpoint has a table by *position in the keypoint list*; positions beyond it get the table's mean.
    Our own presets predict it from the keypoint's prompt token, so that the order of the list does not matter.
    """

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        by_table = config.size_prior == "table"
        self.table = nn.Parameter(torch.zeros(68, 2)) if by_table else None
        self.head = None if by_table else Linear(config.dim, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., K, C] keypoint tokens to [..., K, 2] logits of the relative size."""
        if self.head is not None:
            return self.head(tokens)
        assert self.table is not None
        table: Tensor = self.table
        beyond = tokens.shape[-2] - len(table)
        if beyond > 0:
            table = torch.cat((table, table.mean(0, keepdim=True).expand(beyond, -1)))
        return table[: tokens.shape[-2]].expand(*tokens.shape[:-1], 2)


class MapBlock(Recomputable):
    """Filters neighbouring cells channel by channel, then mixes the channels (residual)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, 5, 1, 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = Linear(width, 2 * width)
        self.contract = Linear(2 * width, width)

    def forward(self, cells: Tensor) -> Tensor:
        """[n, R, R, W] to the same shape."""
        seen = self.around(cells.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return cells + self.contract(F.relu(self.expand(self.norm(seen))))


class PoseMap(nn.Module):
    """A map over each instance's box that scores every cell as the location of each keypoint.

    Every keypoint's prompt token is compared with the image features in the cells of a frame around the box. The
    keypoint queries start at the weighted mean of the cells.
    """

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        dim, width = config.dim, config.pose_map_width
        self.cells = config.pose_map
        self.graph_kernel = "grid"  # as in `DeformableAttention`
        self.values = nn.ModuleList(Linear(dim, width) for _ in range(_LEVELS))
        self.place = nn.Parameter(torch.randn(self.cells, self.cells, width) * 0.02)
        self.instance = Linear(dim, width)
        self.blocks = nn.ModuleList(MapBlock(width) for _ in range(_BLOCKS))
        self.norm = nn.LayerNorm(width)
        self.keypoint = Linear(dim, width)
        self.seen = Linear(width, dim)
        nn.init.zeros_(self.seen.weight)
        nn.init.zeros_(self.seen.bias)

    def forward(self, instances: Instances, tokens: Tensor, scene: EncodedScene) -> tuple[Tensor, Tensor, PoseMaps]:
        """Initial positions [B, G, K, 2], the features there [B, G, K, C], and the maps.

        `tokens` [B, G, K, C] are the prompt tokens of each instance's keypoints.
        """
        boxes = instances.boxes.detach()
        frames = torch.cat((boxes[..., :2], (boxes[..., 2:] * _MARGIN).clamp(min=1e-3)), dim=-1)
        steps = (torch.arange(self.cells, device=boxes.device, dtype=boxes.dtype) + 0.5) / self.cells - 0.5
        offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).flatten(0, 1)  # [R · R, 2]
        places = frames[:, :, None, :2] + offsets * frames[:, :, None, 2:]  # [B, G, R · R, 2]
        cells = self._sampled(places, scene)  # [B, G, R · R, W]
        batch, count = cells.shape[:2]
        cells = cells.reshape(batch * count, self.cells, self.cells, -1) + self.place
        cells = cells + self.instance(instances.content).view(batch * count, 1, 1, -1)
        for block in self.blocks:
            cells = block(cells)
        cells = self.norm(cells).view(batch, count, self.cells**2, -1)
        logits = (self.keypoint(tokens) @ cells.transpose(2, 3)).float() * cells.shape[-1] ** -0.5
        shares = logits.softmax(-1)
        centres = frames[:, :, None, :2] + (shares @ offsets.to(shares.dtype)) * frames[:, :, None, 2:]
        return centres, self.seen(shares.to(cells.dtype) @ cells), PoseMaps(logits, frames)

    def _sampled(self, places: Tensor, scene: EncodedScene) -> Tensor:
        """Features of the levels at places [B, G, R · R, 2]: [B, G, R · R, W]."""
        shapes = scene.geometry.shapes
        levels = scene.tokens.split([h * w for h, w in shapes], dim=1)
        sampled = []
        for number, value in enumerate(self.values):
            plane = value(levels[number]).transpose(1, 2).unflatten(2, shapes[number])
            ratio = scene.geometry.valid_ratios[:, number, None, None]
            sampled.append(self._bilinear(plane, (places * ratio).to(plane.dtype)))
        return torch.stack(sampled).sum(0).permute(0, 2, 3, 1)

    def _bilinear(self, plane: Tensor, places: Tensor) -> Tensor:
        """Values of a plane [B, W, h, w] at places [B, G, R · R, 2] in [0, 1] of it: [B, W, G, R · R]."""
        if self.graph_kernel != "gather" or not torch.compiler.is_compiling():
            return F.grid_sample(plane, places * 2 - 1, align_corners=False)
        rows, columns = plane.shape[2:]
        pixels = torch.stack((places[..., 0] * columns - 0.5, places[..., 1] * rows - 0.5), dim=-1)
        sampled = sample_gather(
            plane.flatten(2).transpose(1, 2)[:, :, None],
            ((rows, columns),),
            pixels.flatten(1, 2)[:, :, None, None, None],
            pixels.new_ones(1).expand(*pixels.flatten(1, 2).shape[:2], 1, 1, 1),
        )
        return sampled.transpose(1, 2).unflatten(2, pixels.shape[1:3])


class KeypointDecoder(nn.Module):
    """Opens a group per instance and decodes it."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.size_prior = SizePrior(config)
        self.pose_map = PoseMap(config) if config.pose_map else None
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.keypoint_layers))

    def forward(
        self, instances: Instances, scene: EncodedScene, heads: DecoderHeads, *, with_reports: bool = False
    ) -> Instances:
        """The instances with the last layer's report, or with those of every layer; padding is not cleared yet."""
        tokens, real = self._keypoint_tokens(instances, scene)
        batch, count, points, dim = tokens.shape
        centres, content, maps = None, tokens, None
        if self.pose_map is not None and points:
            centres, seen, maps = self.pose_map(instances, tokens, scene)
            content = tokens + seen
        boxes = self._first_boxes(instances, tokens, heads, centres)
        content = torch.cat((instances.content[:, :, None], content), dim=2).view(batch, count * (points + 1), dim)
        mask = None
        # A mask that hides nothing costs little; on other devices, the question would have to wait for the answer.
        if torch.compiler.is_compiling() or real.device.type != "cpu" or not bool(real.all()):
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
        return replace(instances, reports=(*instances.reports, *reports), keypoint_mask=real, maps=maps)

    def _keypoint_tokens(self, instances: Instances, scene: EncodedScene) -> tuple[Tensor, Tensor]:
        """The keypoint tokens of each instance's own class: [B, G, K, C], and which are real [B, G, K]."""
        prompts = scene.prompts
        which = prompts.keypoint_set.gather(1, instances.group_class)  # [B, G]
        image = torch.arange(which.shape[0], device=which.device)[:, None]
        return prompts.keypoints[image, which], prompts.keypoint_mask[image, which]

    def _first_boxes(self, instances: Instances, tokens: Tensor, heads: DecoderHeads, centres: Tensor | None) -> Tensor:
        """[B, G, M, 4]: the instance's box, then a small box per keypoint."""
        box = instances.boxes[:, :, None]
        if centres is None:
            centres = heads.points(tokens, box, box[..., 2:])
        starts = centres if instances.points is None else instances.points.where(~instances.points.isnan(), centres)
        sizes = box[..., 2:] * self.size_prior(tokens).sigmoid()
        return torch.cat((box, torch.cat((starts, sizes), dim=-1)), dim=2)

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
    """The boxes [B, G, M, 4] that a layer attends around, detached from what earlier layers report.

    No report contains keypoint sizes, so these learn only through the layers' attention.
    """
    points = boxes[:, :, 1:]
    return torch.cat((boxes[:, :, :1].detach(), torch.cat((points[..., :2].detach(), points[..., 2:]), -1)), dim=2)
