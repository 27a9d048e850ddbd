"""The network's groups as candidates in pixels, and those that are kept as poses.

Letters: G groups of the network, L classes, N poses kept, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xpose.inference.encoded import EncodedClass, EncodedImage
from xpose.inference.engines import RawInstances
from xpose.inference.postprocess import tempered
from xpose.model.checkpoints.calibration import Calibration
from xpose.results import Poses
from xpose.vocabulary import sigma_for


@dataclass(frozen=True, eq=False)
class Candidates:
    """All groups of one picture in pixels of the original."""

    boxes: np.ndarray  # [G, 4] x1, y1, x2, y2
    scores: np.ndarray  # [G]
    classes: np.ndarray  # [G] class numbers
    xy: np.ndarray  # [G, K, 2]
    confidence: np.ndarray  # [G, K]
    errors: np.ndarray | None  # [G, K]


@dataclass(frozen=True, eq=False)
class DecodingPass:
    """Classes that go through the decoders together."""

    numbers: np.ndarray  # among all classes of the picture
    classes: list[EncodedClass]
    with_rivals: list[EncodedClass]  # the same, and after them silent rivals
    required_logits: np.ndarray | None  # what the classes are compared above


def candidates_of(raw: RawInstances, image: EncodedImage, asked: DecodingPass, use: Calibration) -> Candidates:
    """The network's answer about one picture and the classes of one pass."""
    height, width = image.size
    scale = np.array([width, height])
    logits = raw.logits[:, : len(asked.classes)]  # rivals come after the classes
    classes = _final_classes(logits, raw.group_class, asked)
    half = raw.boxes[:, 2:] / 2
    corners = np.concatenate((raw.boxes[:, :2] - half, raw.boxes[:, :2] + half), axis=1)
    boxes = np.clip(corners * np.tile(scale, 2), 0, [width, height, width, height])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
    return Candidates(
        boxes=boxes,
        scores=tempered(raw.scores[np.arange(len(classes)), classes], use.temperature),
        classes=asked.numbers[classes],
        xy=raw.keypoints * scale,
        confidence=tempered(raw.confidence, use.keypoint_temperature),
        errors=None if raw.keypoint_error is None else raw.keypoint_error * sides,
    )


def joined(parts: list[Candidates]) -> Candidates:
    """The candidates of several passes as one."""
    if len(parts) == 1:
        return parts[0]
    widest = max(part.xy.shape[1] for part in parts)
    errors = [_widened(part.errors, widest) for part in parts if part.errors is not None]
    return Candidates(
        boxes=np.concatenate([part.boxes for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        xy=np.concatenate([_widened(part.xy, widest) for part in parts]),
        confidence=np.concatenate([_widened(part.confidence, widest) for part in parts]),
        errors=np.concatenate(errors) if errors else None,
    )


def _widened(array: np.ndarray, points: int) -> np.ndarray:
    """[G, K, ...] with NaN up to K points."""
    missing = [(0, 0), (0, points - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, missing, constant_values=np.nan)


def poses_of(
    candidates: Candidates, kept: np.ndarray, image: EncodedImage, classes: Sequence[EncodedClass], least: float
) -> Poses:
    """The kept candidates, in that order; keypoints with a confidence below `least` count as absent."""
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


def _final_classes(logits: np.ndarray, opened: np.ndarray, asked: DecodingPass) -> np.ndarray:
    """The class of each group, [G]: the best of those that share the keypoints the group was opened with."""
    kinds: dict[tuple[str, ...], int] = {}
    kind = np.array([kinds.setdefault(entry.names.names, len(kinds)) for entry in asked.classes])
    allowed = kind[None, :] == kind[opened][:, None]
    above = logits if asked.required_logits is None else logits - asked.required_logits
    return np.where(allowed, above, -np.inf).argmax(1)


def sigmas_of(classes: Sequence[EncodedClass], points: int) -> np.ndarray:
    """Spread of each class's points, [L, K]."""
    table = np.full((len(classes), points), 0.05)
    for row, entry in zip(table, classes, strict=True):
        row[: len(entry.names.canonical)] = [sigma_for(name) for name in entry.names.canonical]
    return table
