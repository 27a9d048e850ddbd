"""Contrastive denoising: labelled objects, disturbed, as further queries that must find back to the truth.

A query near its object must come home; one further away must learn that it is nothing. Which object belongs to which
query is known, so that these queries teach the decoder from the first step on, when matching is still a lottery. As an
option some of them open keypoint groups whose points start at disturbed true places.
Shape letters as in `xpose.model.types`, and M objects per image, R runs of 2 M queries: first near, then far ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from xpose.errors import ConfigError
from xpose.geometry import box_iou, cxcywh_to_xyxy, xyxy_to_cxcywh
from xpose.model.types import GivenQueries, PromptEmbeddings
from xpose.training.objective.matcher import Assignment
from xpose.training.objective.targets import TargetBatch

_SMALLEST = 1e-3  # side of a disturbed box
_NOT_FAR = 0.5  # overlap (IoU) with the object from which a far box is left out


@dataclass(frozen=True)
class DenoisingSettings:
    """How objects are disturbed."""

    queries: int = 100  # near queries per image, about; there are as many far ones
    box_noise: float = 1.0  # edges move by up to this many half sides; those of far queries by one to two of them
    label_noise: float = 0.5  # share of the queries that pretend to be another class of the prompt
    keypoint_runs: int = 0  # runs whose near queries open keypoint groups; 0 = no denoising of keypoints
    keypoint_noise: float = 0.25  # points move by up to this many half sides of the box

    def __post_init__(self) -> None:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        faults = [f"{k} is {v}, not a number from 0 up" for k, v in values.items() if not 0 <= v < float("inf")]
        faults += [
            f"{k} is {values[k]}, not a whole number from {least} up"
            for k, least in (("queries", 1), ("keypoint_runs", 0))
            if not isinstance(values[k], int) or values[k] < least
        ]
        faults += [f"{k} is {values[k]}, more than 1" for k in ("box_noise", "label_noise") if values[k] > 1]
        if faults:
            raise ConfigError("The denoising settings do not fit:\n  " + "\n  ".join(faults))


@dataclass(frozen=True)
class Part:
    """What some of the given queries should answer."""

    assignment: Assignment  # the near ones and their objects
    real: Tensor  # [B, E or P] bool, False for empty places


@dataclass(frozen=True)
class Noised:
    """Disturbed objects: the queries for the network, and what the losses know about them."""

    queries: GivenQueries
    queries_part: Part
    groups_part: Part


def noised_objects(
    targets: TargetBatch,
    prompts: PromptEmbeddings,
    settings: DenoisingSettings | None = None,
    generator: torch.Generator | None = None,
) -> Noised | None:
    """Disturb the objects of a batch; None where it has none.

    Args:
        targets: of the batch, on the network's device.
        prompts: of the batch; a noised label is another class of the image's own prompt.
        settings: how strongly.
        generator: of the CPU, so that a run can be repeated on any device.
    """
    settings, most = settings or DenoisingSettings(), targets.most
    if most == 0:
        return None
    device = targets.boxes.device
    columns, real = _padded(targets.columns, most)
    runs = max(1, settings.queries // most)
    near = np.broadcast_to(np.array([True, False])[:, None], (2, most))

    def spread(x: np.ndarray) -> np.ndarray:  # [B, M] to [B, R · 2 · M]
        return np.broadcast_to(x[:, None, None], (len(x), runs, 2, most)).reshape(len(x), -1).copy()

    objects, places = spread(columns), spread(real)
    positive = places & np.broadcast_to(near, (len(columns), runs, 2, most)).reshape(len(columns), -1)
    number = torch.from_numpy(objects).to(device)
    far = torch.from_numpy(np.broadcast_to(~near, (runs, 2, most)).reshape(1, -1).copy()).to(device)
    noise = _Noise(generator, targets.boxes)
    true_class = targets.classes.gather(1, number)
    opened = _opened(min(settings.keypoint_runs, runs), most).expand(len(columns), -1).to(device)
    group_object = number.gather(1, opened)
    true_boxes = _take(targets.boxes, number)
    boxes = noise.boxes(true_boxes, far, settings.box_noise)
    # The edge of the picture may push a far box back onto its object, where it must not be called nothing.
    useful = ~far | (box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(true_boxes)) < _NOT_FAR)
    queries = GivenQueries(
        classes=noise.labels(true_class, prompts.expand(len(targets)).object_mask.to(device), settings.label_noise),
        boxes=boxes,
        real=torch.from_numpy(places).to(device) & useful,
        run=2 * most,
        opened=opened,
        group_class=targets.classes.gather(1, group_object),
        points=noise.points(targets, group_object, settings.keypoint_noise),
    )
    at = opened[0].cpu().numpy()
    return Noised(
        queries,
        Part(_pairs(positive, objects), queries.real),
        Part(_pairs(positive[:, at], objects[:, at]), queries.real.gather(1, opened)),
    )


class _Noise:
    """Random disturbances, drawn on the CPU and used where the targets are."""

    def __init__(self, generator: torch.Generator | None, like: Tensor) -> None:
        self.generator, self.like = generator, like

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1."""
        return torch.rand(shape, generator=self.generator).to(self.like)

    def labels(self, classes: Tensor, mask: Tensor, share: float) -> Tensor:
        """A share of the classes [B, E] replaced by another real class of the image's prompt, where it has one."""
        others = mask[:, None].expand(-1, classes.shape[1], -1).clone()
        others.scatter_(2, classes[..., None], False)
        lot = self.uniform(*others.shape).masked_fill(~others, -1)
        swap = (self.uniform(*classes.shape) < share) & others.any(-1)
        return torch.where(swap, lot.argmax(-1), classes)

    def boxes(self, boxes: Tensor, far: Tensor, amount: float) -> Tensor:
        """Boxes [B, E, 4] with every edge moved, those marked `far` [1, E] further."""
        half = boxes[..., 2:].repeat(1, 1, 2) / 2
        distance = (self.uniform(*boxes.shape) + far[..., None].to(boxes.dtype)) * amount
        sign = torch.where(self.uniform(*boxes.shape) < 0.5, -1.0, 1.0).to(boxes.dtype)
        moved = (cxcywh_to_xyxy(boxes) + sign * distance * half).clamp(0, 1)
        corners = (torch.minimum(moved[..., :2], moved[..., 2:]), torch.maximum(moved[..., :2], moved[..., 2:]))
        noised = xyxy_to_cxcywh(torch.cat(corners, -1))
        return torch.cat((noised[..., :2], noised[..., 2:].clamp(min=_SMALLEST)), -1)

    def points(self, targets: TargetBatch, objects: Tensor, amount: float) -> Tensor:
        """Disturbed keypoints [B, P, K, 2] of the objects [B, P]; NaN where not labelled."""
        image = torch.arange(len(targets), device=objects.device)[:, None]
        points, labelled = targets.keypoints[image, objects], targets.visibility[image, objects] > 0
        half = targets.boxes[image, objects][:, :, None, 2:] / 2
        moved = (points + (2 * self.uniform(*points.shape) - 1) * amount * half).clamp(0, 1)
        return moved.masked_fill(~labelled[..., None], float("nan"))


def _padded(columns: tuple[np.ndarray, ...], most: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the objects [B, M], 0 in empty places, and which places are real."""
    numbers = np.zeros((len(columns), most), dtype=np.int64)
    real = np.zeros((len(columns), most), dtype=bool)
    for row, found in enumerate(columns):
        numbers[row, : len(found)], real[row, : len(found)] = found, True
    return numbers, real


def _opened(runs: int, most: int) -> Tensor:
    """The numbers of the near queries of the first runs: [1, P]."""
    first = torch.arange(runs)[:, None] * (2 * most)
    return (first + torch.arange(most)).reshape(1, -1)


def _pairs(positive: np.ndarray, objects: np.ndarray) -> Assignment:
    images, queries = np.nonzero(positive)
    return Assignment(images, queries, objects[images, queries])


def _take(x: Tensor, rows: Tensor) -> Tensor:
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))
