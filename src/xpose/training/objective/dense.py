"""What every image token should answer: several tokens per object, the ones that suit it best (one-to-many).

The query selection reads these answers. A detector learns to find things sooner from ten places per object than from
the single one of a one-to-one matching. Shape letters as in `xpose.model.types`, and M labelled objects per image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from xpose.geometry import box_iou, cxcywh_to_xyxy
from xpose.model.types import LayerReport
from xpose.training.objective import terms
from xpose.training.objective.targets import TargetBatch

TOKENS = 10  # per object, at most
_OVERLAP_POWER = 6.0  # how much more the overlap of a token's box decides than its score


@dataclass(frozen=True)
class TokenTargets:
    """What is wanted of every token."""

    objects: Tensor  # [B, N] the object that a token answers for, −1 for none
    wanted: Tensor  # [B, N] the score it should give that object's class
    inside: Tensor  # [B, N, M] bool, the token's centre is in the object's box; for ignored objects too


@torch.no_grad()
def assign_tokens(report: LayerReport, centres: Tensor, targets: TargetBatch) -> TokenTargets:
    """Choose the tokens of every object by score and overlap, among those in its box.

    Args:
        report: logits [B, N, L] and boxes [B, N, 4] of all tokens.
        centres: [B or 1, N, 2], x and y of each token in the picture; outside of it for tokens that are not used.
        targets: the labels.
    """
    dtype = targets.boxes.dtype
    true = cxcywh_to_xyxy(targets.boxes)[:, None]  # [B, 1, M, 4]
    spot = centres[:, :, None]
    inside = ((spot > true[..., :2]) & (spot < true[..., 2:])).all(-1) & targets.present[:, None]
    distance = (spot - targets.boxes[:, None, :, :2]).abs().amax(-1)
    near = inside | (distance <= distance.amin(1, keepdim=True))  # a tiny object has its nearest token at least
    near = near & (targets.present & ~targets.ignored)[:, None]
    overlap = box_iou(cxcywh_to_xyxy(report.boxes.to(dtype))[:, :, None], true)  # [B, N, M]
    column = targets.classes[:, None].expand(-1, overlap.shape[1], -1)
    score = report.logits.to(dtype).sigmoid().gather(2, column)
    suits = (score * overlap**_OVERLAP_POWER + 1e-12) * near
    count = min(TOKENS, suits.shape[1])
    best = suits.topk(count, dim=1)
    chosen = torch.zeros_like(near).scatter_(1, best.indices, best.values > 0)
    # A token that several objects want goes to the one that its box overlaps most.
    claimed = torch.where(chosen, overlap + 1e-6, torch.zeros_like(overlap))
    most, objects = claimed.max(-1)
    owned = F.one_hot(objects, claimed.shape[2]).bool() & chosen
    suits, overlap = suits * owned, overlap * owned
    # The best token of an object should score as its box overlaps; the others less, as they suit it less.
    scaled = suits / suits.amax(1, keepdim=True).clamp(min=1e-20) * overlap.amax(1, keepdim=True)
    return TokenTargets(torch.where(most > 0, objects, -1), scaled.amax(-1), inside)


def dense_terms(
    report: LayerReport, centres: Tensor, targets: TargetBatch, object_mask: Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Sums of the class and the box term over all tokens, and the sum of wanted scores that they are divided by."""
    dtype = targets.boxes.dtype
    logits = report.logits.to(dtype)
    target, positive = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
    box = total = logits.new_zeros(())
    inside = positive[..., :0]
    if targets.boxes.shape[1]:
        tokens = assign_tokens(report, centres, targets)
        inside = tokens.inside
        images, rows = (tokens.objects >= 0).nonzero(as_tuple=True)
        objects, share = tokens.objects[images, rows], tokens.wanted[images, rows]
        target[images, rows, targets.classes[images, objects]] = share
        positive[images, rows, targets.classes[images, objects]] = True
        boxes, true = report.boxes[images, rows].to(dtype), targets.boxes[images, objects]
        box, total = ((terms.giou(boxes, true) + terms.box_l1(boxes, true)) * share).sum(), share.sum()
    judged = targets.judged(positive, object_mask, inside, inside & ~targets.ignored[:, None])
    logits = logits.masked_fill(~judged, 0)
    # Cross-entropy with a target score, less where the answer is right already.
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (logits.sigmoid() - target).square() * entropy * judged
    return {"dense_class": loss.sum(), "dense_box": box}, total
