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
from xpose.data.loading.examples import Example
from xpose.data.loading.samples import Kind

Key = tuple[str, str]  # `Kind.key`
Lines = Mapping[str, tuple[str, float]]  # a point's name -> the other end, and how far on the way the new point lies


def move_between(
    rng: np.random.Generator, targets: Sequence[Target], examples: Mapping[Key, Sequence[Example]]
) -> tuple[list[Target], dict[Key, list[Example]]]:
    """The same pictures and examples with other points, of the kinds that have examples.

    Each point goes some way towards a point of its kind that is drawn by lot (one in K draws itself and stays), the
    same in all pictures. It is labelled where both are.
    In targets only points stay that some example shows: nothing else says where they are.
    """
    lines = {key: _lines(rng, found) for key, found in examples.items() if found}
    moved = {
        key: [replace(one, points=_moved(one.points, one.kind, lines[key])) if key in lines else one for one in found]
        for key, found in examples.items()
    }
    shown = {
        key: {name for one in found for name, point in zip(one.kind.names, one.points, strict=True) if point[2] > 0}
        for key, found in moved.items()
    }
    return [_retargeted(target, lines, shown) for target in targets], moved


def _lines(rng: np.random.Generator, examples: Sequence[Example]) -> Lines:
    names = list(dict.fromkeys(name for one in examples for name in one.kind.names))
    ends = rng.integers(0, max(1, len(names)), len(names)).tolist()
    shares = rng.random(len(names)).tolist()
    return {name: (names[end], share) for name, end, share in zip(names, ends, shares, strict=True)}


def _moved(points: np.ndarray, kind: Kind, lines: Lines) -> np.ndarray:
    """[..., K, 3] with K at least the kind's number; points whose line leads to one that the kind lacks are lost."""
    row = {name: i for i, name in enumerate(kind.names)}
    ends = np.array([row.get(lines[name][0], -1) if name in lines else -1 for name in kind.names], np.int64)
    shares = np.array([lines[name][1] if name in lines else 0.0 for name in kind.names], points.dtype)[:, None]
    own = points[..., : len(kind), :]
    other = own[..., ends, :]
    found = np.zeros_like(points)
    found[..., : len(kind), :2] = (1 - shares) * own[..., :2] + shares * other[..., :2]
    found[..., : len(kind), 2] = np.where(ends >= 0, np.minimum(own[..., 2], other[..., 2]), 0)
    found[found[..., 2] == 0] = 0
    return found


def _retargeted(target: Target, lines: Mapping[Key, Lines], shown: Mapping[Key, set[str]]) -> Target:
    if not any(entry.kind.key in lines for entry in target.asked):
        return target
    points = target.points.numpy().copy()
    for number, entry in enumerate(target.asked):
        kind = entry.kind
        rows = np.flatnonzero(target.labels.numpy() == number)
        if kind.key in lines and len(rows):
            found = _moved(points[rows], kind, lines[kind.key])
            hidden = [i for i, name in enumerate(kind.names) if name not in shown[kind.key]]
            found[:, hidden] = 0
            points[rows] = found
    # It is unknown which of the new points are absent from a picture.
    return replace(target, points=torch.from_numpy(points), whole=False)
