"""The frozen objects that flow between the five stages of the network.

Shape letters, used in every tensor file of this package:

    B  images in the batch            N  image tokens of all levels, fine to coarse, row by row
    L  object classes in the prompt   Q  object queries
    S  keypoint sets in the prompt    G  instances kept for keypoint decoding ("groups")
    K  keypoints of a set             C  channels inside the network
    D  width of a prompt embedding    H  attention heads

From `PromptEmbeddings` on, words and example pictures are treated alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xpose.errors import PromptError

Embeddings: TypeAlias = Tensor | np.ndarray


@dataclass(frozen=True)
class PromptEmbeddings:
    """Prompts as embeddings, the only form that the network accepts.

    Classes can have their own keypoint sets or share one; `keypoint_set` maps each class to its set.
    Images of one batch can have different prompts; masks are True where an entry is real.
    """

    objects: Tensor  # [B, L, D]
    object_mask: Tensor  # [B, L] bool
    keypoints: Tensor  # [B, S, K, D]
    keypoint_mask: Tensor  # [B, S, K] bool
    keypoint_set: Tensor  # [B, L] int64

    @classmethod
    def from_lists(
        cls, objects: Sequence[Embeddings], keypoints: Sequence[Embeddings | Sequence[Embeddings]]
    ) -> PromptEmbeddings:
        """Build from one entry per image.

        Args:
            objects: per image a tensor or an array [L_b, D], one row per class.
            keypoints: per image one [K_b, D] that all classes share, or a list of L_b such ones, one per class.

        Raises:
            PromptError: an entry has the wrong shape, an image has no class, or the lists do not fit together.
        """
        shared = [isinstance(entry, Embeddings) for entry in keypoints]
        sets = [
            [torch.as_tensor(rows) for rows in ([entry] if alone else entry)]
            for entry, alone in zip(keypoints, shared, strict=True)
        ]
        object_rows = [torch.as_tensor(rows) for rows in objects]
        tensors = [*object_rows, *chain.from_iterable(sets)]
        fits = len(objects) == len(sets) > 0 and all(tensor.ndim == 2 for tensor in tensors)
        fits = fits and len({tensor.shape[1] for tensor in tensors}) == 1
        if not fits or not all(
            len(rows) and (alone or len(entry) == len(rows))
            for rows, entry, alone in zip(object_rows, sets, shared, strict=True)
        ):
            raise PromptError(
                f"Got objects of shapes {[tuple(rows.shape) for rows in objects]} and keypoints of shapes "
                f"{[[tuple(tensor.shape) for tensor in entry] for entry in sets]}. Both need one entry per image, "
                "and at least one: objects [classes, width] with at least one class, keypoints [keypoints, width] or a "
                "list with one such tensor per class, all of one width, that is from the same prompt encoder."
            )
        object_tensor, object_mask = pad_rows(object_rows)
        most_sets = max(map(len, sets))
        padded_sets = [s[i] if i < len(s) else s[0][:0] for s in sets for i in range(most_sets)]
        keypoint_tensor, keypoint_mask = pad_rows(padded_sets)
        batch, classes = object_mask.shape
        several = torch.tensor([len(image_sets) > 1 for image_sets in sets], device=object_tensor.device)
        keypoint_set = torch.arange(classes, device=object_tensor.device) * (object_mask & several[:, None])
        return cls(
            object_tensor,
            object_mask,
            keypoint_tensor.unflatten(0, (batch, most_sets)),
            keypoint_mask.unflatten(0, (batch, most_sets)),
            keypoint_set,
        )

    def __len__(self) -> int:
        """The number of images that this prompt is for."""
        return self.objects.shape[0]

    def to(self, target: torch.device | str | torch.dtype) -> PromptEmbeddings:
        """Move to a device, or change the floating dtype."""
        only_floats = isinstance(target, torch.dtype)
        return self._changed(lambda t: t if only_floats and not t.is_floating_point() else t.to(target))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> PromptEmbeddings:
        return PromptEmbeddings(*(change(getattr(self, field.name)) for field in fields(self)))

    def expand(self, batch: int) -> PromptEmbeddings:
        """The same prompt for every image of a batch, unless it already has one entry per image.

        Raises:
            PromptError: the prompt is for a number of images that is neither 1 nor `batch`.
        """
        if len(self) == batch:
            return self
        if len(self) != 1:
            raise PromptError(
                f"The prompts are for {len(self)} images, the batch has {batch}. "
                "Give one entry per image, or one for all."
            )
        return self._changed(lambda t: t.expand(batch, *t.shape[1:]))


def pad_rows(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one zero-padded tensor, and the mask of real rows."""
    longest = max(r.shape[0] for r in rows)
    lengths = torch.tensor([r.shape[0] for r in rows], device=rows[0].device)
    mask = torch.arange(longest, device=rows[0].device) < lengths[:, None]
    return pad_sequence(rows, batch_first=True), mask


