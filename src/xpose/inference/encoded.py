"""Prepared and encoded pictures, encoded prompts and the prompt input of engines.

Letters: B images, L classes, S keypoint sets, K keypoints, C width of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xpose.errors import PromptError
from xpose.prompts import PromptClass


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture that has been read, and resized and normalised unless the engine does that."""

    values: np.ndarray  # [3, h, w] float32, or RGB bytes [h', w', 3] if the engine resizes
    input_size: tuple[int, int]  # h, w
    size: tuple[int, int]  # height, width of the upright picture
    frame: tuple[int, int, int, int]  # x1, y1, x2, y2 of the part that the network sees
    path: Path | None


@dataclass(frozen=True)
class EncodedImage:
    """A picture after the prompt-free part of the network, to be prompted any number of times."""

    features: object  # of the engine that made them
    size: tuple[int, int]  # height, width of the upright picture
    frame: tuple[int, int, int, int]  # x1, y1, x2, y2 of the part that is encoded
    path: Path | None


@dataclass(frozen=True, eq=False)
class EncodedClass:
    """One class, ready for the network: its tokens, and the names that results use."""

    names: PromptClass
    object_token: np.ndarray  # [C]
    keypoint_tokens: np.ndarray  # [K, C]
    silent: bool = False  # seen by other classes but not in the results


@dataclass(frozen=True, eq=False)
class PromptArrays:
    """The prompts of a batch; masks are True where an entry is real."""

    objects: np.ndarray  # [B, L, C]
    object_mask: np.ndarray | None  # [B, L] bool, None if nothing is padded
    keypoints: np.ndarray  # [B, S, K, C]
    keypoint_mask: np.ndarray  # [B, S, K] bool
    keypoint_set: np.ndarray  # [B, L] int64, the set of each class
    silent: np.ndarray | None = None  # [B, L] bool, None if no class is silent
    required_logits: np.ndarray | None = None  # [B, L], None if all are equal


@dataclass(frozen=True, eq=False)
class BoxArrays:
    """The known objects of a batch; rows beyond those of an image repeat any box."""

    boxes: np.ndarray  # [B, N, 4] float32; cx, cy, w, h in [0, 1] of the encoded part of the picture
    classes: np.ndarray  # [B, N] int64


def assemble(
    classes: Sequence[Sequence[EncodedClass]], required_logits: Sequence[np.ndarray | None] = ()
) -> PromptArrays:
    """Combine prompts into a batch. Classes with the same keypoint array share a set.

    `required_logits` has, per image, the logits that its first classes must exceed; None if all are equal.

    Raises:
        PromptError: an image has no class.
    """
    if not classes or not all(classes):
        raise PromptError("An image has no prompt. Every image needs at least one class to look for.")
    sets: list[list[np.ndarray]] = []
    set_numbers: list[np.ndarray] = []
    for image in classes:
        by_id = {id(entry.keypoint_tokens): entry.keypoint_tokens for entry in image}
        place = {key: number for number, key in enumerate(by_id)}
        sets.append(list(by_id.values()))
        set_numbers.append(np.array([place[id(entry.keypoint_tokens)] for entry in image]))
    most = max(map(len, sets))
    objects, mask = _padded([np.stack([entry.object_token for entry in image]) for image in classes])
    silent, _ = _padded([np.array([entry.silent for entry in image]) for image in classes])
    keypoints, real = _padded([s[i] if i < len(s) else s[0][:0] for s in sets for i in range(most)])
    required = None
    if any(row is not None for row in required_logits):
        required = np.zeros(objects.shape[:2], objects.dtype)
        for line, row in zip(required, required_logits, strict=True):
            if row is not None:
                line[: len(row)] = row
    return PromptArrays(
        objects=objects,
        object_mask=None if mask.all() else mask,
        keypoints=keypoints.reshape(len(classes), most, *keypoints.shape[1:]),
        keypoint_mask=real.reshape(len(classes), most, -1),
        keypoint_set=_padded(set_numbers)[0],
        silent=silent if silent.any() else None,
        required_logits=required,
    )


def _padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of unequal length as one zero-padded array, and the mask of real entries."""
    mask = np.arange(max(map(len, rows))) < np.array([len(row) for row in rows])[:, None]
    if mask.all():
        return np.stack(rows), mask
    padded = np.zeros((*mask.shape, *rows[0].shape[1:]), rows[0].dtype)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return padded, mask
