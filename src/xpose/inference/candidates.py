"""The network's groups as candidates, and the kept ones of these as poses.

Letters: G groups of the network, L classes, N poses kept, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xpose.inference.encoding import EncodedClass
from xpose.inference.postprocess import tempered
from xpose.model.checkpoints.calibration import Calibration
from xpose.model.types import Predictions
from xpose.results import Poses
from xpose.vocabulary import sigma_for

if TYPE_CHECKING:
    from xpose.inference.encoded import EncodedImage


@dataclass(frozen=True)
class Candidates:
    """All groups of one picture in pixels of the original."""

    boxes: np.ndarray  # [G, 4] x1, y1, x2, y2
    scores: np.ndarray  # [G]
    chosen: np.ndarray  # [G] class numbers
    xy: np.ndarray  # [G, K, 2]
    confidence: np.ndarray  # [G, K]


@dataclass(frozen=True)
class Party:
    """Classes that go through the decoders together."""

    numbers: np.ndarray  # among all classes of the picture
    classes: list[EncodedClass]
    together: list[EncodedClass]  # the same, and after them silent rivals
    bars: np.ndarray | None  # logits that the classes are compared above


def candidates_of(
    found: Predictions, b: int, image: EncodedImage, party: Party, calibration: Calibration
) -> Candidates:
    """What the network says of picture `b` of a batch, of the classes of a party."""
    height, width = image.size
    scale = np.array([width, height])
    logits = found.logits[b].float().cpu().numpy()[:, : len(party.classes)]  # rivals come after the classes
    chosen = _final_class(logits, found.group_class[b].cpu().numpy(), party)
    confidence = found.keypoint_confidence[b] if found.visibility is None else found.visibility[b]
    boxes = _corners(found.boxes[b].float().cpu().numpy()) * np.tile(scale, 2)
    scores = found.logits[b].sigmoid().float().cpu().numpy()[np.arange(len(chosen)), chosen]
    return Candidates(
        boxes=np.clip(boxes, 0, [width, height, width, height]),
        scores=tempered(scores, calibration.temperature),
        chosen=party.numbers[chosen],
        xy=found.keypoints[b].float().cpu().numpy() * scale,
        confidence=tempered(confidence.float().cpu().numpy(), calibration.keypoint_temperature),
    )


def joined(some: list[Candidates]) -> Candidates:
    """The candidates of several parties as one."""
    if len(some) == 1:
        return some[0]
    widest = max(one.xy.shape[1] for one in some)
    return Candidates(
        boxes=np.concatenate([one.boxes for one in some]),
        scores=np.concatenate([one.scores for one in some]),
        chosen=np.concatenate([one.chosen for one in some]),
        xy=np.concatenate([_wider(one.xy, widest) for one in some]),
        confidence=np.concatenate([_wider(one.confidence, widest) for one in some]),
    )


def _wider(rows: np.ndarray, points: int) -> np.ndarray:
    """[G, K, ...] with NaN up to K points."""
    missing = [(0, 0), (0, points - rows.shape[1]), *[(0, 0)] * (rows.ndim - 2)]
    return np.pad(rows, missing, constant_values=np.nan)


def poses_of(
    candidates: Candidates, kept: np.ndarray, image: EncodedImage, classes: list[EncodedClass], least: float
) -> Poses:
    """The kept candidates, in that order; points that are less sure than `least` count as absent."""
    names = [classes[i].names for i in candidates.chosen[kept]]
    widest = max((len(n.names) for n in names), default=0)
    certain = candidates.confidence[kept][:, :widest]
    return Poses(
        boxes=candidates.boxes[kept].astype(np.float32),
        scores=candidates.scores[kept].astype(np.float32),
        categories=tuple(n.label for n in names),
        xy=candidates.xy[kept][:, :widest].astype(np.float32),
        keypoint_scores=certain.astype(np.float32),
        visibility=np.where(np.nan_to_num(certain, nan=-1.0) >= least, 2, 0).astype(np.uint8),
        keypoint_names=tuple(n.names for n in names),
        canonical_names=tuple(n.canonical for n in names),
        edges=tuple(n.edges for n in names),
        image_size=(int(image.size[0]), int(image.size[1])),
        source=None if image.path is None else str(image.path),
    )


def _final_class(logits: np.ndarray, opened: np.ndarray, party: Party) -> np.ndarray:
    """The class of each group, [G]: the best of those that share the keypoints the group was opened with."""
    kinds: dict[tuple[str, ...], int] = {}
    kind = np.array([kinds.setdefault(one.names.names, len(kinds)) for one in party.classes])
    allowed = kind[None, :] == kind[opened][:, None]
    above = logits if party.bars is None else logits - party.bars
    return np.where(allowed, above, -np.inf).argmax(1)


def _corners(boxes: np.ndarray) -> np.ndarray:
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def sigmas_of(classes: list[EncodedClass], points: int) -> np.ndarray:
    """Spread of each class's points, [L, K]."""
    table = np.full((len(classes), points), 0.05)
    for row, one in zip(table, classes, strict=True):
        row[: len(one.names.canonical)] = [sigma_for(name) for name in one.names.canonical]
    return table
