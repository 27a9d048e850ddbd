"""What every image token should answer: several tokens per object, the ones that suit it best (one-to-many).

The query selection reads these answers. A detector learns to find things from nine or ten places per object sooner than
from the one that a one-to-one matching gives it.
Shape letters as in `xpose.model.types`, and M labelled objects per image.
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
    inside: Tensor  # [B, N, M] bool, the token's centre lies in the object's box, ignored ones too


@torch.no_grad()
def assign_tokens(report: LayerReport, centres: Tensor, targets: TargetBatch) -> TokenTargets:
    """Choose the tokens of every object by score and overlap, among those in its box.

    Args:
        report: logits [B, N, L] and boxes [B, N, 4] of all tokens.
        centres: [B or 1, N, 2], x and y of each token in the picture; outside of it for tokens that are not used.
        targets: of the batch.
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
    kept = F.one_hot(objects, claimed.shape[2]).bool() & chosen
    suits, overlap = suits * kept, overlap * kept
    # The best token of an object should score as its box overlaps; the others less, as they suit it less.
    scaled = suits / suits.amax(1, keepdim=True).clamp(min=1e-20) * overlap.amax(1, keepdim=True)
    return TokenTargets(torch.where(most > 0, objects, -1), scaled.amax(-1), inside)


def dense_terms(
    report: LayerReport, centres: Tensor, targets: TargetBatch, object_mask: Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Sums of the class and the box term over all tokens, and the sum of wanted scores that they are divided by."""
    dtype = targets.boxes.dtype
    logits = report.logits.to(dtype)
    if targets.boxes.shape[1] == 0:
        wanted = torch.zeros_like(logits)
        counted = _counted(logits, None, targets, object_mask, wanted > 0)
        zero = logits.new_zeros(())
        return {"dense_class": (_quality_focal(logits, wanted) * counted).sum(), "dense_box": zero}, zero
    found = assign_tokens(report, centres, targets)
    images, tokens = (found.objects >= 0).nonzero(as_tuple=True)
    objects = found.objects[images, tokens]
    share = found.wanted[images, tokens]
    wanted = torch.zeros_like(logits)
    wanted[images, tokens, targets.classes[images, objects]] = share
    positive = torch.zeros_like(logits, dtype=torch.bool)
    positive[images, tokens, targets.classes[images, objects]] = True
    counted = _counted(logits, found.inside, targets, object_mask, positive)
    boxes, true = report.boxes[images, tokens].to(dtype), targets.boxes[images, objects]
    box = ((terms.giou(boxes, true) + terms.box_l1(boxes, true)) * share).sum()
    loss = (_quality_focal(logits.masked_fill(~counted, 0), wanted) * counted).sum()
    return {"dense_class": loss, "dense_box": box}, share.sum()


def _quality_focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy with a wanted score, less where the answer is right already: [B, N, L]."""
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (logits.sigmoid() - wanted).square() * entropy


def _counted(
    logits: Tensor, inside: Tensor | None, targets: TargetBatch, object_mask: Tensor | None, positive: Tensor
) -> Tensor:
    """Which answers are judged: [B, N, L] bool. Ignored regions are not, nor what a set may have left unlabelled."""
    counts = torch.ones_like(positive) if object_mask is None else object_mask[:, None].expand_as(positive)
    if inside is not None and targets.has_ignored:
        of_class = F.one_hot(targets.classes, logits.shape[2]).to(logits.dtype)
        ignored = (inside & targets.ignored[:, None]).to(logits.dtype) @ of_class > 0
        counts = counts & (positive | ~ignored)
    if targets.incomplete is not None:
        elsewhere = torch.ones_like(positive[..., :1])
        if inside is not None:
            elsewhere = ~(inside & ~targets.ignored[:, None]).any(-1, keepdim=True)
        counts = counts & (positive | ~(elsewhere & targets.incomplete[:, None]))
    return counts
