"""Which query answers for which object: the cheapest one-to-one assignment, per image and layer.

Shape letters as in `xpose.model.types`; T = queries of any layer, M = labelled objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xpose.errors import TrainingError, missing_extra
from xpose.model.types import LayerReport
from xpose.training.objective import terms
from xpose.training.objective.settings_faults import out_of_range, refuse
from xpose.training.objective.targets import TargetBatch

_FORBIDDEN = 1e6  # dearer than any pair that may be


@dataclass(frozen=True)
class MatchCosts:
    """How much each difference costs."""

    classification: float = 2.0
    box_l1: float = 5.0
    giou: float = 2.0
    keypoint_l1: float = 10.0
    oks: float = 4.0
    # In keypoint layers the boxes count this much of the above, for objects with labelled points.
    box_share: float = 0.1

    def __post_init__(self) -> None:
        refuse("The matcher's costs do", out_of_range(self, 0, *vars(self)))


@dataclass(frozen=True)
class Layer:
    """What one layer answers, ready to be matched and judged."""

    name: str
    report: LayerReport
    allowed: Tensor | None = None  # [B, T, M] bool, pairs that may be; None = all


@dataclass(frozen=True)
class Assignment:
    """Pairs of a query and an object, over all images of the batch."""

    images: np.ndarray  # [n]
    queries: np.ndarray  # [n]
    objects: np.ndarray  # [n], column in the target batch

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.images)

    def index(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs as index tensors: images, queries, objects."""
        rows = torch.from_numpy(np.stack((self.images, self.queries, self.objects)).astype(np.int64))
        images, queries, objects = rows.to(device, non_blocking=True)
        return images, queries, objects


class Matcher:
    """Assigns every object to be found to a query, by what the pair would cost."""

    def __init__(
        self, costs: MatchCosts | None = None, alpha: float = 0.25, gamma: float = 2.0, *, groups_judge: bool = True
    ) -> None:
        """`groups_judge`: whether keypoint layers say of which class an object is, too."""
        self.weights, self.alpha, self.gamma, self.groups_judge = costs or MatchCosts(), alpha, gamma, groups_judge

    @torch.no_grad()
    def __call__(self, layers: Sequence[Layer], targets: TargetBatch) -> list[Assignment]:
        """One assignment per layer.

        Raises:
            TrainingError: the network's answers are not finite.
        """
        costs = [self.costs(layer.report, targets) for layer in layers]
        costs = [_forbid(cost, layer.allowed) for cost, layer in zip(costs, layers, strict=True)]
        # One transfer for all layers: the device is waited for once.
        numbers = torch.cat([cost.flatten() for cost in costs]).cpu().double().numpy()
        found, start = [], 0
        for layer, cost in zip(layers, costs, strict=True):
            matrix = numbers[start : start + cost.numel()].reshape(tuple(cost.shape))
            start += cost.numel()
            found.append(_assign(layer.name, matrix, targets.columns))
        return found

    def costs(self, report: LayerReport, targets: TargetBatch) -> Tensor:
        """What every pair of a query and an object would cost: [B, T, M]."""
        w, dtype = self.weights, targets.boxes.dtype
        gain = terms.focal_gain(report.logits.to(dtype), self.alpha, self.gamma)
        column = targets.classes[:, None].expand(-1, gain.shape[1], -1)
        judges = report.keypoints is None or self.groups_judge
        cost = w.classification * judges * gain.gather(2, column)
        boxes, true = report.boxes[:, :, None].to(dtype), targets.boxes[:, None]
        on_boxes = w.box_l1 * terms.box_l1(boxes, true) + w.giou * terms.giou(boxes, true)
        if report.keypoints is None:
            return cost + on_boxes
        labelled = (targets.visibility > 0)[:, None]
        share = 1 - (1 - w.box_share) * labelled.any(-1).to(dtype)  # without points only the box can tell
        cost = cost + share * on_boxes
        points, places = report.keypoints[:, :, None].to(dtype), targets.keypoints[:, None]
        cost = cost + w.keypoint_l1 * terms.keypoint_l1(points, places, labelled)
        scale = (targets.boxes[:, None], targets.sigmas[:, None], targets.sizes[:, None, None])
        return cost + w.oks * terms.pose_distance(points, places, labelled, *scale)


def _forbid(cost: Tensor, allowed: Tensor | None) -> Tensor:
    if allowed is None:
        return cost
    return torch.where(allowed | ~cost.isfinite(), cost, _FORBIDDEN)


def _assign(layer: str, cost: np.ndarray, columns: Sequence[np.ndarray]) -> Assignment:
    """The cheapest pairs of one layer: cost [B, T, M], and per image the objects that are to be found."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise missing_extra("Training", "scipy", "train") from None
    images, queries, objects = [], [], []
    for image, wanted in enumerate(columns):
        matrix = cost[image][:, wanted]
        if not np.isfinite(matrix).all():
            raise TrainingError(
                f"The answers of layer {layer} for image {image} of the batch hold numbers that are not finite. A "
                "network must answer with finite numbers: lower the learning rate, clip gradients harder or leave "
                "float16, and continue from the last checkpoint."
            )
        rows, found = linear_sum_assignment(matrix)
        good = matrix[rows, found] < _FORBIDDEN / 2
        images.append(np.full(int(good.sum()), image))
        queries.append(rows[good])
        objects.append(wanted[found[good]])
    return Assignment(np.concatenate(images), np.concatenate(queries), np.concatenate(objects))
