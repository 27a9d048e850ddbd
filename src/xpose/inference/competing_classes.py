"""Rivals: classes that a network knows well, asked for silently beside the prompts.

Asked for a dog alone, every place of the picture can attend to "dog" and to nothing else, and what is likest to one, a
person for want of better, comes out with a good score. With "person" beside it there is a choice. Rivals are never
answered; they only change what the network makes of the asked classes. See docs/decisions/0011-rivals.md.

Letters: L asked classes, R rivals, C width of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from xpose.inference.encoding import EncodedClass

# Cosine of two object tokens from which they mean one thing: "puppy" and "dog" have 0.98, "dog" and "cat" 0.65.
ALIKE = 0.75


def beside(asked: Sequence[EncodedClass], rivals: Tensor) -> list[EncodedClass]:
    """The asked classes, and after them the rivals.

    A rival that means the same as an asked class is none. Where no asked class is like any of them, there are none at
    all: what such a word means to the network they cannot say.

    Args:
        asked: what the user looks for.
        rivals: [R, C] object tokens.
    """
    alike = _alike(asked, rivals)
    if not bool(alike.any()):
        return list(asked)
    # They take the keypoints of the first class: no further keypoint tokens, and nobody reads their points.
    others = [replace(asked[0], object_token=token, silent=True) for token in rivals[~alike.any(0)]]
    return [*asked, *others]


def parties(asked: Sequence[EncodedClass], rivals: Tensor) -> list[list[int]]:
    """Numbers of the asked classes, in parties that go through the decoders apart.

    Classes that are like rivals exclude each other: a place is one of them, so they stand together. Faces and hands are
    parts of people, and beside "person" both lose. Classes that are like no rival are a party of their own.
    """
    like = _alike(asked, rivals).any(1).tolist()
    both = [[n for n, one in enumerate(like) if one], [n for n, one in enumerate(like) if not one]]
    return [party for party in both if party]


def with_namesakes(
    thresholds: Mapping[str, float], asked: Sequence[EncodedClass], names: Sequence[str], rivals: Tensor
) -> Mapping[str, float]:
    """Thresholds that know more words: a "puppy" has that of the rival that means the same, a dog's.

    No word has one above that for all others, as the rival itself may.
    """
    unknown = [one for one in asked if one.names.label not in thresholds]
    known = [n for n, name in enumerate(names) if name in thresholds]
    if not unknown or not known:
        return thresholds
    best, which = _likeness(unknown, rivals[known]).max(1)
    most = thresholds.get("", 1.0)
    found = {
        one.names.label: min(most, thresholds[names[known[n]]])
        for one, cosine, n in zip(unknown, best.tolist(), which.tolist(), strict=True)
        if cosine >= ALIKE
    }
    return {**thresholds, **found}


def _alike(asked: Sequence[EncodedClass], rivals: Tensor) -> Tensor:
    """Which classes mean the same as which rivals, [L, R]."""
    return _likeness(asked, rivals) >= ALIKE


def _likeness(asked: Sequence[EncodedClass], rivals: Tensor) -> Tensor:
    tokens = torch.stack([one.object_token for one in asked])
    return functional.normalize(tokens.float(), dim=1) @ functional.normalize(rivals.float(), dim=1).T
