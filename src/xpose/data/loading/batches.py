"""The input of the training loop: frozen batches of CPU tensors, labels by name.

Sizes: B pictures, G instances of a picture, K keypoints of its largest kind, n cut-outs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from xpose.data.loading.examples import CutOut
from xpose.data.loading.pictures import FILL
from xpose.data.loading.samples import Key, Kind, Sample, by_name

Mode = Literal["text", "visual", "combined"]
# A point's name -> the other end of its line, and where on the line the new point is, from 0 to 1.
Lines = Mapping[str, tuple[str, float]]


@dataclass(frozen=True)
class PromptedKind:
    """A kind with which a picture is prompted."""

    kind: Kind
    present: bool
    complete: bool  # every object of it in the picture is labelled: an unlabelled detection is wrong


@dataclass(frozen=True)
class Target:
    """The labels of one picture of a batch. Coordinates are continuous pixels of the batch's picture."""

    asked: tuple[PromptedKind, ...]  # present kinds, then kinds known to be absent
    labels: Tensor  # [G] rows of `asked`
    boxes: Tensor  # [G, 4] left, top, right, bottom
    points: Tensor  # [G, K, 3] x, y, visibility in the order of the kind's names; rows past them are zero
    ignored: Tensor  # [M, 4] regions (crowds, parts of objects) where a detection is neither right nor wrong
    ignored_labels: Tensor  # [M] rows of `asked`, -1 for a kind that is not in it
    source: str
    file: str
    style: str | None
    pictures: tuple[int, ...]  # numbers in the pool
    matrix: Tensor  # [2, 3] from the stored picture's continuous pixels to these; in a mosaic, of the first picture
    whole: bool = False  # unlabelled points of objects with labelled ones are not in the picture

    def keypoints(self, row: int) -> dict[str, tuple[float, float, int]]:
        """The labelled points of an instance by name."""
        return by_name(self.asked[int(self.labels[row])].kind, self.points[row])


@dataclass(frozen=True)
class Shot:
    """One example: a row of the batch's cut-outs, with its points."""

    row: int
    kind: Kind
    points: Tensor  # [K, 3] x, y in continuous pixels of the cut-out, visibility
    picture: int
    instance: int


@dataclass(frozen=True)
class Batch:
    """The pictures of one step (of one rank), with their prompted kinds and the examples."""

    step: int
    mode: Mode  # of the prompts; the same on every rank
    limit: int  # most keypoints of a kind in the step's bucket
    images: Tensor  # [B, 3, h, w] RGB bytes
    sizes: Tensor  # [B, 2] height and width of each picture; the rest is padding
    targets: tuple[Target, ...]
    crops: Tensor  # [n, 3, side, side] RGB bytes; empty for text
    shots: Mapping[Key, tuple[Shot, ...]]  # a kind without an entry has no example

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def padding(self) -> Tensor:
        """[B, h, w] bool, True where there is no picture."""
        height, width = self.images.shape[2:]
        rows = torch.arange(height, device=self.sizes.device)[None, :, None] >= self.sizes[:, :1, None]
        columns = torch.arange(width, device=self.sizes.device)[None, None] >= self.sizes[:, 1:, None]
        return rows | columns

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return replace(
            _moved(self, device),
            targets=tuple(_moved(target, device) for target in self.targets),
            shots={key: tuple(_moved(shot, device) for shot in shots) for key, shots in self.shots.items()},
        )


def _moved(value: _Tensors, device: torch.device | str) -> _Tensors:
    """A copy of a dataclass with its own tensors on a device."""
    moved: dict[str, Any] = {
        name: tensor.to(device, non_blocking=True) for name, tensor in vars(value).items() if isinstance(tensor, Tensor)
    }
    return replace(value, **moved)


_Tensors = TypeVar("_Tensors", Batch, Target, Shot)


def target_of(sample: Sample, asked: Sequence[PromptedKind], whole: bool = False) -> Target:
    """The target of a sample: its objects of the kinds in `asked`. `whole` defines what a missing label means."""
    row_of = {entry.kind: row for row, entry in enumerate(asked)}
    labels, crowd = sample.labels, sample.labels.crowd
    rows = np.array([row_of.get(kind, -1) for kind in labels.kinds], np.int64)
    numbers = rows[labels.label] if len(labels) else np.zeros(0, np.int64)
    objects = ~crowd & (numbers >= 0)
    real = labels.take(objects)
    width = max((len(labels.kinds[i]) for i in np.unique(real.label)), default=0)
    return Target(
        tuple(asked),
        torch.from_numpy(numbers[objects]),
        torch.from_numpy(real.boxes.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(real.points[:, :width], np.float32)),
        torch.from_numpy(labels.boxes[crowd].astype(np.float32)),
        torch.from_numpy(numbers[crowd]),
        sample.source,
        sample.file,
        sample.style,
        sample.pictures,
        torch.from_numpy(sample.matrix.astype(np.float32)),
        whole,
    )


