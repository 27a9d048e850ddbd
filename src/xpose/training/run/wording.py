"""How names are put before a text encoder in training.

Networks that read words through CLIP get the paper's sentence, "a [style] photo of a [object]'s [part]'s [keypoint]",
of which style, object and part come and go, so that the bare "a photo of left eye" of use stays a sentence they know.
Our own networks read bare names, here as in use.
"""

from __future__ import annotations

import random
from typing import Protocol

from xpose.data.loading.samples import Kind
from xpose.errors import XPoseError
from xpose.model.config import XPoseConfig
from xpose.vocabulary import (
    bare_object_text,
    hierarchical_text,
    load_skeleton,
    released_keypoint_text,
    released_object_text,
)

DROPPED = 0.5  # how often style, object and part are each left out; the keypoint never is


class Wording(Protocol):
    """Names to texts. With `rng` None nothing is drawn: the texts are those of use."""

    def of_object(self, name: str, style: str | None, rng: random.Random | None) -> str:
        """The text for an object that goes by this name."""

    def of_keypoints(self, kind: Kind, name: str, style: str | None, rng: random.Random | None) -> list[str]:
        """The texts for the keypoints of a kind whose object goes by this name."""


class BareNames:
    """What our own networks read."""

    def of_object(self, name: str, style: str | None, rng: random.Random | None) -> str:
        """The name, with the picture's style before it now and then."""
        return bare_object_text(name, style if _kept(style, rng) else None)

    def of_keypoints(self, kind: Kind, name: str, style: str | None, rng: random.Random | None) -> list[str]:
        """The names."""
        return list(kind.names)


class Sentences:
    """What CLIP reads."""

    def of_object(self, name: str, style: str | None, rng: random.Random | None) -> str:
        """ "a photo of horse", "a cartoon photo of horse": the sentences of use."""
        return released_object_text(name, style if _kept(style, rng) else None)

    def of_keypoints(self, kind: Kind, name: str, style: str | None, rng: random.Random | None) -> list[str]:
        """One draw for all points of the object, so that they differ in what they are alone."""
        style, owner = style if _kept(style, rng) else None, name if _kept(name, rng) else None
        with_parts = rng is not None and rng.random() >= DROPPED
        texts = []
        for point, (alias, part) in zip(kind.names, _aliases_and_parts(kind), strict=True):
            shown = part if with_parts and part not in (None, "whole", point) else None
            bare = style is None and owner is None and shown is None
            texts.append(
                released_keypoint_text(alias) if bare else hierarchical_text(point, part=shown, of=owner, style=style)
            )
        return texts


def wording_for(config: XPoseConfig) -> Wording:
    """The wording that a network of this kind reads in use."""
    return Sentences() if config.prompt_encoder == "clip" else BareNames()


def _kept(word: str | None, rng: random.Random | None) -> bool:
    return bool(word) and rng is not None and rng.random() >= DROPPED


def _aliases_and_parts(kind: Kind) -> list[tuple[str, str | None]]:
    """For each point the words of the released checkpoint, and its part; the name where the vocabulary has none."""
    try:
        known = {point.name: (point.alias or point.name, point.part) for point in load_skeleton(kind.skeleton).points}
    except XPoseError:  # a skeleton of the user's own
        known = {}
    return [known.get(name, (name, None)) for name in kind.names]
