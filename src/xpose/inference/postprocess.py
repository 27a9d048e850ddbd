"""Turns the network's groups into poses: candidates in pixels, thresholds and removal of duplicates.

Letters: G groups of the network, L classes, N candidates, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from xpose.errors import ConfigError
from xpose.geometry import pairwise_iou
from xpose.inference.encoded import EncodedClass, EncodedImage
from xpose.inference.engines import RawInstances
from xpose.model.checkpoints.calibration import DEFAULT_THRESHOLD, Calibration
from xpose.results import Poses
from xpose.vocabulary import keypoint_sigmas

_EXTREME = 0.01  # thresholds nearer to 0 or 1 do not say how high a class scores


@dataclass(frozen=True, eq=False)
class Candidates:
    """All groups of one picture in pixels of the original."""

    boxes: np.ndarray  # [G, 4] x1, y1, x2, y2
    scores: np.ndarray  # [G]
    classes: np.ndarray  # [G] class numbers
    xy: np.ndarray  # [G, K, 2]
    confidence: np.ndarray  # [G, K]
    errors: np.ndarray | None  # [G, K]
    every_score: np.ndarray  # [G, L], of all classes of the picture; NaN for those of other passes


@dataclass(frozen=True, eq=False)
class DecodingPass:
    """Classes that are decoded together."""

    numbers: np.ndarray  # indices among the picture's classes
    classes: list[EncodedClass]
    all_classes: int  # of the picture
    with_rivals: list[EncodedClass]  # the classes, followed by silent rivals
    required_logits: np.ndarray | None  # [L], subtracted from logits to compare classes


def candidates_of(raw: RawInstances, image: EncodedImage, decoding: DecodingPass, use: Calibration) -> Candidates:
    """The candidates of one picture in one decoding pass."""
    logits = raw.logits[:, : len(decoding.classes)]  # rivals come after the classes
    classes = _final_classes(logits, raw.group_class, decoding)
    scores = np.full((len(logits), decoding.all_classes), np.nan, raw.scores.dtype)
    scores[:, decoding.numbers] = raw.scores[:, : len(decoding.classes)]
    return in_pixels(raw, image, decoding.numbers[classes], scores, use)


def in_pixels(
    raw: RawInstances, image: EncodedImage, classes: np.ndarray, scores: np.ndarray, use: Calibration
) -> Candidates:
    """The groups of one picture as candidates of these classes [G], with the scores [G, L] of all classes."""
    scores = tempered(scores, use.temperature)
    corner, scale = np.array(image.frame[:2]), np.subtract(image.frame[2:], image.frame[:2])
    half = raw.boxes[:, 2:] / 2
    corners = np.concatenate((raw.boxes[:, :2] - half, raw.boxes[:, :2] + half), axis=1)
    boxes = np.tile(corner, 2) + corners.clip(0, 1) * np.tile(scale, 2)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
    return Candidates(
        boxes=boxes,
        scores=scores[np.arange(len(classes)), classes],
        classes=classes,
        xy=corner + raw.keypoints * scale,
        confidence=tempered(raw.confidence, use.keypoint_temperature),
        errors=None if raw.keypoint_error is None else raw.keypoint_error * sides,
        every_score=scores,
    )


def joined(parts: list[Candidates]) -> Candidates:
    """The candidates of several passes as one, with NaN beyond a class's keypoints."""
    widest = max(part.xy.shape[1] for part in parts)

    def stacked(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        if arrays[0] is None:
            return None
        if name in ("xy", "confidence", "errors"):
            beyond = [[(0, 0), (0, widest - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] for array in arrays]
            arrays = [np.pad(*padding, constant_values=np.nan) for padding in zip(arrays, beyond, strict=True)]
        return np.concatenate(arrays)

    return Candidates(*(stacked(field.name) for field in fields(Candidates)))


def poses_of(
    candidates: Candidates,
    kept: np.ndarray,
    image: EncodedImage,
    classes: Sequence[EncodedClass],
    least: float,
) -> Poses:
    """The poses of the candidates `kept`, in that order; keypoints with a confidence below `least` count as absent."""
    names = [classes[i].names for i in candidates.classes[kept]]
    widest = max((len(n.names) for n in names), default=0)
    confidence = candidates.confidence[kept][:, :widest]
    return Poses(
        boxes=candidates.boxes[kept].astype(np.float32),
        scores=candidates.scores[kept].astype(np.float32),
        categories=tuple(n.label for n in names),
        xy=candidates.xy[kept][:, :widest].astype(np.float32),
        keypoint_scores=confidence.astype(np.float32),
        visibility=np.where(np.nan_to_num(confidence, nan=-1.0) >= least, 2, 0).astype(np.uint8),
        keypoint_errors=None if candidates.errors is None else candidates.errors[kept][:, :widest].astype(np.float32),
        keypoint_names=tuple(n.names for n in names),
        canonical_names=tuple(n.canonical for n in names),
        edges=tuple(n.edges for n in names),
        image_size=(int(image.size[0]), int(image.size[1])),
        source=None if image.path is None else str(image.path),
    )


def _final_classes(logits: np.ndarray, opened: np.ndarray, decoding: DecodingPass) -> np.ndarray:
    """The class of each group, [G]: the best with the same keypoints as the class that opened it."""
    kinds: dict[tuple[str, ...], int] = {}
    kind = np.array([kinds.setdefault(entry.names.names, len(kinds)) for entry in decoding.classes])
    allowed = kind[None, :] == kind[opened][:, None]
    above = logits if decoding.required_logits is None else logits - decoding.required_logits
    return np.asarray(np.where(allowed, above, -np.inf).argmax(1))


def sigmas_of(classes: Sequence[EncodedClass], points: int) -> np.ndarray:
    """OKS sigmas of each class's points, [L, K]."""
    table = np.full((len(classes), points), 0.05)
    for row, entry in zip(table, classes, strict=True):
        names = entry.names
        row[: len(names.canonical)] = keypoint_sigmas(names.skeleton or "", names.canonical)
    return table


def thresholds_for(
    labels: list[str], threshold: float | Mapping[str, float] | None, stored: Mapping[str, float]
) -> np.ndarray:
    """The scores that objects of each class must exceed, [L].

    `threshold` is one number for all, numbers by class name ("" = all others), or None for the stored ones.

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
    """Reference logits to compare classes, [L]: those of their thresholds before `tempered`.

    The stored thresholds say how high a class usually scores. A class without one, or with one near 0 or 1, gets the
    mean of the others. None if all are the same.
    """
    shares = np.array([stored.get(label, np.nan) for label in labels])
    shares[(shares < _EXTREME) | (shares > 1 - _EXTREME)] = np.nan
    logits = _logits(shares) * temperature
    usual = logits[~np.isnan(logits)]
    if len(np.unique(usual)) < 2:
        return None
    return np.where(np.isnan(logits), usual.mean(), logits)


def check_share(what: str, value: object) -> float:
    """Check that a value is a number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigError(f"{what} is {value!r}. It must be a number from 0 to 1.")
    return float(value)


def tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits of scores from 0 to 1 by a temperature; order and NaN are preserved."""
    if temperature == 1:
        return scores
    logits = _logits(scores.astype(np.float64))
    return (1 / (1 + np.exp(-logits / temperature))).astype(scores.dtype)


def _logits(shares: np.ndarray) -> np.ndarray:
    """Logits; ±inf for 0 and 1, NaN for NaN."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(shares) - np.log1p(-shares))


def suppress_boxes(boxes: np.ndarray, order: np.ndarray, limit: float) -> np.ndarray:
    """Drop candidates of `order` (best first) that overlap a better one by more than `limit` (box IoU); 1 keeps all."""
    if len(order) < 2 or limit >= 1:
        return order
    return _greedy(pairwise_iou(boxes, boxes), order, limit)


def suppress_poses(
    xy: np.ndarray, keypoint_scores: np.ndarray, boxes: np.ndarray, order: np.ndarray, sigmas: np.ndarray, limit: float
) -> np.ndarray:
    """Drop candidates of `order` with the same pose as a better one (OKS over `limit`); 1 keeps all.

    Boxes of two embracing people overlap, but their poses differ; two boxes around one animal have the same pose.

    Args:
        xy: [N, K, 2] pixels; NaN where a candidate has fewer points.
        keypoint_scores: [N, K]; weights of the points of the better pose.
        boxes: [N, 4].
        order: candidate numbers, best first.
        sigmas: [N, K], of each candidate's keypoints.
        limit: the highest OKS of two kept poses.
    """
    if len(order) < 2 or xy.shape[1] == 0 or limit >= 1:
        return order
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-6)
    # OKS per pair: the weight of a point is its confidence in the better pose.
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