def collate(
    step: int,
    mode: Mode,
    limit: int,
    samples: Sequence[Sample],
    targets: Sequence[Target],
    examples: Mapping[Key, Sequence[CutOut]],
) -> Batch:
    """Build the batch. Pictures of different sizes are padded right and bottom with the mean colour."""
    height = max(sample.pixels.shape[0] for sample in samples)
    width = max(sample.pixels.shape[1] for sample in samples)
    images = np.empty((len(samples), 3, height, width), np.uint8)
    for image, sample in zip(images, samples, strict=True):
        h, w = sample.pixels.shape[:2]
        if (h, w) != (height, width):
            image[:] = np.array(FILL, np.uint8)[:, None, None]
        image[:, :h, :w] = sample.pixels.transpose(2, 0, 1)
    rows = count()
    shots = {
        key: tuple(
            Shot(next(rows), cut_out.kind, torch.from_numpy(cut_out.points.copy()), cut_out.picture, cut_out.instance)
            for cut_out in cut_outs
        )
        for key, cut_outs in examples.items()
        if cut_outs
    }
    crops = [cut_out.pixels.transpose(2, 0, 1) for cut_outs in examples.values() for cut_out in cut_outs]
    sizes = torch.tensor([sample.pixels.shape[:2] for sample in samples], dtype=torch.long)
    stacked = torch.from_numpy(np.stack(crops)) if crops else torch.zeros((0, 3, 0, 0), dtype=torch.uint8)
    return Batch(step, mode, limit, torch.from_numpy(images), sizes, tuple(targets), stacked, shots)


def move_between(
    rng: np.random.Generator, targets: Sequence[Target], examples: Mapping[Key, Sequence[CutOut]]
) -> tuple[list[Target], dict[Key, list[CutOut]]]:
    """The targets and examples with points between the labelled ones, for kinds that have examples.

    A network that repeatedly sees the same few kinds memorises their points and uses the example only as a name for the
    kind. Random points between two labelled ones, drawn anew in every step, can only be found by looking at the
    example. Each point moves part of the way to a randomly drawn point of its kind (one in K draws itself and stays),
    in the same way in all pictures. The new point is labelled if both points are. Targets keep only points that an
    example shows, because nothing else defines where they are.
    """
    lines = {key: _lines(rng, cut_outs) for key, cut_outs in examples.items() if cut_outs}
    moved: dict[Key, list[CutOut]] = {key: [] for key in examples}
    shown: dict[Key, set[str]] = {key: set() for key in examples}
    for key in lines:
        for cut_out in examples[key]:
            moved[key].append(replace(cut_out, points=_between(cut_out.points, cut_out.kind, lines[key])))
            shown[key].update(moved[key][-1].keypoints)
    return [_retargeted(target, lines, shown) for target in targets], moved


def _lines(rng: np.random.Generator, cut_outs: Sequence[CutOut]) -> Lines:
    names = list(dict.fromkeys(name for cut_out in cut_outs for name in cut_out.kind.names))
    ends = rng.integers(0, max(1, len(names)), len(names)).tolist()
    shares = rng.random(len(names)).tolist()
    return {name: (names[end], share) for name, end, share in zip(names, ends, shares, strict=True)}


def _between(points: np.ndarray, kind: Kind, lines: Lines) -> np.ndarray:
    """Moved points [..., K, 3] with K at least the kind's; points are dropped if the kind lacks their line's end."""
    row = {name: i for i, name in enumerate(kind.names)}
    kind_lines = [lines.get(name, ("", 0.0)) for name in kind.names]
    ends = np.array([row.get(end, -1) for end, _ in kind_lines], np.int64)
    shares = np.array([share for _, share in kind_lines], points.dtype)[:, None]
    start = points[..., : len(kind), :]
    other = start[..., ends, :]
    moved = np.zeros_like(points)
    moved[..., : len(kind), :2] = (1 - shares) * start[..., :2] + shares * other[..., :2]
    moved[..., : len(kind), 2] = np.where(ends >= 0, np.minimum(start[..., 2], other[..., 2]), 0)
    moved[moved[..., 2] == 0] = 0
    return moved


def _retargeted(target: Target, lines: Mapping[Key, Lines], shown: Mapping[Key, set[str]]) -> Target:
    if not any(entry.kind.key in lines for entry in target.asked):
        return target
    points, labels = target.points.numpy().copy(), target.labels.numpy()
    for number, entry in enumerate(target.asked):
        kind, rows = entry.kind, np.flatnonzero(labels == number)
        if kind.key in lines and len(rows):
            moved = _between(points[rows], kind, lines[kind.key])
            moved[:, [i for i, name in enumerate(kind.names) if name not in shown[kind.key]]] = 0
            points[rows] = moved
    # It is unknown which of the new points are absent from a picture.
    return replace(target, points=torch.from_numpy(points), whole=False)
