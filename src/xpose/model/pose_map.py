"""A map over each instance's box that says, cell by cell, where its keypoints seem to be.

Every keypoint's prompt token is compared with what the picture shows in the cells of a frame around the box. The
weighted mean of the cells is where the keypoint queries start. Shape letters: see `types.py`; R = cells per side,
W = channels of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.layers import Linear, Recomputable
from xpose.model.types import EncodedScene, Instances, PoseMaps

MARGIN = 1.3  # side of the frame in sides of the box: points may lie a little outside
_LEVELS = 2  # the finest ones are looked at
_BLOCKS = 2


class MapBlock(Recomputable):
    """Cells look at their neighbours, channel by channel, then mix their channels (residual)."""

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
    """Where the keypoints of every instance start, and what the picture shows there."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        dim, width = config.dim, config.pose_map_width
        self.cells = config.pose_map
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
        """Starting places [B, G, K, 2], what is seen there [B, G, K, C], and the maps.

        Args:
            instances: the boxes and what is known of each instance.
            tokens: [B, G, K, C], the prompt tokens of each instance's keypoints.
            scene: the encoded picture.
        """
        boxes = instances.boxes.detach()
        frames = torch.cat((boxes[..., :2], (boxes[..., 2:] * MARGIN).clamp(min=1e-3)), dim=-1)
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
        shapes = scene.geometry.shapes[:_LEVELS]
        sizes = [h * w for h, w in scene.geometry.shapes]
        levels = scene.tokens.split(sizes, dim=1)[:_LEVELS]
        total = None
        for number, (rows, shape, value) in enumerate(zip(levels, shapes, self.values, strict=True)):
            plane = value(rows).transpose(1, 2).unflatten(2, shape)
            ratio = scene.geometry.valid_ratios[:, number, None, None]
            sampled = F.grid_sample(plane, (places * ratio * 2 - 1).to(plane.dtype), align_corners=False)
            total = sampled if total is None else total + sampled
        assert total is not None
        return total.permute(0, 2, 3, 1)