@dataclass(frozen=True)
class ProjectedPrompts:
    """Prompt tokens in the network's own width; made once per forward from `PromptEmbeddings`."""

    objects: Tensor  # [B, L, C]
    object_mask: Tensor | None  # [B, L] bool, None if nothing is padded
    keypoints: Tensor  # [B, S, K, C]
    keypoint_mask: Tensor  # [B, S, K] bool
    keypoint_set: Tensor  # [B, L]
    silent: Tensor | None = None  # [B, L] bool, True for classes that compete but are never predicted
    required_logits: Tensor | None = None  # [B, L], what each class must exceed; None if all are equal
    counts: tuple[tuple[int, int], ...] | None = None  # classes and keypoints of each image; None = see the masks

    def answering(self, scores: Tensor) -> Tensor:
        """Scores [B, N, L] relative to what each class requires, to choose results; −inf for silent classes."""
        if self.required_logits is not None:
            scores = scores - self.required_logits[:, None]
        return scores if self.silent is None else scores.masked_fill(self.silent[:, None], -math.inf)


def prompt_counts(object_mask: Tensor, keypoint_mask: Tensor) -> tuple[tuple[int, int], ...]:
    """The numbers of classes and of keypoints of each image; waits for the device of the masks."""
    classes, points = object_mask.sum(1).tolist(), keypoint_mask.sum(2).amax(1).tolist()
    return tuple(zip(classes, points, strict=True))


@dataclass(frozen=True)
class LevelGeometry:
    """The positions of the flattened levels' tokens in the padded picture."""

    shapes: tuple[tuple[int, int], ...]  # (height, width) of each level, fine to coarse
    padding: Tensor | None  # [B, N] bool, True = padding; None if no image is padded
    valid_ratios: Tensor  # [B, levels, 2]: share of real columns (x) and rows (y)


@dataclass(frozen=True)
class ImageFeatures:
    """Prompt-free features of a picture, computed once for many prompts."""

    tokens: Tensor  # [B, N, C]
    positions: Tensor  # [B or 1, N, C], sine code plus level embedding
    geometry: LevelGeometry


@dataclass(frozen=True)
class EncodedScene:
    """Image tokens and object tokens after the encoder."""

    tokens: Tensor  # [B, N, C]
    objects: Tensor  # [B, L, C], the enhanced object tokens
    prompts: ProjectedPrompts
    geometry: LevelGeometry


@dataclass(frozen=True)
class ObjectQueries:
    """The tokens chosen by prompt similarity, best first, as queries of the object decoder."""

    content: Tensor  # [B, Q, C]
    boxes: Tensor  # [B, Q, 4] cx, cy, w, h
    tokens: Tensor  # [B, Q] which image token each query comes from
    scores: Tensor  # [B, Q, L] class scores of the chosen tokens
    every: LayerReport | None = None  # of all N tokens, if reports were requested and peaks are selected
    centres: Tensor | None = None  # likewise of all N tokens, [B or 1, N, 2]


@dataclass(frozen=True)
class GivenQueries:
    """Object queries from the caller: training adds noised objects and trains the network to restore the true ones.

    Runs of `run` queries see only each other, and no other query sees them, so that they do not change the predictions.
    P of the E queries open a keypoint group.
    """

    classes: Tensor  # [B, E], the class whose token is the query's content
    boxes: Tensor  # [B, E, 4] in [0, 1] of the picture, excluding padding, where the queries start
    real: Tensor  # [B, E] bool, False where a run has an empty place
    run: int
    opened: Tensor  # [B, P], which of the queries open a keypoint group
    group_class: Tensor  # [B, P], the class whose keypoints the group looks for
    points: Tensor  # [B, P, K, 2], initial keypoints; NaN = the network's first guess


