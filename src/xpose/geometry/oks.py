"""Object keypoint similarity, COCO's overlap measure for poses, for numpy arrays and torch tensors alike.

    OKS = mean over the labelled points k of exp(-d_k² / (2 · area · (2 · sigma_k)²))

where d_k is the distance in pixels, area that of the labelled object (COCO: of its mask; otherwise of its box) and
sigma_k how precisely people label that point. The sigmas come from the skeleton, by name, never from a fixed list.
Shapes: `...` any leading dimensions, N predicted and M labelled objects, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xpose.geometry._arrays import Array, check_last, like, namespace, safe_ratio

_EPSILON = np.spacing(1.0)  # COCO's own guard against an area of 0


def oks(predicted: Array, labelled: Array, visible: Array, areas: Array, sigmas: Array | Sequence[float]) -> Array:
    """OKS [...] of each predicted pose [..., K, 2] with its labelled one [..., K, 2], broadcast.

    Args:
        predicted: points in pixels; a point with NaN (not found) scores 0.
        labelled: points in pixels.
        visible: [..., K], bool or COCO's v; only points above 0 are compared.
        areas: [...] of the labelled objects, in square pixels.
        sigmas: [K], one per keypoint, or [..., K] where the objects have other keypoints.

    Returns:
        OKS from 0 to 1; 0 where nothing is labelled (where pycocotools, for its
        counts of false detections, looks at the box instead).
    """
    check_last(predicted, 2, "predicted", "a point is x and y")
    check_last(labelled, 2, "labelled", "a point is x and y")
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


def pairwise_oks(
    predicted: Array, labelled: Array, visible: Array, areas: Array, sigmas: Array | Sequence[float]
) -> Array:
    """OKS [N, M] of every predicted pose [N, K, 2] with every labelled one [M, K, 2].

    `visible` [M, K] and `areas` [M] belong to the labelled objects; the rest is as in `oks`.
    """
    return oks(predicted[:, None], labelled[None], visible[None], areas[None], sigmas)
