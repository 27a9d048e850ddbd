"""Boxes and keypoints: pure functions for numpy arrays and torch tensors, which return the type they are given.

Shapes: `...` for any leading dimensions, N and M boxes, K keypoints. A box is four numbers in the last axis:

========  ===============================================  ==========================
format    numbers                                          used by
========  ===============================================  ==========================
`cxcywh`  centre x, centre y, width, height                the network
`xyxy`    left, top, right, bottom                         results, overlaps, drawing
`xywh`    left, top, width, height                         COCO files
========  ===============================================  ==========================

Coordinates are continuous: a picture of width W spans 0 to W, and the first pixel 0 to 1. Torch is never imported here,
because callers that pass tensors have already imported it; so light modules can use geometry at no cost.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    Array = TypeVar("Array", np.ndarray, torch.Tensor)
else:
    Array = TypeVar("Array")

_EPSILON = np.spacing(1.0)  # COCO's guard against an area of 0


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """Corners [..., 4] of boxes [..., 4] that are given by centre and size."""
    _check_boxes(boxes)
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return _namespace(boxes).concatenate((centre - half, centre + half), -1)


def xyxy_to_cxcywh(boxes: Array) -> Array:
    """Centre and size [..., 4] of boxes [..., 4] that are given by their corners."""
    _check_boxes(boxes)
    low, high = boxes[..., :2], boxes[..., 2:]
    return _namespace(boxes).concatenate(((low + high) / 2, high - low), -1)


def xywh_to_xyxy(boxes: Array) -> Array:
    """Corners [..., 4] of COCO's boxes [..., 4]."""
    _check_boxes(boxes)
    return _namespace(boxes).concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), -1)


def xyxy_to_xywh(boxes: Array) -> Array:
    """COCO's form [..., 4] of boxes [..., 4] that are given by their corners."""
    _check_boxes(boxes)
    return _namespace(boxes).concatenate((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), -1)


def clip_boxes(boxes: Array, width: float, height: float) -> Array:
    """`xyxy` boxes [..., 4] clipped to a picture; a box outside it becomes a line on the edge."""
    _check_boxes(boxes)
    xp = _namespace(boxes)
    limit = _like(boxes, (width, height, width, height))
    return xp.minimum(xp.maximum(boxes + 0 * limit, 0 * limit), limit)


def flip_boxes(boxes: Array, width: float) -> Array:
    """`xyxy` boxes [..., 4] in the left-right mirrored picture of the given width."""
    _check_boxes(boxes)
    left, top, right, bottom = (boxes[..., i] for i in range(4))
    return _namespace(boxes).stack((width - right, top, width - left, bottom), -1)


def box_area(boxes: Array) -> Array:
    """Areas [...] of `xyxy` boxes [..., 4]; 0 where right < left or bottom < top."""
    _check_boxes(boxes)
    size = _namespace(boxes).clip(boxes[..., 2:] - boxes[..., :2], 0, None)
    return size[..., 0] * size[..., 1]


def box_iou(a: Array, b: Array) -> Array:
    """Intersection over union [...] of `xyxy` boxes a [..., 4] with b [..., 4], broadcast; 0 for two empty boxes."""
    return _safe_ratio(*_overlap(a, b))


def box_giou(a: Array, b: Array) -> Array:
    """Generalised IoU [...] of `xyxy` boxes a [..., 4] with b [..., 4], broadcast.

    This is the IoU minus the empty share of the hull of both boxes, a number from -1 to 1 that decreases with the
    distance of boxes that do not touch.
    """
    intersection, union = _overlap(a, b)
    xp = _namespace(a)
    hull = box_area(xp.concatenate((xp.minimum(a[..., :2], b[..., :2]), xp.maximum(a[..., 2:], b[..., 2:])), -1))
    return _safe_ratio(intersection, union) - _safe_ratio(hull - union, hull)


