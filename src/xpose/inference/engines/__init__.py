"""Engines run the network on arrays and return arrays; `torch.py` runs it with PyTorch, `graphs.py`
with ONNX Runtime or OpenVINO.

Letters: B images, G groups of the network, L classes, K keypoints, C width of the network, D width of an embedding,
n example pictures, h and w of the network's input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from xpose.inference.encoded import BoxArrays, PromptArrays
from xpose.model.config import XPoseConfig

__all__ = ["Engine", "RawInstances", "fingerprint_of"]


@dataclass(frozen=True, eq=False)
class RawInstances:
    """The network's output for one image, best first; boxes and points are in [0, 1] of the picture."""

    logits: np.ndarray  # [G, L]
    scores: np.ndarray  # [G, L], the logits' sigmoid
    boxes: np.ndarray  # [G, 4] cx, cy, w, h
    group_class: np.ndarray  # [G], the class whose keypoints the group has
    keypoints: np.ndarray  # [G, K, 2], NaN beyond a class's own points
    confidence: np.ndarray  # [G, K]
    keypoint_error: np.ndarray | None = None  # [G, K], in units of the box's longer side; None if not predicted
    object_cosine: np.ndarray | None = None  # [G, L], if requested
    keypoint_cosine: np.ndarray | None = None  # [G, K], if requested


class Engine(Protocol):
    """Runs one network; safe to use from several threads."""

    @property
    def config(self) -> XPoseConfig:
        """The settings of the network."""

    def side_by_side(self) -> tuple[Engine, int]:
        """The engine for several calls at once, and how many of them are worth it: 1 if they would not be faster."""

    @property
    def resizes(self) -> bool:
        """Whether to give pictures to `encode_pictures` as they are, instead of prepared ones to `encode`."""

    def project(self, objects: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project embeddings of objects and keypoints, [..., D] each, to prompt tokens [..., C]."""

    def encode_examples(
        self, pictures: np.ndarray, points: np.ndarray, visible: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of the object [n, D] and of each keypoint [n, K, D] in n example pictures.

        Args:
            pictures: [n, 3, s, s] float32, prepared by `model/prompting/picture.py`.
            points: [n, K, 2], x and y in [0, 1] of the picture; ignored if invisible.
            visible: [n, K] bool.

        Raises:
            CheckpointError: the weights hold no encoder for example pictures.
        """

    def encode(self, images: np.ndarray) -> object:
        """Run the prompt-free part on normalised images [B, 3, h, w], float32, and return features for `decode`."""

    def encode_pictures(self, pictures: Sequence[np.ndarray], height: int, width: int) -> object:
        """`encode` of pictures of any sizes, RGB bytes [h', w', 3], resized to h × w; only called if `resizes`."""

    def decode(
        self, features: object, prompts: PromptArrays, instances: int | None = None, *, with_cosines: bool = False
    ) -> list[RawInstances]:
        """Detect in encoded images.

        Args:
            features: from `encode`.
            prompts: what to look for in each image.
            instances: how many groups to return per image; None for the network's number.
            with_cosines: also return the cosines of queries and prompt tokens.
        """

    def decode_known(self, features: object, prompts: PromptArrays, known: BoxArrays) -> list[RawInstances]:
        """Find the keypoints of objects in known boxes, in the order of the boxes; see `XPose.decode_known`."""

    def fingerprint(self) -> str:
        """A short text shared only by networks with the same prompt tokens."""

    @property
    def runtime(self) -> str:
        """What runs the network, with its version."""

    @property
    def identity(self) -> str:
        """The sha256 of all weights; computed once."""


def fingerprint_of(config: XPoseConfig, projection: Iterable[np.ndarray]) -> str:
    """A short text shared only by networks with the same prompt tokens, from the weights of both projections."""
    digest = hashlib.sha256(config.name.encode())
    for weights in projection:
        digest.update(weights.tobytes())
    return f"{config.name}:{digest.hexdigest()[:16]}"
