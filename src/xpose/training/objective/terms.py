"""The individual loss terms, as functions of tensors.

Letters: n pairs of a query and the object it was matched with, K keypoint slots. Terms take, as needed, points
[..., K, 2] relative to the picture without its padding, bool masks [..., K], boxes [..., 4] of the labelled objects,
and `sizes` [..., 2], width and height of the picture in pixels.

A network learns faces with 68 points along with people with 17. Keypoint terms are therefore means over an object's
own points, times 17: 68 points weigh no more than 17, and loss weights tuned for 17 points remain valid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from xpose.geometry import box_giou, box_iou, cxcywh_to_xyxy, oks
from xpose.model.types import LayerReport
from xpose.training.objective.targets import TargetBatch

REFERENCE_POINTS = 17  # of a COCO person, for whom the usual weights were tuned
VISIBLE = 2
_BELL = 0.8  # standard deviation, in cells, of the bell around a point
_LEAST_ERROR = 0.004  # of the box's longer side: no label is more accurate
TOKENS = 10  # per object, at most
_OVERLAP_POWER = 6.0  # weight of the overlap of a token's box relative to its score


def focal(logits: Tensor, positive: Tensor, alpha: float, gamma: float) -> Tensor:
    """Sigmoid focal loss of every finite logit: cross-entropy that fades for answers that are already right.

    `positive` is bool, or holds target scores in [0, 1]. Positives weigh `alpha`, negatives 1 - `alpha`.
    """
    target = positive.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    score = logits.sigmoid()
    wrong = (target - score).abs()
    return (1 - alpha + (2 * alpha - 1) * target) * wrong**gamma * entropy


def focal_gain(logits: Tensor, alpha: float, gamma: float) -> Tensor:
    """The focal loss of a logit as a positive minus that as a negative: the matcher's cost."""
    yes = torch.ones_like(logits, dtype=torch.bool)
    return focal(logits, yes, alpha, gamma) - focal(logits, ~yes, alpha, gamma)


def box_l1(boxes: Tensor, true: Tensor) -> Tensor:
    """Sum of the four differences of boxes [..., 4] (cx, cy, w, h), broadcast: [...]."""
    return (boxes - true).abs().sum(-1)


def giou(boxes: Tensor, true: Tensor) -> Tensor:
    """1 - generalised IoU of boxes [..., 4] (cx, cy, w, h), broadcast: [...]."""
    return 1 - box_giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(true))


def keypoint_l1(points: Tensor, true: Tensor, labelled: Tensor) -> Tensor:
    """Mean |Δx| + |Δy| over the labelled points, times 17: [..., K, 2] with [..., K] bool to [...]."""
    distance = ((points - true).abs().sum(-1) * labelled).sum(-1)
    return distance * (REFERENCE_POINTS / labelled.sum(-1).clamp(min=1))


