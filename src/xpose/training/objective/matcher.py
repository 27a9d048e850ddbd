"""Match queries to objects: the cheapest one-to-one assignment, per image and layer.

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
from xpose.training.objective.targets import TargetBatch

_FORBIDDEN = 1e6  # higher than any allowed pair
# The cost of each difference. In keypoint layers, box costs are reduced for objects with labelled points.
COSTS = {"classification": 2.0, "box_l1": 5.0, "giou": 2.0, "keypoint_l1": 10.0, "oks": 4.0, "box_share": 0.1}


@dataclass(frozen=True)
class Layer:
    """The outputs of one layer, to be matched and scored."""

    name: str
    report: LayerReport
    allowed: Tensor | None = None  # [B, T, M] bool, allowed pairs; None = all


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
    """Assigns every object to be found to a query, by the cost of the pair."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, *, groups_judge: bool = True) -> None:
        """`groups_judge`: whether keypoint layers are also matched by class scores."""
        self.alpha, self.gamma, self.groups_judge = alpha, gamma, groups_judge

    @torch.no_grad()
    def __call__(self, layers: Sequence[Layer], targets: TargetBatch) -> list[Assignment]:
        """One assignment per layer."""
        costs = [self.costs(layer.report, targets) for layer in layers]
        for number, (cost, layer) in enumerate(zip(costs, layers, strict=True)):
            if layer.allowed is not None:
                costs[number] = torch.where(layer.allowed | ~cost.isfinite(), cost, _FORBIDDEN)
        # One transfer for all layers, so the device is synchronised once.
        numbers = torch.cat([cost.flatten() for cost in costs]).cpu().double()
        parts = numbers.split([cost.numel() for cost in costs])
        return [
            _assign(layer.name, part.view(cost.shape).numpy(), targets.columns)
            for layer, cost, part in zip(layers, costs, parts, strict=True)
        ]

    def costs(self, report: LayerReport, targets: TargetBatch) -> Tensor:
        """The cost of every pair of a query and an object: [B, T, M]."""
        dtype = targets.boxes.dtype
        gain = terms.focal_gain(report.logits.to(dtype), self.alpha, self.gamma)
        column = targets.classes[:, None].expand(-1, gain.shape[1], -1)
        judges = report.keypoints is None or self.groups_judge
        cost = COSTS["classification"] * judges * gain.gather(2, column)
        boxes, true = report.boxes[:, :, None].to(dtype), targets.boxes[:, None]
        on_boxes = COSTS["box_l1"] * terms.box_l1(boxes, true) + COSTS["giou"] * terms.giou(boxes, true)
        if report.keypoints is None:
            return cost + on_boxes
        labelled = (targets.visibility > 0)[:, None]
        share = 1 - (1 - COSTS["box_share"]) * labelled.any(-1).to(dtype)  # without points, only the box counts
        cost = cost + share * on_boxes
        points, places = report.keypoints[:, :, None].to(dtype), targets.keypoints[:, None]
        cost = cost + COSTS["keypoint_l1"] * terms.keypoint_l1(points, places, labelled)
        scale = (targets.boxes[:, None], targets.sigmas[:, None], targets.sizes[:, None, None])
        return cost + COSTS["oks"] * terms.pose_distance(points, places, labelled, *scale)


def _assign(layer: str, cost: np.ndarray, columns: Sequence[np.ndarray]) -> Assignment:
    """The cheapest pairs of one layer: cost [B, T, M], and per image the objects that are to be found."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise missing_extra("Training", "scipy", "train") from None
    images, queries, objects = [], [], []
    for image, objects_of_image in enumerate(columns):
        matrix = cost[image][:, objects_of_image]
        if not np.isfinite(matrix).all():
            raise TrainingError(
                f"The answers of layer {layer} for image {image} of the batch are not finite: lower the learning rate, "
                "clip gradients harder or leave float16, and continue from the last state."
            )
        rows, matched = linear_sum_assignment(matrix)
        good = matrix[rows, matched] < _FORBIDDEN / 2
        images.append(np.full(int(good.sum()), image))
        queries.append(rows[good])
        objects.append(objects_of_image[matched[good]])
    return Assignment(np.concatenate(images), np.concatenate(queries), np.concatenate(objects))


class OpenedGroups:
    """Opens keypoint groups for queries that were matched with an object with labelled points, and keeps the matches.

    The best-scored queries, which open groups at inference, often match no object at first and teach no points.
    """

    def __init__(self, matcher: Matcher, targets: TargetBatch, most: int, seed: int) -> None:
        self.matcher, self.targets, self.most = matcher, targets, most
        self.rng = np.random.default_rng(seed)
        self.report: LayerReport | None = None  # of the last object layer
        self.matched: Assignment | None = None  # of that layer's queries
        self.assignment: Assignment | None = None  # of the groups

    @torch.no_grad()
    def __call__(self, report: LayerReport) -> tuple[Tensor, Tensor]:
        """The queries that open groups, and the class of each: [B, G] both."""
        self.report, self.matched = report, self.matcher([Layer("object", report)], self.targets)[0]
        pairs = [self._chosen(image) for image in range(len(self.targets))]
        count = max(1, *(len(queries) for queries, _ in pairs))
        best = report.logits.amax(-1).topk(min(count, report.logits.shape[1]), dim=1).indices
        likeliest = report.logits.gather(1, best[..., None].expand(-1, -1, report.logits.shape[2])).argmax(-1)
        queries_of_groups, classes = best.cpu().numpy(), likeliest.cpu().numpy()
        labels = self.targets.classes.cpu().numpy()
        for image, (queries, objects) in enumerate(pairs):
            queries_of_groups[image, : len(queries)] = queries
            classes[image, : len(objects)] = labels[image, objects]
        sizes = [len(queries) for queries, _ in pairs]
        self.assignment = Assignment(
            np.repeat(np.arange(len(pairs)), sizes),
            np.concatenate([np.arange(size) for size in sizes]),
            np.concatenate([objects for _, objects in pairs]),
        )
        device = report.logits.device
        return torch.from_numpy(queries_of_groups).to(device), torch.from_numpy(classes).to(device)

    def _chosen(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.matched is not None
        useful = self.targets.has_presence[self.matched.images, self.matched.objects]
        rows = np.flatnonzero((self.matched.images == image) & useful)
        if len(rows) > self.most:
            rows = rows[self.rng.choice(len(rows), self.most, replace=False)]
        return self.matched.queries[rows], self.matched.objects[rows]
