"""Rivals: classes that a network knows well, asked for silently beside the prompts.

Asked for a dog alone, every place of the picture can attend to "dog" and to nothing else, and what is likest to one, a
person for want of better, comes out with a good score. With "person" beside it there is a choice. Rivals are never
answered; they only change what the network makes of the asked classes. See docs/decisions/0011-rivals.md.

Letters: L asked classes, R rivals, C width of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    if not len(rivals):
        return list(asked)
    tokens = torch.stack([one.object_token for one in asked])
    likeness = functional.normalize(tokens.float(), dim=1) @ functional.normalize(rivals.float(), dim=1).T  # [L, R]
    alike = likeness >= ALIKE
    if not bool(alike.any()):
        return list(asked)
    # They take the keypoints of the first class: no further keypoint tokens, and nobody reads their points.
    others = [replace(asked[0], object_token=token, silent=True) for token in rivals[~alike.any(0)]]
    return [*asked, *others]