def pairwise_iou(a: Array, b: Array) -> Array:
    """IoU [N, M] of every `xyxy` box of a [N, 4] with every one of b [M, 4]."""
    return box_iou(a[:, None], b[None])


def oks(predicted: Array, labelled: Array, visible: Array, areas: Array, sigmas: Array | Sequence[float]) -> Array:
    """Object keypoint similarity [...] of each predicted pose [..., K, 2] with its labelled one, broadcast.

        OKS = mean over the labelled points k of exp(-d_k² / (2 · area · (2 · sigma_k)²))

    where d_k is the distance in pixels. The sigmas (how precisely people label each point) come from the skeleton.

    Args:
        predicted: points in pixels; a point with NaN (not found) scores 0.
        labelled: points in pixels.
        visible: [..., K], bool or COCO's v; only points above 0 are compared.
        areas: [...] of the labelled objects (COCO: of their masks), in square pixels.
        sigmas: [K], one per keypoint, or [..., K] if the objects have different keypoints.

    Returns:
        OKS from 0 to 1; 0 if nothing is labelled (pycocotools then uses the box, to count false detections).
    """
    _check_last(predicted, 2, "predicted", "a point is x and y")
    _check_last(labelled, 2, "labelled", "a point is x and y")
    xp = _namespace(predicted)
    spread = _like(predicted, sigmas)
    count = labelled.shape[-2]
    if tuple(spread.shape[-1:]) != (count,):
        raise ValueError(
            f"sigmas has shape {tuple(spread.shape)} for {count} keypoints; there must be one per keypoint. "
            "Take them from the skeleton of these points: skeleton.sigmas."
        )
    labels = visible > 0
    offset = predicted - labelled
    seen = labels & xp.isfinite(offset).all(-1)
    # Zeroed before the exponential rather than after it, so that NaN reaches neither the result nor a gradient.
    squared = (xp.where(seen[..., None], offset, xp.zeros_like(offset)) ** 2).sum(-1)
    similarity = xp.exp(-squared / ((2 * spread) ** 2 * (_like(predicted, areas)[..., None] + _EPSILON) * 2))
    total = (similarity * seen).sum(-1)
    return _safe_ratio(total, _like(total, labels.sum(-1)) + 0 * total)


def _overlap(a: Array, b: Array) -> tuple[Array, Array]:
    _check_boxes(b)
    xp = _namespace(a)
    shared = xp.concatenate((xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:])), -1)
    intersection = box_area(shared)
    return intersection, box_area(a) + box_area(b) - intersection


def _namespace(array: Any) -> Any:
    """`torch` for a tensor, `numpy` for an array or a numpy scalar."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    raise TypeError(f"Got {type(array).__name__}; geometry takes numpy arrays and torch tensors. Use numpy.asarray().")


def _like(array: Any, values: Any) -> Any:
    """`values` with the type, device and (if it is floating-point) precision of `array`."""
    xp = _namespace(array)
    if xp is np:
        return np.asarray(values, dtype=array.dtype if np.issubdtype(array.dtype, np.floating) else np.float64)
    dtype = array.dtype if array.is_floating_point() else xp.get_default_dtype()
    return xp.as_tensor(values, dtype=dtype, device=array.device)


def _check_boxes(boxes: Any) -> None:
    _check_last(boxes, 4, "boxes", "one box is four numbers")


def _check_last(array: Any, size: int, name: str, meaning: str) -> None:
    _namespace(array)
    shape = tuple(array.shape)
    if shape[-1:] != (size,):
        raise ValueError(f"{name} has shape {shape}; its last dimension must be {size}: {meaning}. Reshape it first.")


def _safe_ratio(top: Any, bottom: Any) -> Any:
    """`top / bottom`, and 0 where `bottom` is 0, without a warning and with finite gradients."""
    xp = _namespace(bottom)
    empty = bottom == 0
    return xp.where(empty, xp.zeros_like(bottom), top / xp.where(empty, xp.ones_like(bottom), bottom))
