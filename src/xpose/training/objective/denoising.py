"""Contrastive denoising: labelled objects with added noise become extra queries; the network must recover the labels.

A query near its object must find it; one further away must learn that it is background. The object of each query is
known, so these queries train the decoder from the first step, when matching is still random. Shape letters are those
of `xpose.model.types`, and M objects per image, R runs of 2 M queries: first near, then far ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xpose.errors import out_of_range, refuse
from xpose.geometry import box_iou, cxcywh_to_xyxy, xyxy_to_cxcywh
from xpose.model.types import GivenQueries, PromptEmbeddings
from xpose.training.objective.matcher import Assignment
from xpose.training.objective.targets import TargetBatch

_SMALLEST = 1e-3  # least side of a noisy box
_NOT_FAR = 0.5  # a far box with at least this overlap (IoU) with its object is dropped


@dataclass(frozen=True)
class DenoisingSettings:
    """How noise is added to objects."""

    queries: int = 100  # approximate near queries per image; as many far ones are added
    box_noise: float = 1.0  # edges move by up to this many half sides; those of far queries by one to two times it
    label_noise: float = 0.5  # share of the queries that get another class of the prompt
    keypoint_runs: int = 0  # runs whose near queries open keypoint groups; 0 = no denoising of keypoints
    keypoint_noise: float = 0.25  # points move by up to this many half sides of the box

    def __post_init__(self) -> None:
        faults = out_of_range(self, 1, "queries", whole=True) + out_of_range(self, 0, "keypoint_runs", whole=True)
        faults += out_of_range(self, 0, "box_noise", "label_noise", high=1) + out_of_range(self, 0, "keypoint_noise")
        refuse("The denoising settings do", faults)


@dataclass(frozen=True)
class Noised:
    """Noisy objects: the queries for the network, and the targets of these queries and the groups they open."""

    queries: GivenQueries
    of_queries: Assignment  # near queries and their objects
    of_groups: Assignment


def noised_objects(
    targets: TargetBatch,
    prompts: PromptEmbeddings,
    settings: DenoisingSettings | None = None,
    generator: torch.Generator | None = None,
) -> Noised | None:
    """Add noise to the objects of a batch; None if it has none. `generator` is always on the CPU."""
    settings, most = settings or DenoisingSettings(), targets.most
    if most == 0:
        return None
    device, images = targets.boxes.device, len(targets)
    columns = pad_sequence([torch.from_numpy(numbers) for numbers in targets.columns], True)  # [B, M], 0 = empty place
    real = torch.arange(most) < torch.tensor([len(numbers) for numbers in targets.columns])[:, None]
    runs = max(1, settings.queries // most)

    def spread(x: Tensor) -> Tensor:  # [B, M] to [B, R · 2 · M]
        return x[:, None, None].expand(-1, runs, 2, most).reshape(images, -1)

    objects, places = spread(columns), spread(real)
    far = torch.tensor([False, True])[:, None].expand(runs, 2, most).reshape(1, -1)
    positive = places & ~far
    number, far = objects.to(device), far.to(device)
    noise = _Noise(generator, targets.boxes)
    true_class = targets.classes.gather(1, number)
    first = torch.arange(min(settings.keypoint_runs, runs))[:, None] * (2 * most)
    at = (first + torch.arange(most)).flatten()  # the near queries of the first runs, which open groups
    opened = at.expand(images, -1).to(device)
    group_object = number.gather(1, opened)
    true_boxes = targets.boxes.gather(1, number[..., None].expand(-1, -1, 4))
    boxes = noise.boxes(true_boxes, far, settings.box_noise)
    # Clipping to the picture can move a far box back onto its object; then it is not background.
    useful = ~far | (box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(true_boxes)) < _NOT_FAR)
    queries = GivenQueries(
        classes=noise.labels(true_class, prompts.expand(images).object_mask.to(device), settings.label_noise),
        boxes=boxes,
        real=places.to(device) & useful,
        run=2 * most,
        opened=opened,
        group_class=targets.classes.gather(1, group_object),
        points=noise.points(targets, group_object, settings.keypoint_noise),
    )
    return Noised(queries, _pairs(positive, objects), _pairs(positive[:, at], objects[:, at]))


class _Noise:
    """Random noise, drawn on the CPU and moved to the targets' device."""

    def __init__(self, generator: torch.Generator | None, like: Tensor) -> None:
        self.generator, self.like = generator, like

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1."""
        return torch.rand(shape, generator=self.generator).to(self.like)

    def labels(self, classes: Tensor, mask: Tensor, share: float) -> Tensor:
        """Replace a share of the classes [B, E] by another real class of the image's prompt, if it has one."""
        others = mask[:, None].expand(-1, classes.shape[1], -1).clone()
        others.scatter_(2, classes[..., None], False)
        lot = self.uniform(*others.shape).masked_fill(~others, -1)
        swap = (self.uniform(*classes.shape) < share) & others.any(-1)
        return torch.where(swap, lot.argmax(-1), classes)

    def boxes(self, boxes: Tensor, far: Tensor, amount: float) -> Tensor:
        """Move every edge of boxes [B, E, 4], further for those marked `far` [1, E]."""
        half = boxes[..., 2:].repeat(1, 1, 2) / 2
        distance = (self.uniform(*boxes.shape) + far[..., None].to(boxes.dtype)) * amount
        sign = torch.where(self.uniform(*boxes.shape) < 0.5, -1.0, 1.0).to(boxes.dtype)
        moved = (cxcywh_to_xyxy(boxes) + sign * distance * half).clamp(0, 1)
        corners = (torch.minimum(moved[..., :2], moved[..., 2:]), torch.maximum(moved[..., :2], moved[..., 2:]))
        noised = xyxy_to_cxcywh(torch.cat(corners, -1))
        return torch.cat((noised[..., :2], noised[..., 2:].clamp(min=_SMALLEST)), -1)

    def points(self, targets: TargetBatch, objects: Tensor, amount: float) -> Tensor:
        """Noisy keypoints [B, P, K, 2] of the objects [B, P]; NaN where not labelled."""
        image = torch.arange(len(targets), device=objects.device)[:, None]
        points, labelled = targets.keypoints[image, objects], targets.visibility[image, objects] > 0
        half = targets.boxes[image, objects][:, :, None, 2:] / 2
        moved = (points + (2 * self.uniform(*points.shape) - 1) * amount * half).clamp(0, 1)
        return moved.masked_fill(~labelled[..., None], float("nan"))


def _pairs(positive: Tensor, objects: Tensor) -> Assignment:
    images, queries = positive.nonzero(as_tuple=True)
    return Assignment(images.numpy(), queries.numpy(), objects[images, queries].numpy())
