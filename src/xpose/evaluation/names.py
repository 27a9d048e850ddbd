"""What the vocabulary knows about a category's keypoints; the rules of names where it does not know the skeleton."""

from __future__ import annotations

from functools import lru_cache

from xpose.errors import VocabularyError
from xpose.vocabulary import Skeleton, flip_name, load_skeleton

Names = tuple[str, ...]


@lru_cache(maxsize=1024)
def mirror_names(skeleton: str, names: Names) -> dict[str, str]:
    """What each point is called in the mirrored picture."""
    known = _known(skeleton)
    flips = {} if known is None else dict(known.flips)
    return {name: flips.get(name, flip_name(name)) for name in names}


@lru_cache(maxsize=1024)
def pairs_of(skeleton: str, names: Names) -> tuple[tuple[int, int], ...]:
    """The places of the points that change names when the picture is mirrored, each pair once."""
    places = {name: place for place, name in enumerate(names)}
    partners = mirror_names(skeleton, names).items()
    return tuple((places[a], places[b]) for a, b in partners if places.get(b, -1) > places[a])


def _known(name: str) -> Skeleton | None:
    if name.endswith(".toml"):  # the name comes from an annotation file, which opens no files of its choice
        return None
    try:
        return load_skeleton(name)
    except VocabularyError:  # a skeleton of the user's own
        return None
