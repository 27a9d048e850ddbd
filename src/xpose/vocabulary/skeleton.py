"""Keypoints and skeletons: frozen values, always spoken of by name."""

from __future__ import annotations

import dataclasses
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
    """One named point.

    Attributes:
        name: what people read and type, the same for the same point in every skeleton.
        alias: the exact string the text encoder of the released checkpoint was trained with, or None.
        part: the part of the object it belongs to, such as "head" or "left front leg".
        flip: the point that this one becomes when the picture is mirrored; itself where nothing changes.
        sigma: how freely people place this point, for the object keypoint similarity.
        layout: x to the right and y down, each in 0..1, in the skeleton's drawing; None where there is no drawing.
        source_names: what annotation files call the point.
        note: what one should know before using it.
        unused: listed by its source but never labelled there.
    """

    name: str
    part: str
    flip: str
    sigma: float
    alias: str | None = None
    layout: tuple[float, float] | None = None
    source_names: tuple[str, ...] = ()
    note: str | None = None
    unused: bool = False

    @property
    def side(self) -> Side:
        """Left, right or middle, read off the name; a point that mirrors onto itself is in the middle."""
        return "middle" if self.flip == self.name else side_of(self.name)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a skeleton comes from, and who named its points.

    Attributes:
        dataset: the collection of pictures that brought it.
        reference: the paper, or the source in words.
        names: who named the points.
        sigmas: where the similarity constants come from.
        edges: who drew the edges.
        url: where to read on, or None.
        licence: the licence of the names and annotations, or None where none is stated.
    """

    dataset: str
    reference: str
    names: str
    sigmas: str
    edges: str
    url: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class Skeleton:
    """A fixed list of keypoints with their edges; points and edges go by name."""

    name: str
    title: str
    points: tuple[Keypoint, ...]
    edges: tuple[tuple[str, str], ...]
    left_right: LeftRight
    source: Source
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
        """The strings for the text encoder of the released checkpoint; the name where that checkpoint has none."""
        return tuple(point.name if point.alias is None else point.alias for point in self.points)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """The object keypoint similarity constants, in order."""
        return tuple(point.sigma for point in self.points)

    @cached_property
    def layout(self) -> tuple[tuple[float, float], ...] | None:
        """The drawing, in order, or None where a point has no place in it."""
        places = tuple(point.layout for point in self.points if point.layout is not None)
        return places if len(places) == len(self.points) else None

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """Left, right or middle for each point, in order."""
        return tuple(point.side for point in self.points)

    @cached_property
    def flips(self) -> Mapping[str, str]:
        """Each point's name to the name it takes in a mirrored picture."""
        return MappingProxyType({point.name: point.flip for point in self.points})

    @cached_property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Each part to the names of its points, in order of first appearance."""
        parts: dict[str, tuple[str, ...]] = {}
        for point in self.points:
            parts[point.part] = (*parts.get(point.part, ()), point.name)
        return MappingProxyType(parts)

    @cached_property
    def one_sided(self) -> tuple[str, ...]:
        """The points whose mirror partner is not in this skeleton; only a subset has such points."""
        return tuple(point.name for point in self.points if point.flip not in self._position)

    def flip_permutation(self) -> tuple[int, ...]:
        """For each point the index of the point whose coordinates it takes in a mirrored picture.

        Raises:
            PromptError: a point's partner is missing, so that mirroring would need a name that is not there.
        """
        if self.one_sided:
            raise PromptError(
                f"Cannot mirror {', '.join(map(quote, self.one_sided))} of skeleton {quote(self.name)}. A mirrored "
                "picture shows the partner of each point, and the partner is not in this subset. Take both sides into "
                "the subset, or do not mirror."
            )
        return tuple(self._position[point.flip] for point in self.points)

    def edge_indices(self) -> tuple[tuple[int, int], ...]:
        """The edges as pairs of 0-based indices, for files and tensors that want numbers."""
        return tuple((self._position[start], self._position[end]) for start, end in self.edges)

    def index(self, name: str) -> int:
        """The position of a point, found by its name, its alias or a source name.

        Case, underscores, hyphens and blanks do not matter, but the exact spelling goes first: "right eyebrow 1" is
        an alias and "right_eyebrow_1" another point's field in annotation files. Then a name goes before an alias and
        an alias before a source name. An alias that several points share finds none of them.

        Raises:
            VocabularyError: no point is called so; the message proposes near matches.
        """
        found = self._spellings.get(name, self._lookup.get(normalise(name)))
        if found is None:
            raise unknown(
                f"keypoint of skeleton {quote(self.name)}:",
                name,
                (*self.keypoints, *self._lookup),
                f"List them with: xpose skeletons {self.name}",
            )
        return found

    def point(self, name: str) -> Keypoint:
        """The keypoint that `index` finds."""
        return self.points[self.index(name)]

    def subset(self, names: Iterable[str]) -> Skeleton:
        """This skeleton with only the named points, in the order given, and the edges between them.

        Raises:
            VocabularyError: a name is unknown.
            PromptError: no name, or one point twice.
        """
        chosen = [self.point(name) for name in names]
        if not chosen:
            raise PromptError(
                f"A subset of skeleton {quote(self.name)} without points. A skeleton needs at least one. "
                f"List them with: xpose skeletons {self.name}"
            )
        kept = {point.name for point in chosen}
        if len(kept) < len(chosen):
            twice = sorted({point.name for point in chosen if sum(point == other for other in chosen) > 1})
            raise PromptError(
                f"{', '.join(map(quote, twice))} of skeleton {quote(self.name)} named more than once. Each point may "
                "appear once. Remove the repeats."
            )
        edges = tuple(edge for edge in self.edges if edge[0] in kept and edge[1] in kept)
        return dataclasses.replace(self, points=tuple(chosen), edges=edges)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {point.name: index for index, point in enumerate(self.points)}

    @cached_property
    def _lookup(self) -> dict[str, int]:
        """Every name that means one point, in the form in which names are compared."""
        return self._names(normalise)

    @cached_property
    def _spellings(self) -> dict[str, int]:
        """Every name that means one point, to the letter."""
        return self._names(str)

    def _names(self, form: Callable[[str], str]) -> dict[str, int]:
        rings = (
            [(point.name,) for point in self.points],
            [(point.alias,) if point.alias is not None else () for point in self.points],
            [point.source_names for point in self.points],
        )
        found: dict[str, int] = {}
        for ring in rings:
            owners: dict[str, set[int]] = {}
            for index, names in enumerate(ring):
                for name in names:
                    owners.setdefault(form(name), set()).add(index)
            for name, indices in owners.items():
                if len(indices) == 1:
                    found.setdefault(name, next(iter(indices)))
        return found