@dataclass(frozen=True)
class LayerReport:
    """The predictions of one decoder layer, for the losses."""

    logits: Tensor  # [B, Q or G, L]
    boxes: Tensor  # [B, Q or G, 4]
    keypoints: Tensor | None = None  # [B, G, K, 2]
    keypoint_logits: Tensor | None = None  # [B, G, K, K]: row = query, column = prompt
    visibility: Tensor | None = None  # [B, G, K] logits of the visibility head, if the network has one
    object_cosine: Tensor | None = None  # [B, G, L]: query and object token, keypoint layers only
    keypoint_cosine: Tensor | None = None  # [B, G, K]: keypoint query and its own prompt token
    log_error: Tensor | None = None  # [B, G, K]: log of the expected error in units of the box's longer side


@dataclass(frozen=True)
class PoseMaps:
    """Scores of each keypoint in a frame around each instance; R · R cells, row by row."""

    logits: Tensor  # [B, G, K, R · R]
    frames: Tensor  # [B, G, 4] cx, cy, w, h: the instance's box with a margin


@dataclass(frozen=True)
class Instances:
    """The instances kept after the object decoder, each with the keypoints of its own class, once these are decoded."""

    content: Tensor  # [B, G, C], raw output of the last object layer
    boxes: Tensor  # [B, G, 4], refined
    group_class: Tensor  # [B, G], the class whose keypoints the group looks for
    queries: Tensor  # [B, G], which of the Q queries each one was
    reports: tuple[LayerReport, ...] = ()
    points: Tensor | None = None  # [B, G, K, 2], initial keypoints; NaN or None = the network's first guess
    logits: Tensor | None = None  # [B, G, L], predicted instead of the last layer's
    keypoint_mask: Tensor | None = None  # [B, G, K] bool, set by keypoint decoding, like `maps` if present
    maps: PoseMaps | None = None


@dataclass(frozen=True)
class Trace:
    """What the losses read besides the predictions, not cropped to each image's prompt."""

    prompts: ProjectedPrompts
    proposals: ObjectQueries
    group_class: Tensor  # [B, G]
    given: tuple[LayerReport, ...] = ()  # of the given queries: object layers [B, E], then keypoint layers [B, P]
    maps: PoseMaps | None = None  # if the network has them


@dataclass(frozen=True)
class Predictions:
    """The network's predictions per image, with instances in selection order, best first.

    Boxes and keypoints are in [0, 1] of the picture, excluding padding.
    Rows of `keypoints` and `keypoint_confidence` beyond the number of keypoints of an instance's own class are NaN.
    """

    logits: tuple[Tensor, ...]  # [G, L_b]
    boxes: tuple[Tensor, ...]  # [G, 4] cx, cy, w, h
    keypoints: tuple[Tensor, ...]  # [G, K_b, 2]
    keypoint_confidence: tuple[Tensor, ...]  # [G, K_b]
    group_class: tuple[Tensor, ...]  # [G]
    visibility: tuple[Tensor, ...] | None = None  # [G, K_b], if the network has a visibility head
    object_cosine: tuple[Tensor, ...] = ()  # [G, L_b], in −1..1; see `Detector.similarity`
    keypoint_cosine: tuple[Tensor, ...] = ()  # [G, K_b]
    keypoint_error: tuple[Tensor, ...] | None = None  # [G, K_b], expected, in units of the box's longer side
    reports: tuple[LayerReport, ...] = ()  # object layers, then keypoint layers, if reports were requested
    trace: Trace | None = None  # if reports were requested

    def __len__(self) -> int:
        """The number of images."""
        return len(self.boxes)

    @property
    def scores(self) -> tuple[Tensor, ...]:
        """Best class score of every instance, in [0, 1]."""
        return tuple(logits.sigmoid().amax(-1) for logits in self.logits)


def to_array(tensor: Tensor) -> np.ndarray:
    """A tensor as an array; half precision becomes float32, as numpy has no bfloat16."""
    wide = tensor.is_floating_point() and tensor.dtype != torch.float64
    return tensor.detach().to("cpu", torch.float32 if wide else tensor.dtype).numpy()


def to_arrays(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """`to_array` of several tensors, in a single copy: each copy would wait for the device. Numbers stay below 2²⁴."""
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    packed = torch.cat([tensor.detach().to(dtype).flatten() for tensor in tensors]).cpu()
    pieces = packed.split([tensor.numel() for tensor in tensors])
    return [
        (piece if tensor.is_floating_point() else piece.to(tensor.dtype)).view(tensor.shape).numpy()
        for tensor, piece in zip(tensors, pieces, strict=True)
    ]
