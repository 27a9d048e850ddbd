"""Known boxes: objects whose place the caller states, so that only their keypoints are found.

Letters: N boxes, L classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xpose.errors import ImageError, PromptError, did_you_mean, quote
from xpose.inference.encoded import BoxArrays, EncodedClass, EncodedImage
from xpose.results import Poses
from xpose.vocabulary import normalise

Box: TypeAlias = "Sequence[float] | np.ndarray"
# The boxes of one picture, x1, y1, x2, y2 in pixels: each alone or with the name of its class, or those of other poses.
Boxes: TypeAlias = "Poses | np.ndarray | Iterable[Box | tuple[str, Box]]"


@dataclass(frozen=True, eq=False)
class KnownBoxes:
    """The boxes of one picture, checked."""

    boxes: np.ndarray  # [N, 4] x1, y1, x2, y2 in pixels
    classes: np.ndarray  # [N] class numbers

    def in_frame(self, image: EncodedImage) -> np.ndarray:
        """The boxes [N, 4] as cx, cy, w, h in [0, 1] of the encoded part; ImageError if one is outside."""
        corner, size = np.array(image.frame[:2]), np.subtract(image.frame[2:], image.frame[:2])
        corners = ((self.boxes.reshape(-1, 2, 2) - corner) / size).clip(0, 1)
        sides = corners[:, 1] - corners[:, 0]
        outside = np.flatnonzero((sides <= 0).any(1))
        if len(outside):
            box = ", ".join(f"{value:g}" for value in self.boxes[outside[0]])
            x1, y1, x2, y2 = image.frame
            raise ImageError(
                f"Box {outside[0]} ({box}) is outside the part of the picture that is searched, ({x1}, {y1}, {x2}, "
                f"{y2}). Boxes are x1, y1, x2, y2 in pixels of the upright picture."
            )
        return np.concatenate((corners.mean(1), sides), axis=1).astype(np.float32)


def known_boxes(given: Boxes | KnownBoxes, classes: Sequence[EncodedClass]) -> KnownBoxes:
    """Check the boxes of one picture.

    Raises:
        PromptError: a box is not valid, or does not belong to one of the classes.
    """
    if isinstance(given, KnownBoxes):
        return given
    labels = [entry.names.label for entry in classes]
    entries = zip(given.categories, given.boxes, strict=True) if isinstance(given, Poses) else given
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
        raise PromptError(f"boxes is {quote(repr(given))}. It must be a list of boxes: x1, y1, x2, y2 in pixels.")
    boxes, numbers = [], []
    for number, entry in enumerate(entries):
        name, box = entry if isinstance(entry, tuple) and entry and isinstance(entry[0], str) else (None, entry)
        boxes.append(_checked(number, box))
        numbers.append(_class_number(number, name, labels))
    return KnownBoxes(np.array(boxes, np.float64).reshape(-1, 4), np.array(numbers, np.int64))


def box_arrays(known: Sequence[KnownBoxes], images: Sequence[EncodedImage]) -> BoxArrays:
    """The boxes of a batch of pictures, at least one in total."""
    most = max(len(of_image.boxes) for of_image in known)
    boxes = np.full((len(known), most, 4), 0.5, np.float32)
    classes = np.zeros((len(known), most), np.int64)
    for b, (of_image, image) in enumerate(zip(known, images, strict=True)):
        count = len(of_image.boxes)
        boxes[b, :count], classes[b, :count] = of_image.in_frame(image), of_image.classes
    return BoxArrays(boxes, classes)


def same_class(name: str, labels: Sequence[str]) -> int | None:
    """The number of the class with this name, ignoring case and hyphens; None if there is none."""
    names = [normalise(label) for label in labels]
    return labels.index(name) if name in labels else names.index(normalise(name)) if normalise(name) in names else None


def _checked(number: int, box: object) -> np.ndarray:
    try:
        corners = np.asarray(box, dtype=np.float64)
        valid = corners.shape == (4,) and np.isfinite(corners).all() and (corners[2:] > corners[:2]).all()
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise PromptError(
            f"Box {number} is {quote(repr(box))}. A box is x1, y1, x2, y2 in pixels, with x2 > x1 and y2 > y1; with "
            'its class it is ("dog", (x1, y1, x2, y2)).'
        )
    return corners


def _class_number(number: int, name: str | None, labels: Sequence[str]) -> int:
    listed = ", ".join(map(quote, labels))
    if name is None:
        if len(labels) > 1:
            raise PromptError(
                f"Box {number} names no class, and {len(labels)} are prompted ({listed}). Name it: "
                f"({quote(labels[0])}, (x1, y1, x2, y2))."
            )
        return 0
    found = same_class(name, labels)
    if found is None:
        raise PromptError(
            f"Box {number} is of the class {quote(name)}, which is not prompted.{did_you_mean(name, labels)} Prompted: "
            f"{listed}. Leave the box out, or prompt its class."
        )
    return found
