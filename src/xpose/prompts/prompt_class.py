"""One class of a prompt, resolved against the vocabulary, and the validation of words, points and boxes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from xpose.errors import PromptError, VocabularyError, did_you_mean, quote
from xpose.vocabulary import Skeleton, categories
from xpose.vocabulary.categories import DefaultSkeleton

ANY_OBJECT = "object"  # the label of a prompt that names only keypoints
_LONGEST_NAME = 300
_POINT_MARGIN = 0.1  # around a box derived from points, relative to its longer side

Edge = tuple[str, str]


class Defaults(Protocol):
    """Provides the keypoints of objects that are prompted without any: the vocabulary, or what weights have learned."""

    def default_skeleton(self, word: str, /) -> DefaultSkeleton | None:
        """The skeleton for an object; None if it is unknown."""

    def unknown_object(self, word: str, /) -> VocabularyError:
        """The error for an unknown object."""


VOCABULARY: Defaults = categories


@dataclass(frozen=True)
class PromptClass:
    """One class of a prompt, resolved against the vocabulary: names for results, and input for encoders."""

    label: str  # the category name of results
    names: tuple[str, ...]  # the keypoints in the order and spelling of the prompt
    canonical: tuple[str, ...]  # their names in the vocabulary, or the same names if it has none
    aliases: tuple[str, ...]  # the strings for the released checkpoint's text encoder
    edges: tuple[Edge, ...]  # pairs of `names`
    skeleton: str | None = None  # the skeleton of the names, if any
    reason: str | None = None  # how the skeleton was chosen, if the prompt did not name it

    @classmethod
    def of_words(cls, label: str, names: Sequence[str]) -> PromptClass:
        """A class whose keypoints are in no skeleton."""
        names = tuple(names)
        return cls(label, names, names, names, ())

    @classmethod
    def of_skeleton(
        cls,
        label: str,
        skeleton: Skeleton,
        names: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> PromptClass:
        """A class with the given (by default all) keypoints of a skeleton, and the edges between them."""
        if names is None:
            names = skeleton.detected.keypoints
        points = [skeleton.point(name) for name in names]
        spelling = {point.name: name for point, name in zip(points, names, strict=True)}
        return cls(
            label=label,
            names=tuple(names),
            canonical=tuple(point.name for point in points),
            aliases=tuple(point.name if point.alias is None else point.alias for point in points),
            edges=tuple((spelling[a], spelling[b]) for a, b in skeleton.edges if a in spelling and b in spelling),
            skeleton=skeleton.name if names else None,
            reason=reason,
        )

    @classmethod
    def of_example(cls, label: str | None, names: tuple[str, ...], defaults: Defaults) -> PromptClass:
        """The class of an example. A known object's default skeleton is used if it has all the keypoints."""
        default = defaults.default_skeleton(label) if label else None
        skeleton = default.skeleton if default else None
        fits = skeleton is not None and all(name in skeleton for name in names)
        if label and skeleton and fits and len({skeleton.point(name).name for name in names}) == len(names) > 0:
            return cls.of_skeleton(label, skeleton, names)
        return cls.of_words(label or ANY_OBJECT, names)

    def with_edges(self, edges: Iterable[Edge]) -> PromptClass:
        """The same class with other edges, each pair once; without any, the edges that it has."""
        unique = {frozenset(edge): edge for edge in edges}
        return replace(self, edges=tuple(unique.values())) if unique else self


def check_words(what: str, words: object, *, needed: bool = False) -> None:
    """Check that `words` (`what` in errors) is a non-empty string, or None unless `needed`."""
    if words is None and not needed:
        return
    if not isinstance(words, str) or not words.strip():
        raise PromptError(f"{what} is {quote(repr(words))}. It must be a non-empty string.")
    if len(words) > _LONGEST_NAME:
        raise PromptError(
            f"{what} is {len(words)} characters long ({quote(words)}). Names have at most {_LONGEST_NAME}. Shorten it."
        )


def checked_point(name: str, value: object) -> tuple[float, float, bool]:
    """A keypoint of an example as x, y, visible; x and y are NaN if it is invisible."""
    numbers: Any = value
    try:
        first, second, visible = [*numbers, True] if len(numbers) == 2 else numbers
        if not visible:
            return math.nan, math.nan, False
        x, y = float(first), float(second)
        if math.isfinite(x) and math.isfinite(y):
            return x, y, True
    except (TypeError, ValueError, OverflowError):
        pass
    raise PromptError(
        f"The point {quote(name)} is {quote(repr(value))}. It must be (x, y) or (x, y, visible) in pixels."
    )


def checked_box(value: Sequence[float]) -> tuple[float, float, float, float]:
    """The box of an example as finite x1, y1, x2, y2 with a positive area."""
    try:
        x1, y1, x2, y2 = (float(v) for v in value)
    except (TypeError, ValueError):
        x1 = y1 = x2 = y2 = math.nan
    if not all(math.isfinite(v) for v in (x1, y1, x2, y2)) or x2 <= x1 or y2 <= y1:
        raise PromptError(
            f"The box is {quote(repr(value))}. It must be x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2."
        )
    return x1, y1, x2, y2


def checked_edges(value: object, names: Collection[str]) -> tuple[Edge, ...]:
    """The edges of an example as pairs of different keypoints of the example."""
    pairs: Any = value
    try:
        edges = tuple((start, end) for start, end in pairs)
    except (TypeError, ValueError):
        raise PromptError(
            f'edges is {quote(repr(value))}. It must be a list of pairs of keypoints: [["tip", "stalk"], ...].'
        ) from None
    for edge in edges:
        for name in edge:
            if not isinstance(name, str) or name not in names:
                raise PromptError(
                    f"The edge {quote(repr(edge))} names {quote(name)}, which is not a keypoint of the example."
                    f"{did_you_mean(str(name), names)} Its keypoints are {', '.join(names) or '(none)'}."
                )
        if edge[0] == edge[1]:
            raise PromptError(f"The edge {quote(repr(edge))} joins a keypoint to itself. Name two different keypoints.")
    return edges


def box_around(points: Sequence[tuple[float, float]], width: int, height: int) -> tuple[float, float, float, float]:
    """A box x1, y1, x2, y2 around the points of an object, with some margin, within a picture of this size."""
    xs, ys = zip(*points, strict=True)
    margin = max(_POINT_MARGIN * max(max(xs) - min(xs), max(ys) - min(ys)), 0.05 * min(width, height), 1.0)
    x1, y1, x2, y2 = min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