def keypoint_relative(points: Tensor, true: Tensor, labelled: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
    """Mean of d / (1 + d) over the labelled points, d = |Δx| + |Δy| in longer sides of the box, times 17: [...].

    A distant person's elbow counts as much as a near one's. Half a box away there is still a gradient, unlike with OKS;
    a point many boxes away, because another object was found, does not dominate the others.
    """
    longer = (boxes[..., 2:] * sizes).amax(-1, keepdim=True).clamp(min=1)
    distance = ((points - true) * sizes[..., None, :]).abs().sum(-1) / longer
    lost = (distance / (1 + distance) * labelled).sum(-1)
    return lost * (REFERENCE_POINTS / labelled.sum(-1).clamp(min=1))


def pose_distance(
    points: Tensor, true: Tensor, labelled: Tensor, boxes: Tensor, sigmas: Tensor, sizes: Tensor
) -> Tensor:
    """1 - OKS, in pixels so that a wide picture does not distort it; 0 if nothing is labelled: [...]."""
    areas = (boxes[..., 2:] * sizes).prod(-1)
    similarity = oks(points * sizes[..., None, :], true * sizes[..., None, :], labelled, areas, sigmas)
    return torch.where(labelled.any(-1), 1 - similarity, torch.zeros_like(similarity))


def keypoint_alignment(
    logits: Tensor, visibility: Tensor, absent: Tensor, real: Tensor, alpha: float, gamma: float
) -> Tensor:
    """Focal contrast between the keypoint queries of an object and its keypoint prompts: [n].

    A query must tell its own prompt from the others of the object: for a visible point, its own prompt is positive and
    all others are negative. For a hidden point the others are negative, but its own is ignored, since the picture does
    not show it. A point known to be absent matches no prompt. Unlabelled points are ignored.

    `logits` [n, K, K] has queries as rows, prompts as columns; `real` [n, K] marks the slots of the object's class.
    """
    diagonal = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    visible, labelled = visibility == VISIBLE, visibility > 0
    judged = (labelled | absent) & real
    column = real[:, None, :] & judged[:, :, None]
    loss = focal(logits, diagonal & visible[:, :, None], alpha, gamma)
    on_own = diagonal & column & (visible | absent)[:, :, None]
    others = column & ~diagonal
    # Scale the other prompts to the number that 17 points have.
    share = (REFERENCE_POINTS - 1) / (real.sum(-1) - 1).clamp(min=1)
    per_query = (loss * on_own).sum(-1) + (loss * others).sum(-1) * share[:, None]
    return per_query.sum(-1) / judged.sum(-1).clamp(min=1)


def presence(logits: Tensor, visibility: Tensor, absent: Tensor) -> Tensor:
    """Cross-entropy of "the point is in the picture, seen or hidden" against "it is not": [n, K] to [n].

    The mean over points of known presence; a missing label does not mean a missing point.
    """
    there = visibility > 0
    known = there | absent
    entropy = F.binary_cross_entropy_with_logits(logits, there.to(logits.dtype), reduction="none")
    return (entropy * known).sum(-1) / known.sum(-1).clamp(min=1)


def point_error(
    points: Tensor, true: Tensor, labelled: Tensor, boxes: Tensor, sizes: Tensor, log_error: Tensor
) -> Tensor:
    """Negative log-likelihood of the distances under a Laplace law with the expected error, mean over points: [...].

    Errors are measured in longer sides of the box; `log_error` is [..., K].
    """
    longer = (boxes[..., 2:] * sizes).amax(-1, keepdim=True).clamp(min=1)
    squared = (((points - true) * sizes[..., None, :]) ** 2).sum(-1)
    distance = (squared + 1e-6).sqrt() / longer
    log_error = log_error.clamp(min=math.log(_LEAST_ERROR))
    loss = (distance * (-log_error).exp() + log_error) * labelled
    return loss.sum(-1) / labelled.sum(-1).clamp(min=1)


def pose_map(logits: Tensor, frames: Tensor, true: Tensor, labelled: Tensor) -> Tensor:
    """Cross-entropy of the maps [n, K, R · R] with a small bell around each labelled point, mean over points: [n].

    A point outside its frame [n, 4] is ignored.
    """
    cells = math.isqrt(logits.shape[-1])
    place = ((true - frames[:, None, :2]) / frames[:, None, 2:] + 0.5) * cells - 0.5  # [n, K, 2] in cells
    used = labelled & ((place > -0.5) & (place < cells - 0.5)).all(-1)
    steps = torch.arange(cells, device=logits.device, dtype=logits.dtype)
    bell = torch.exp(-((steps - place[..., None]) ** 2) / (2 * _BELL**2))  # [n, K, 2, R]
    bell = bell / bell.sum(-1, keepdim=True).clamp(min=1e-6)
    target = (bell[:, :, 1, :, None] * bell[:, :, 0, None]).flatten(2)
    loss = -(target * logits.log_softmax(-1)).sum(-1)
    return (loss * used).sum(-1) / used.sum(-1).clamp(min=1)


@dataclass(frozen=True)
class TokenTargets:
    """Targets of every image token: each object is assigned to several tokens that suit it best (one-to-many).

    The query selection uses the tokens' outputs. A detector learns faster from ten tokens per object than from the
    single one of a one-to-one matching. N image tokens, M labelled objects per image.
    """

    objects: Tensor  # [B, N] the object assigned to a token, −1 for none
    wanted: Tensor  # [B, N] the score it should give that object's class
    inside: Tensor  # [B, N, M] bool, the token's centre is in the object's box; for ignored objects too


@torch.no_grad()
def assign_tokens(report: LayerReport, centres: Tensor, targets: TargetBatch) -> TokenTargets:
    """Choose the tokens of every object by score and overlap, from those in its box.

    `report` has logits [B, N, L] and boxes [B, N, 4] of all tokens; `centres` [B or 1, N, 2] are x and y of each token
    in the picture, or outside it for unused tokens.
    """
    dtype = targets.boxes.dtype
    true = cxcywh_to_xyxy(targets.boxes)[:, None]  # [B, 1, M, 4]
    spot = centres[:, :, None]
    inside = ((spot > true[..., :2]) & (spot < true[..., 2:])).all(-1) & targets.present[:, None]
    distance = (spot - targets.boxes[:, None, :, :2]).abs().amax(-1)
    near = inside | (distance <= distance.amin(1, keepdim=True))  # a tiny object gets at least its nearest token
    near = near & (targets.present & ~targets.ignored)[:, None]
    overlap = box_iou(cxcywh_to_xyxy(report.boxes.to(dtype))[:, :, None], true)  # [B, N, M]
    column = targets.classes[:, None].expand(-1, overlap.shape[1], -1)
    score = report.logits.to(dtype).sigmoid().gather(2, column)
    suits = (score * overlap**_OVERLAP_POWER + 1e-12) * near
    count = min(TOKENS, suits.shape[1])
    best = suits.topk(count, dim=1)
    chosen = torch.zeros_like(near).scatter_(1, best.indices, best.values > 0)
    # A token chosen by several objects goes to the one its box overlaps most.
    claimed = torch.where(chosen, overlap + 1e-6, torch.zeros_like(overlap))
    most, objects = claimed.max(-1)
    owned = F.one_hot(objects, claimed.shape[2]).bool() & chosen
    suits, overlap = suits * owned, overlap * owned
    # The target score of an object's best token is its box's overlap; the others get less.
    scaled = suits / suits.amax(1, keepdim=True).clamp(min=1e-20) * overlap.amax(1, keepdim=True)
    return TokenTargets(torch.where(most > 0, objects, -1), scaled.amax(-1), inside)


def dense_terms(
    report: LayerReport, centres: Tensor, targets: TargetBatch, object_mask: Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Sums of the class and the box term over all tokens, and the sum of target scores to divide them by."""
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
        box, total = ((giou(boxes, true) + box_l1(boxes, true)) * share).sum(), share.sum()
    judged = targets.judged(positive, object_mask, inside, inside & ~targets.ignored[:, None])
    logits = logits.masked_fill(~judged, 0)
    # Cross-entropy with a target score, reduced if the answer is already right.
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (logits.sigmoid() - target).square() * entropy * judged
    return {"dense_class": loss.sum(), "dense_box": box}, total
