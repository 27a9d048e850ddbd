"""Keypoints: scaling, and COCO's overlap measure for poses, for numpy arrays and torch tensors alike.

Shapes: `...` any leading dimensions, K keypoints. Points are [..., K, 2] with x before y, in continuous coordinates
(a picture of width W spans 0 to W).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xpose.geometry._arrays import Array, check_last, like, namespace, safe_ratio

_TWO = "a point is x and y"
_EPSILON = np.spacing(1.0)  # COCO's own guard against an area of 0


def scale_keypoints(points: Array, width: float, height: float) -> Array:
    """Points [..., K, 2] with x times `width` and y times `height`."""
    check_last(points, 2, "points", _TWO)
    return points * like(points, (width, height))


def oks(predicted: Array, labelled: Array, visible: Array, areas: Array, sigmas: Array | Sequence[float]) -> Array:
    """Object keypoint similarity [...] of each predicted pose [..., K, 2] with its labelled one, broadcast.

        OKS = mean over the labelled points k of exp(-d_k² / (2 · area · (2 · sigma_k)²))

    where d_k is the distance in pixels. The sigmas (how precisely people label each point) come from the skeleton.

    Args:
        predicted: points in pixels; a point with NaN (not found) scores 0.
        labelled: points in pixels.
        visible: [..., K], bool or COCO's v; only points above 0 are compared.
        areas: [...] of the labelled objects (COCO: of their masks), in square pixels.
        sigmas: [K], one per keypoint, or [..., K] where the objects have other keypoints.

    Returns:
        OKS from 0 to 1; 0 where nothing is labelled (where pycocotools, for its
        counts of false detections, looks at the box instead).
    """
    check_last(predicted, 2, "predicted", _TWO)
    check_last(labelled, 2, "labelled", _TWO)
    xp = namespace(predicted)
    spread = like(predicted, sigmas)
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
    similarity = xp.exp(-squared / ((2 * spread) ** 2 * (like(predicted, areas)[..., None] + _EPSILON) * 2))
    total = (similarity * seen).sum(-1)
    return safe_ratio(total, like(total, labels.sum(-1)) + 0 * total)
