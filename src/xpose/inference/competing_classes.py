"""Rivals: classes that a network knows well and that compete silently with the prompted ones.

With the prompt "dog" alone, every location in the picture can only attend to "dog", and the one most like a dog,
perhaps a person, gets a good score. Adding "person" offers a choice. Rivals never appear in the results; they only
change the scores of the prompted classes. See docs/decisions/0011-rivals.md.

Letters: L prompted classes, R rivals, C width of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xpose.inference.encoded import EncodedClass

# Object tokens with at least this cosine mean the same: "puppy" and "dog" have 0.98, "dog" and "cat" 0.65.
ALIKE = 0.75


def beside(classes: Sequence[EncodedClass], rivals: np.ndarray) -> list[EncodedClass]:
    """The prompted classes, followed by the rivals [R, C] that mean something else.

    If no prompted class is like any rival, all rivals are omitted, since they say nothing about such classes.
    """
    alike = _likeness(classes, rivals) >= ALIKE
    if not alike.any():
        return list(classes)
    # Rivals share the first class's keypoints, which adds no keypoint tokens; their points are never read.
    others = [replace(classes[0], object_token=token, silent=True) for token in rivals[~alike.any(0)]]
    return [*classes, *others]


def passes(classes: Sequence[EncodedClass], rivals: np.ndarray) -> list[list[int]]:
    """Indices of the prompted classes, in groups that are decoded separately.

    Classes that are like rivals exclude each other and form one group. The others, such as faces and hands, which are
    parts of people and would lose to "person", form another.
    """
    like = (_likeness(classes, rivals) >= ALIKE).any(1)
    return [group.tolist() for group in (np.flatnonzero(like), np.flatnonzero(~like)) if len(group)]


def with_synonyms(
    thresholds: Mapping[str, float], classes: Sequence[EncodedClass], names: Sequence[str], rivals: np.ndarray
) -> Mapping[str, float]:
    """Thresholds extended to synonyms: "puppy" gets that of the rival "dog", capped at that of other classes."""
    without_threshold = [entry for entry in classes if entry.names.label not in thresholds]
    with_threshold = [number for number, name in enumerate(names) if name in thresholds]
    if not without_threshold or not with_threshold:
        return thresholds
    likeness = _likeness(without_threshold, rivals[with_threshold])
    most = thresholds.get("", 1.0)
    added = {
        entry.names.label: min(most, thresholds[names[with_threshold[int(cosines.argmax())]]])
        for entry, cosines in zip(without_threshold, likeness, strict=True)
        if cosines.max() >= ALIKE
    }
    return {**thresholds, **added}


def _likeness(classes: Sequence[EncodedClass], rivals: np.ndarray) -> np.ndarray:
    """Cosines of object tokens, [L, R]."""
    return np.asarray(_unit(np.stack([entry.object_token for entry in classes])) @ _unit(rivals).T)


def _unit(tokens: np.ndarray) -> np.ndarray:
    tokens = tokens.astype(np.float32)
    return np.asarray(tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12))
