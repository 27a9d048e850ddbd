"""From the network's groups to a few good poses: thresholds and removal of duplicates.

Letters: N candidates, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xpose.errors import ConfigError
from xpose.geometry import pairwise_iou
from xpose.model.checkpoints.calibration import DEFAULT_THRESHOLD

_TELLING = 0.01  # thresholds nearer to 0 or 1 do not say how high a class scores


def thresholds_for(
    labels: list[str], threshold: float | Mapping[str, float] | None, stored: Mapping[str, float]
) -> np.ndarray:
    """The scores that objects of each class must exceed, [L].

    Args:
        labels: class names of the prompt.
        threshold: one number for all, numbers by class name ("" = all others), or None for the stored ones.
        stored: the calibrated thresholds that came with the weights.

    Raises:
        ConfigError: a threshold is not a number from 0 to 1.
    """
    if threshold is None:
        table: Mapping[str, float] = stored
    elif isinstance(threshold, Mapping):
        table = {**stored, **threshold}
    else:
        table = {"": threshold}
    rest = table.get("", DEFAULT_THRESHOLD)
    values = [table.get(label, rest) for label in labels]
    for label, value in zip(labels, values, strict=True):
        check_share(f'The threshold of "{label}"', value)
    return np.asarray(values, dtype=np.float32)


def required_logits(labels: list[str], stored: Mapping[str, float], temperature: float) -> np.ndarray | None:
    """Logits above which classes are compared, [L]: those of their thresholds, before `tempered`.

    The stored thresholds say how high a class usually scores. A class without one takes the mean of the others, as does
    one whose threshold only says that everything or nothing is wanted. None where all are the same.
    """
    shares = np.array([stored.get(label, np.nan) for label in labels])
    shares[(shares < _TELLING) | (shares > 1 - _TELLING)] = np.nan
    logits = _logits(shares) * temperature
    known = logits[~np.isnan(logits)]
    if len(np.unique(known)) < 2:
        return None
    return np.where(np.isnan(logits), known.mean(), logits)


def check_share(what: str, value: object) -> float:
    """A number from 0 to 1.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigError(f"{what} is {value!r}. It must be a number from 0 to 1.")
    return float(value)


def tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores from 0 to 1 with their logits divided by a temperature: above 1 less sure, 1 as they are.

    The order of scores stays, so that nothing but thresholds notices. NaN stays NaN.
    """
    if temperature == 1:
        return scores
    logits = _logits(scores.astype(np.float64))
    return (1 / (1 + np.exp(-logits / temperature))).astype(scores.dtype)


def _logits(shares: np.ndarray) -> np.ndarray:
    """Of 0 and 1 the infinities, of NaN NaN."""
    with np.errstate(divide="ignore"):
        return np.log(shares) - np.log1p(-shares)


def suppress_boxes(boxes: np.ndarray, order: np.ndarray, limit: float) -> np.ndarray:
    """Of `order` (best first) the candidates that overlap no better one by more than `limit` (box IoU); 1 keeps all."""
    if len(order) < 2 or limit >= 1:
        return order
    return _greedy(pairwise_iou(boxes, boxes), order, limit)


def suppress_poses(
    xy: np.ndarray, keypoint_scores: np.ndarray, boxes: np.ndarray, order: np.ndarray, sigmas: np.ndarray, limit: float
) -> np.ndarray:
    """Of `order` (best first) the candidates whose pose is not the same as a better one's (OKS over `limit`).

    Boxes of two people who embrace overlap, their poses do not; two boxes around one animal hold the same pose.

    Args:
        xy: [N, K, 2] pixels; NaN where a candidate has fewer points.
        keypoint_scores: [N, K]; how much each point of the better pose counts.
        boxes: [N, 4].
        order: candidate numbers, best first.
        sigmas: [N, K] by the candidates' own names.
        limit: similarity above which two poses are one; 1 keeps all.
    """
    if len(order) < 2 or xy.shape[1] == 0 or limit >= 1:
        return order
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-6)
    # OKS per pair: a point counts with its confidence in the better pose.
    squared = ((xy[:, None] - xy[None]) ** 2).sum(-1)  # [N, N, K]
    spread = (2 * sigmas) ** 2  # COCO's (2σ)²
    similarity = np.exp(-squared / (2 * spread[:, None] * areas[:, None, None]))
    weights = np.where(np.isfinite(squared), np.nan_to_num(keypoint_scores)[:, None] + 1e-6, 0)
    total = weights.sum(-1)
    matrix = (np.nan_to_num(similarity) * weights).sum(-1) / np.maximum(total, 1e-12)
    matrix[total == 0] = 0
    return _greedy(matrix, order, limit)


def _greedy(similarity: np.ndarray, order: np.ndarray, limit: float) -> np.ndarray:
    kept: list[int] = []
    alive = np.ones(len(similarity), dtype=bool)
    for candidate in order:
        if alive[candidate]:
            kept.append(int(candidate))
            alive &= similarity[candidate] <= limit
    return np.asarray(kept, dtype=np.int64)
