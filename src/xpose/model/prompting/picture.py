"""Example pictures as input of CLIP's image tower or of our own backbone, with their points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from xpose.errors import ImageError, PromptError

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
MARGIN = 1.25
"""Side of the cut-out, as a multiple of the box's longer side."""


@dataclass(frozen=True)
class PromptPicture:
    """A prepared picture and the transform from the original's pixels to its own 0..1."""

    pixels: np.ndarray  # [3, size, size] float32, normalised
    scale: tuple[float, float]  # x, y
    shift: tuple[float, float]

    def place(self, points: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map points [K, 2] from original pixels to 0..1 of the picture; those cut off become invisible."""
        placed = points.astype(np.float32) * np.array(self.scale, np.float32) + np.array(self.shift, np.float32)
        inside = ((placed > -1e-6) & (placed < 1 + 1e-6)).all(axis=-1)  # NaN is not inside
        return placed, visible.astype(bool) & inside


def prompt_picture(image: Image.Image | np.ndarray, box: Sequence[float], *, size: int = 224) -> PromptPicture:
    """Cut out, resize (bicubic) and normalise a picture for CLIP.

    Args:
        image: a PIL picture, or an RGB array [H, W, 3] of bytes.
        box: x1, y1, x2, y2 of the object in pixels. The square around its centre, `MARGIN` times its longer side, is
            cut out in whole pixels, with CLIP's mean colour where it extends beyond the picture.
        size: height and width of the result.

    Raises:
        ImageError: the array has another shape or type.
        PromptError: the box has no area or is outside the picture.
    """
    picture = _as_picture(image)
    centre_x, centre_y, exact_side = _square(picture, box)
    side = max(math.ceil(exact_side), 1)
    left, top = round(centre_x - side / 2), round(centre_y - side / 2)
    cut = _cut(picture, (left, top, left + side, top + side), MEAN).resize((size, size), Image.Resampling.BICUBIC)
    return PromptPicture(_normalised(cut, MEAN, STD), (1 / side, 1 / side), (-left / side, -top / side))


def example_picture(
    image: Image.Image | np.ndarray,
    box: Sequence[float],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    size: int = 224,
) -> PromptPicture:
    """The same square for our own networks, cut out at subpixel precision (bilinear), exactly as in training.

    `mean` and `std` normalise red, green and blue; `mean` is also the colour outside of the picture. The rest is as in
    `prompt_picture`.
    """
    picture = _as_picture(image)
    centre_x, centre_y, side = _square(picture, box)
    left, top = centre_x - side / 2, centre_y - side / 2
    first, above = math.floor(left), math.floor(top)
    ground = _cut(picture, (first, above, math.ceil(left + side), math.ceil(top + side)), mean)
    corner = (left - first, top - above)
    square = (*corner, min(corner[0] + side, ground.width), min(corner[1] + side, ground.height))
    cut = ground.resize((size, size), Image.Resampling.BILINEAR, box=square)
    return PromptPicture(_normalised(cut, mean, std), (1 / side, 1 / side), (-left / side, -top / side))


def _cut(picture: Image.Image, region: tuple[int, int, int, int], mean: Sequence[float]) -> Image.Image:
    """A region in whole pixels, with the mean colour where it extends beyond the picture."""
    left, top, right, bottom = region
    red, green, blue = (round(255 * value) for value in mean)
    ground = Image.new("RGB", (right - left, bottom - top), (red, green, blue))
    inside = (max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height))
    ground.paste(picture.crop(inside), (inside[0] - left, inside[1] - top))
    return ground


def _square(picture: Image.Image, box: Sequence[float]) -> tuple[float, float, float]:
    """Centre and side of the square around a box, in fractional pixels."""
    x1, y1, x2, y2 = (float(value) for value in box)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)) or x2 <= x1 or y2 <= y1:
        raise PromptError(
            f"The box {(x1, y1, x2, y2)} has no area. A box is x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2."
        )
    if x2 <= 0 or y2 <= 0 or x1 >= picture.width or y1 >= picture.height:
        raise PromptError(
            f"The box {(x1, y1, x2, y2)} is outside the picture of {picture.width} x {picture.height} pixels. "
            "Give it in pixels of this picture."
        )
    limit = 4 * max(picture.size)
    side = min(max(x2 - x1, y2 - y1) * MARGIN, limit)
    return (max(x1, -limit) + min(x2, limit)) / 2, (max(y1, -limit) + min(y2, limit)) / 2, side


def _as_picture(image: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ImageError(
                f"Got an array of shape {image.shape} and type {image.dtype}. A prompt picture is [H, W, 3] of uint8. "
                "Convert it to RGB bytes first."
            )
        return Image.fromarray(image)
    return image.convert("RGB")


def _normalised(picture: Image.Image, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    pixels = np.asarray(picture, dtype=np.float32) / 255
    normalised = (pixels - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))
