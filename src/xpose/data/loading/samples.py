"""The training data of a picture: pixels, and labels as flat arrays with names.

Sizes: G instances, K keypoints of the picture's largest kind.

**Coordinates** are continuous here, as in `xpose.geometry`: a picture of width W spans 0 to W, and the centre of its
first pixel is at 0.5. A record's keypoint is a pixel index, so `Pool` adds half a pixel, which must be subtracted from
a prediction before it is compared with a record. Boxes are the same in both.

**Visibility** is as in a record: 2 visible, 1 hidden, 0 not labelled or no longer in the picture. A point with
visibility 0 is at (0, 0), which has no meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import VocabularyError
from xpose.vocabulary import flip_name, keypoint_sigmas, load_skeleton

if TYPE_CHECKING:
    from torch import Tensor

Key = tuple[str, str]  # category and skeleton


@dataclass(frozen=True)
class Kind:
    """A category with the keypoints that one set labels on it."""

    category: str
    skeleton: str
    names: tuple[str, ...]
    mirrored: tuple[str, ...]  # each point's name in the mirrored picture
    edges: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        category: str,
        skeleton: str,
        names: Sequence[str],
        edges: Iterable[tuple[str, str]] = (),
        flips: Mapping[str, str] | None = None,
    ) -> Kind:
        """The kind with the mirror names `flips`; by default its skeleton's, or left and right are swapped."""
        flips = skeleton_flips(skeleton) if flips is None else flips
        mirrored = tuple(flips.get(name, flip_name(name)) for name in names)
        return cls(category, skeleton, tuple(names), mirrored, tuple(edges))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def key(self) -> Key:
        """Kinds with the same key are one class, even if their sets label different points."""
        return self.category, self.skeleton

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The constants of the object keypoint similarity, in the order of the names."""
        return keypoint_sigmas(self.skeleton, self.names)

    @cached_property
    def mirror(self) -> tuple[Kind, tuple[int, ...]]:
        """The kind in a mirrored picture, and the previous row of each of its points.

        If all partners are among the names, this is the same kind with exchanged rows. Otherwise (for example, if only
        left points are labelled) it is a kind with the partners' names.
        """
        row = {name: i for i, name in enumerate(self.mirrored)}
        if set(row) == set(self.names):
            return self, tuple(row[name] for name in self.names)
        renamed = dict(zip(self.names, self.mirrored, strict=True))
        edges = tuple((renamed.get(a, a), renamed.get(b, b)) for a, b in self.edges)
        return Kind(self.category, self.skeleton, self.mirrored, self.names, edges), tuple(range(len(self)))

    def joined(self, other: Kind) -> Kind:
        """The kind with the points of both."""
        if other == self:
            return self
        mirrors = dict(zip(self.names + other.names, self.mirrored + other.mirrored, strict=True))
        edges = tuple(dict.fromkeys((*self.edges, *other.edges)))
        return Kind(self.category, self.skeleton, tuple(mirrors), tuple(mirrors.values()), edges)


def by_name(kind: Kind, points: np.ndarray | Tensor) -> dict[str, tuple[float, float, int]]:
    """The labelled points [K, 3] of an object of that kind, by name."""
    return {name: (x, y, int(v)) for name, (x, y, v) in zip(kind.names, points.tolist(), strict=False) if v}


@lru_cache(maxsize=1024)
def skeleton_flips(skeleton: str) -> dict[str, str]:
    """The mirror name of every point of a skeleton; empty if it is not in the vocabulary."""
    try:
        return dict(load_skeleton(skeleton).flips)
    except VocabularyError:
        return {}


@dataclass(frozen=True)
class Labels:
    """The instances of a picture. Rows with `crowd` are regions that count neither for nor against a class."""

    kinds: tuple[Kind, ...]
    label: np.ndarray  # [G] integers: rows of `kinds`
    boxes: np.ndarray  # [G, 4] left, top, right, bottom
    points: np.ndarray  # [G, K, 3] x, y, visibility, in the order of the kind's names; rows past them are zero
    crowd: np.ndarray  # [G] bool

    def __len__(self) -> int:
        return len(self.label)

    def keypoints(self, row: int) -> dict[str, tuple[float, float, int]]:
        """The labelled points of one instance by name."""
        return by_name(self.kinds[self.label[row]], self.points[row])

    def take(self, rows: np.ndarray) -> Labels:
        """Only some rows, by number or by a mask."""
        return Labels(self.kinds, self.label[rows], self.boxes[rows], self.points[rows], self.crowd[rows])

    def real(self) -> Labels:
        """The rows that are objects."""
        return self.take(~self.crowd)

    def present(self) -> list[Kind]:
        """The kinds of the objects, without crowds."""
        return [self.kinds[i] for i in np.unique(self.label[~self.crowd]).tolist()]

    def renamed_for_mirror(self) -> Labels:
        """The same points with their names in the mirrored picture."""
        kinds, points = [], np.zeros_like(self.points)
        for number, kind in enumerate(self.kinds):
            mirrored, order = kind.mirror
            kinds.append(mirrored)
            rows = self.label == number
            points[rows, : len(order)] = self.points[rows][:, list(order)]
        return replace(self, kinds=tuple(kinds), points=points)


def join(parts: Sequence[Labels]) -> Labels:
    """The labels of several pictures combined into one; kinds of one class are joined by point names."""
    merged: dict[Key, Kind] = {}
    for kind in (kind for part in parts for kind in part.kinds):
        merged[kind.key] = merged[kind.key].joined(kind) if kind.key in merged else kind
    kinds, place = tuple(merged.values()), {key: i for i, key in enumerate(merged)}
    width = max(map(len, kinds), default=0)
    label, points = [], []
    for part in parts:
        numbers = np.zeros(len(part), np.int64)
        spread = np.zeros((len(part), width, 3), np.float32)
        for number, kind in enumerate(part.kinds):
            rows = np.flatnonzero(part.label == number)
            numbers[rows] = place[kind.key]
            row_of = {name: i for i, name in enumerate(merged[kind.key].names)}
            columns = [row_of[name] for name in kind.names]
            spread[rows[:, None], columns] = part.points[rows][:, : len(kind)]
        label.append(numbers)
        points.append(spread)
    rest = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "crowd")}
    return Labels(kinds, np.concatenate(label), points=np.concatenate(points), **rest)


@dataclass(frozen=True)
class Sample:
    """A picture ready for training."""

    pixels: np.ndarray  # [h, w, 3] RGB bytes
    labels: Labels
    source: str  # the set
    file: str
    style: str | None
    matrix: np.ndarray  # [2, 3] from the stored picture's continuous pixels to these
    mirrored: bool
    pictures: tuple[int, ...]  # the pool's numbers of all pictures used for it
