"""The sentences that names are put into before a text encoder reads them: pure functions on strings.

The released checkpoint was trained with two fixed sentences, kept here to the letter. Our own weights use the
hierarchical sentence of the paper, whose parts are dropped at random in training, so that the bare
"a photo of left eye" stays a sentence the network has seen.
"""

from __future__ import annotations


def released_object_text(name: str, style: str | None = None) -> str:
    """The sentence for an object of the released checkpoint: lower case, `_` and `-` become spaces.

    Nothing is stripped: the encoder gets the whole name. A `style` is ours; the checkpoint never saw one.
    """
    return f"{_opening(style and style.lower())} {name.lower().replace('_', ' ').replace('-', ' ')}"


def bare_object_text(name: str, style: str | None = None) -> str:
    """The words for an object that our own networks read: its name, after the picture's style where one is given."""
    return f"{style} {name}" if style else name


def released_keypoint_text(alias: str) -> str:
    """The sentence for a keypoint of the released checkpoint: lower case, `_` becomes a space.

    Give it the `alias` of a skeleton's keypoint, oddities included: "ankle left " keeps its trailing blank and
    "thumb’s first knuckle" its curly apostrophe, because the checkpoint was trained with them.
    """
    return f"a photo of {alias.lower().replace('_', ' ')}"


def hierarchical_text(
    keypoint: str, *, part: str | None = None, of: str | None = None, style: str | None = None
) -> str:
    """`a [style] photo of a [object]'s [part]'s [keypoint]`; style, object (`of`) and part may each be left out.

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
