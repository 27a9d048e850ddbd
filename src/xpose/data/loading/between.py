"""Points between the labelled ones: what examples show need not have a name.

A network that is shown the same few kinds again and again memorises their points and treats the example as another
word for them. Points anywhere between two labelled ones, drawn anew in every step, can only be found by looking at the
example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from xpose.data.loading.batches import Target
from xpose.data.loading.examples import CutOut
from xpose.data.loading.samples import Kind

Key = tuple[str, str]  # `Kind.key`
# A point's name -> the other end of its line, and where on the line the new point is, from 0 to 1.
Lines = Mapping[str, tuple[str, float]]


def move_between(
    rng: np.random.Generator, targets: Sequence[Target], examples: Mapping[Key, Sequence[CutOut]]
) -> tuple[list[Target], dict[Key, list[CutOut]]]:
    """The same pictures and examples with other points, of the kinds that have examples.

    Each point moves part of the way to a randomly drawn point of its kind (one in K draws itself and stays), the same
    in all pictures. The new point is labelled where both are. Targets keep only points that an example shows, because
    nothing else says where they are.
    """
    lines = {key: _lines(rng, cut_outs) for key, cut_outs in examples.items() if cut_outs}
    moved: dict[Key, list[CutOut]] = {key: [] for key in examples}
    shown: dict[Key, set[str]] = {key: set() for key in examples}
    for key in lines:
        for cut_out in examples[key]:
            points = _moved(cut_out.points, cut_out.kind, lines[key])
            moved[key].append(replace(cut_out, points=points))
            shown[key].update(moved[key][-1].keypoints)
    return [_retargeted(target, lines, shown) for target in targets], moved


def _lines(rng: np.random.Generator, cut_outs: Sequence[CutOut]) -> Lines:
    names = list(dict.fromkeys(name for cut_out in cut_outs for name in cut_out.kind.names))
    ends = rng.integers(0, max(1, len(names)), len(names)).tolist()
    shares = rng.random(len(names)).tolist()
    return {name: (names[end], share) for name, end, share in zip(names, ends, shares, strict=True)}


def _moved(points: np.ndarray, kind: Kind, lines: Lines) -> np.ndarray:
    """[..., K, 3] with K at least the kind's number; points whose line leads to one that the kind lacks are lost."""
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
            moved = _moved(points[rows], kind, lines[kind.key])
            moved[:, [i for i, name in enumerate(kind.names) if name not in shown[kind.key]]] = 0
            points[rows] = moved
    # It is unknown which of the new points are absent from a picture.
    return replace(target, points=torch.from_numpy(points), whole=False)
