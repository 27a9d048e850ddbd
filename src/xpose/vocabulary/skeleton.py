"""Keypoints and skeletons: frozen values, referenced by name."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from xpose.errors import PromptError, quote, unknown
from xpose.vocabulary.names import Side, normalise, side_of

LeftRight = Literal["anatomical", "viewer", "disputed", "none"]
LEFT_RIGHT: dict[str, str] = {
    "anatomical": "left and right are the object's own",
    "viewer": "left and right are those of the picture",
    "disputed": "the sources contradict each other, or do not say, whose left and right they mean",
    "none": "no point changes its name when the picture is mirrored",
}


@dataclass(frozen=True, slots=True)
class Keypoint:
    """One named point."""

    name: str  # what people read and type, the same for the same point in every skeleton
    part: str  # part of the object, such as "head" or "left front leg"
    flip: str  # the point that this one becomes when the picture is mirrored; itself if nothing changes
    sigma: float  # how freely people place this point, for the object keypoint similarity
    alias: str | None = None  # the exact string the text encoder of the released checkpoint was trained with
    layout: tuple[float, float] | None = None  # x to the right and y down, each in 0..1, in the skeleton's drawing
    source_names: tuple[str, ...] = ()  # names of the point in annotation files
    note: str | None = None  # what users should know about it
    unused: bool = False  # listed by its source but never labelled there

    @property
    def side(self) -> Side:
        """Left, right or middle, from the name; a point that mirrors onto itself is in the middle."""
        return "middle" if self.flip == self.name else side_of(self.name)


@dataclass(frozen=True, slots=True)
class SkeletonSource:
    """Where a skeleton comes from, and who named its points."""

    dataset: str  # the collection of pictures that introduced it
    reference: str  # the paper, or a description
    names: str  # who named the points
    sigmas: str  # where the similarity constants come from
    edges: str  # who drew the edges
    url: str | None = None
    licence: str | None = None  # of the names and annotations, or None if not stated


@dataclass(frozen=True)
class Skeleton:
    """A fixed list of keypoints with their edges; both are referenced by name."""

    name: str
    title: str
    points: tuple[Keypoint, ...]
    edges: tuple[tuple[str, str], ...]
    left_right: LeftRight
    source: SkeletonSource
    also: tuple[str, ...] = ()
    released: str | None = None
    note: str | None = None

    def __len__(self) -> int:
        return len(self.points)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and normalise(name) in self._lookup

    @cached_property
    def keypoints(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(point.name for point in self.points)

    @cached_property
    def aliases(self) -> tuple[str, ...]:
        """The strings for the text encoder of the released checkpoint; the name if there is none."""
        return tuple(point.name if point.alias is None else point.alias for point in self.points)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """The object keypoint similarity constants, in order."""
        return tuple(point.sigma for point in self.points)

    @cached_property
    def layout(self) -> tuple[tuple[float, float], ...] | None:
        """The drawing, in order, or None if a point has no place in it."""
        places = tuple(point.layout for point in self.points if point.layout is not None)
        return places if len(places) == len(self.points) else None

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """Left, right or middle for each point, in order."""
        return tuple(point.side for point in self.points)

    @cached_property
    def flips(self) -> Mapping[str, str]:
        """Map from each point's name to its name in a mirrored picture."""
        return MappingProxyType({point.name: point.flip for point in self.points})

    @cached_property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Map from each part to its points' names, in order of first appearance."""
        parts: dict[str, tuple[str, ...]] = {}
        for point in self.points:
            parts[point.part] = (*parts.get(point.part, ()), point.name)
        return MappingProxyType(parts)

    @cached_property
    def detected(self) -> Skeleton:
        """This skeleton without the points that its source never labels: what is detected if no keypoints are named."""
        labelled = [point.name for point in self.points if not point.unused]
        return self if len(labelled) == len(self) else self.subset(labelled)

    def edge_indices(self) -> tuple[tuple[int, int], ...]:
        """The edges as pairs of 0-based indices, for files and tensors that need numbers."""
        return tuple((self._position[start], self._position[end]) for start, end in self.edges)

    def index(self, name: str) -> int:
        """The position of a point, found by its name, its alias or a source name, in this order.

        Case, underscores, hyphens and blanks do not matter, but the exact spelling has priority: "right eyebrow 1" is
        an alias, and "right_eyebrow_1" is another point's name in annotation files. An alias that several points share
        matches no point.

        Raises:
            VocabularyError: no point has this name; the message suggests near matches.
        """
        position = self._spellings.get(name, self._lookup.get(normalise(name)))
        if position is None:
            kind, way_out = f"keypoint of skeleton {quote(self.name)}:", f"List them with: xpose skeletons {self.name}"
            raise unknown(kind, name, (*self.keypoints, *self._lookup), way_out)
        return position

    def point(self, name: str) -> Keypoint:
        """The keypoint that `index` finds."""
        return self.points[self.index(name)]

    def subset(self, names: Iterable[str]) -> Skeleton:
        """This skeleton with only the named points, in the order given, and the edges between them.

        Raises:
            VocabularyError: a name is unknown.
            PromptError: no name is given, or a point twice.
        """
        chosen = [self.point(name) for name in names]
        if not chosen:
            raise PromptError(
                f"A subset of skeleton {quote(self.name)} needs at least one point. "
                f"List them with: xpose skeletons {self.name}"
            )
        counts = Counter(point.name for point in chosen)
        if len(counts) < len(chosen):
            twice = ", ".join(quote(name) for name, count in sorted(counts.items()) if count > 1)
            raise PromptError(f"{twice} of skeleton {quote(self.name)} named more than once. Remove the repeats.")
        edges = tuple(edge for edge in self.edges if counts.keys() >= set(edge))
        return dataclasses.replace(self, points=tuple(chosen), edges=edges)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {point.name: index for index, point in enumerate(self.points)}

    @cached_property
    def _lookup(self) -> dict[str, int]:
        return self._names(normalise)

    @cached_property
    def _spellings(self) -> dict[str, int]:
        return self._names(str)

    def _names(self, form: Callable[[str], str]) -> dict[str, int]:
        """The position of each name that means only one point."""
        rings: tuple[list[tuple[str, ...]], ...] = (
            [(point.name,) for point in self.points],
            [() if point.alias is None else (point.alias,) for point in self.points],
            [point.source_names for point in self.points],
        )
        positions: dict[str, int] = {}
        for ring in rings:
            owners: dict[str, set[int]] = {}
            for index, names in enumerate(ring):
                for name in names:
                    owners.setdefault(form(name), set()).add(index)
            positions = {name: indices.pop() for name, indices in owners.items() if len(indices) == 1} | positions
        return positions
