"""The sentences that a text encoder gets for names: pure functions on strings.

The released checkpoint was trained with two fixed sentences, which are copied exactly here. Our own weights use the
hierarchical sentence of the paper. Its parts are dropped at random in training, so that the network also learns the
bare "a photo of left eye".
"""

from __future__ import annotations


def released_object_text(name: str, style: str | None = None) -> str:
    """The released checkpoint's sentence for an object: lower case, `_` and `-` become spaces.

    Nothing is stripped: the encoder gets the whole name. `style` is our addition; the checkpoint never saw one.
    """
    return f"{_opening(style and style.lower())} {name.lower().replace('_', ' ').replace('-', ' ')}"


def bare_object_text(name: str, style: str | None = None) -> str:
    """The text for an object in our own networks: its name, after the picture's style if one is given."""
    return f"{style} {name}" if style else name


def released_keypoint_text(alias: str) -> str:
    """The released checkpoint's sentence for a keypoint: lower case, `_` becomes a space.

    Pass the `alias` of a skeleton's keypoint unchanged: "ankle left " keeps its trailing blank and
    "thumb’s first knuckle" its curly apostrophe, because the checkpoint was trained with them.
    """
    return f"a photo of {alias.lower().replace('_', ' ')}"


def hierarchical_text(
    keypoint: str, *, part: str | None = None, of: str | None = None, style: str | None = None
) -> str:
    """`a [style] photo of a [object]'s [part]'s [keypoint]`; style, object (`of`) and part are each optional.

    >>> hierarchical_text("left eye")
    'a photo of left eye'
    >>> hierarchical_text("left eye", part="head", of="lynx", style="cartoon")
    "a cartoon photo of a lynx's head's left eye"
    """
    owners = [f"{word}'s" for word in (of, part) if word]
    of_what = " ".join(["a", *owners, keypoint]) if owners else keypoint
    return f"{_opening(style)} {of_what}".lower()


def _opening(style: str | None) -> str:
    return f"a {style} photo of" if style else "a photo of"
