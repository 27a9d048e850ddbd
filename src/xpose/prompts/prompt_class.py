"""One class of a prompt with its names looked up in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xpose.vocabulary import Skeleton, default_skeleton

ANY_OBJECT = "object"  # what an object prompt says where the user names only keypoints


@dataclass(frozen=True)
class PromptClass:
    """One class of a prompt, resolved against the vocabulary: what the result will call things, and what encoders read.

    Attributes:
        label: the category name of results.
        names: the keypoints in the order and spelling of the prompt.
        canonical: their names in the vocabulary; the same where it has none.
        aliases: the strings for the released checkpoint's text encoder.
        edges: pairs of `names`.
        skeleton: the skeleton the names come from, if any.
        reason: how the skeleton was chosen, if the prompt did not name it.
        is_fallback: the skeleton stands in because the category is unknown.
    """

    label: str
    names: tuple[str, ...]
    canonical: tuple[str, ...]
    aliases: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    skeleton: str | None = None
    reason: str | None = None
    is_fallback: bool = False


def renamed_edges(skeleton: Skeleton, canonical: Sequence[str], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The skeleton's edges between these points, in the prompt's own spelling."""
    spelling = dict(zip(canonical, names, strict=True))
    return tuple((spelling[a], spelling[b]) for a, b in skeleton.edges if a in spelling and b in spelling)


def resolve_example(label: str | None, names: tuple[str, ...]) -> PromptClass:
    """The class of an example: points that the default skeleton of a known category names so get its edges."""
    skeleton = default_skeleton(label).skeleton if label else None
    if skeleton is None or not names or not all(name in skeleton for name in names):
        return PromptClass(label or ANY_OBJECT, names, names, names, ())
    points = [skeleton.point(name) for name in names]
    canonical = tuple(point.name for point in points)
    if len(set(canonical)) < len(canonical):
        return PromptClass(label or ANY_OBJECT, names, names, names, ())
    return PromptClass(
        label=label or ANY_OBJECT,
        names=names,
        canonical=canonical,
        aliases=tuple(point.name if point.alias is None else point.alias for point in points),
        edges=renamed_edges(skeleton, canonical, names),
        skeleton=skeleton.name,
    )
