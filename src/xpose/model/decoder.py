"""The decoder layer that object and keypoint decoding share, and the heads that all layers share.

Shape letters: see `types.py`; T = queries of any kind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xpose.model.config import XPoseConfig
from xpose.model.deformable import DeformableAttention
from xpose.model.layers import MLP, Attention, FeedForward, Linear, Recomputable, logit
from xpose.model.positions import box_code
from xpose.model.scoring import Similarity
from xpose.model.types import EncodedScene


class DecoderLayer(Recomputable):
    """Self-attention, a look at the object tokens, a look at the image around a box, feed-forward (all post-norm)."""

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
        """One round.

        Args:
            content: [B, T, C].
            position: [B, T, C], the code of each query's box.
            boxes: [B, T, 4], the reference of the deformable attention.
            scene: what the queries look at.
            group: queries attend only within consecutive runs of this many; None = all to all.
            mask: bool [B · T / group, 1, 1, group], True = may be attended to, where groups have empty places.
        """
        content = self.norm_self(content + self._among_themselves(content, position, group, mask))
        placed = content + position
        keep = scene.prompts.object_mask
        seen = self.prompt_attention(
            placed, scene.objects, scene.objects, None if keep is None else keep[:, None, None]
        )
        content = self.norm_prompt(content + seen)
        reference = boxes[:, :, None] * _box_ratios(scene)[:, None]
        seen = self.image_attention(content + position, reference, scene.tokens, scene.geometry)
        content = self.norm_image(content + seen)
        return self.norm_ffn(content + self.ffn(content))

    def _among_themselves(self, content: Tensor, position: Tensor, group: int | None, mask: Tensor | None) -> Tensor:
        if group is None:
            placed = content + position
            return self.self_attention(placed, placed, content, mask)
        batch, count, dim = content.shape
        folded = content.reshape(batch * count // group, group, dim)
        placed = folded + position.reshape(folded.shape)
        return self.self_attention(placed, placed, folded, mask).view(batch, count, dim)


def _box_ratios(scene: EncodedScene) -> Tensor:
    """Valid ratios for centre and size: [B, R, 4]."""
    return scene.geometry.valid_ratios.repeat(1, 1, 2)


class DecoderHeads(nn.Module):
    """What all decoder layers share: the code of a query's place, the norm before a report, and the heads."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        dim = config.dim
        self.place = MLP(2 * 256, dim, dim, 2)
        self.norm = nn.LayerNorm(dim)
        self.box = _zero_last(MLP(dim, dim, 4, 3))
        self.point = _zero_last(MLP(dim, dim, 2, 3))
        self.size = _zero_last(MLP(dim, dim, 2, 3))
        self.similarity = Similarity(config)
        self.keypoint_similarity = Similarity(config)
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
        """Places [..., 2] that `content` finds from the centres of `boxes`.

        Args:
            content: [..., C], of keypoint queries or tokens.
            boxes: [..., 2 or 4]; the places start from their centres.
            object_sides: [..., 2], width and height of the box of the object that the points belong to.

        A step measured by the object's box means the same for a near object as for a far one, so that one prior per
        prompt fits both. Such places may lie outside of the picture, as those of objects that it cuts off do.
        """
        if self.steps_of_box:
            return boxes[..., :2] + self.point(content) * object_sides
        return (logit(boxes[..., :2]) + self.point(content)).sigmoid()


def _zero_last(head: MLP) -> MLP:
    """Start as no correction at all."""
    nn.init.zeros_(head.layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(head.layers[-1].bias)  # type: ignore[arg-type]
    return head
