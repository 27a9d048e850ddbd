"""A prompt picture as an image tower takes it, and where its points lie then: CLIP's tower, or our own backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xpose.errors import ImageError, PromptError

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
MARGIN = 1.25
"""Side of the square cut out, in longer sides of the box."""


@dataclass(frozen=True)
class PromptPicture:
    """A prepared picture and the way from its original's pixels to 0..1 of it."""

    tensor: Tensor  # [3, size, size], normalised
    scale: tuple[float, float]  # x, y
    shift: tuple[float, float]

    def place(self, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Points [K, 2] in pixels of the original as 0..1 of the picture; those cut off become invisible."""
        points = points if points.is_floating_point() else points.to(torch.float32)
        placed = points * points.new_tensor(self.scale) + points.new_tensor(self.shift)
        inside = ((placed > -1e-6) & (placed < 1 + 1e-6)).all(dim=-1)  # NaN is not inside
        return placed, visible.to(torch.bool) & inside


def prompt_picture(
    image: Image.Image | np.ndarray, box: Sequence[float] | None = None, *, size: int = 224, margin: float = MARGIN
) -> PromptPicture:
    """Cut, resize (bicubic) and normalise a picture.

    Args:
        image: a PIL picture, or an RGB array [H, W, 3] of bytes.
        box: x1, y1, x2, y2 of the object in pixels. The square around its centre, `margin` times its longer side, is
            taken, with CLIP's mean colour where it leaves the picture. Without a box the picture is prepared as CLIP
            was trained: short side to `size`, then the middle square.
        size: height and width of the result.
        margin: see `box`.

    Raises:
        ImageError: an array of another shape or type.
        PromptError: a box without area, or one that misses the picture.
    """
    picture = _as_picture(image)
    if box is None:
        return _middle(picture, size)
    left, top, side = _square(picture, box, margin)
    ground = Image.new("RGB", (side, side), tuple(round(255 * mean) for mean in MEAN))
    ground.paste(picture.crop(_clipped(picture, left, top, side)), (max(-left, 0), max(-top, 0)))
    cut = ground.resize((size, size), Image.Resampling.BICUBIC)
    return PromptPicture(_normalised(cut), (1 / side, 1 / side), (-left / side, -top / side))


def example_picture(
    image: Image.Image | np.ndarray,
    box: Sequence[float],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    size: int = 224,
    margin: float = MARGIN,
) -> PromptPicture:
    """The same square for our own networks: cut out between the pixels, exactly as examples are in training.

    Args:
        image: as for `prompt_picture`.
        box: x1, y1, x2, y2 of the object in pixels.
        mean: of the normalisation, for red, green and blue; also the colour outside of the picture.
        std: of the normalisation.
        size: height and width of the result.
        margin: side of the square, in longer sides of the box.

    Raises:
        ImageError: an array of another shape or type.
        PromptError: a box without area, or one that misses the picture.
    """
    picture = _as_picture(image)
    centre_x, centre_y, side = _exact_square(picture, box, margin)
    left, top = centre_x - side / 2, centre_y - side / 2
    first, above = math.floor(left), math.floor(top)
    ground = Image.new(
        "RGB",
        (math.ceil(left + side) - first, math.ceil(top + side) - above),
        (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2])),
    )
    region = (max(first, 0), max(above, 0))
    within = (min(first + ground.width, picture.width), min(above + ground.height, picture.height))
    ground.paste(picture.crop((*region, *within)), (region[0] - first, region[1] - above))
    corner = (left - first, top - above)
    square = (*corner, min(corner[0] + side, ground.width), min(corner[1] + side, ground.height))
    cut = ground.resize((size, size), Image.Resampling.BILINEAR, box=square)
    return PromptPicture(_normalised(cut, mean, std), (1 / side, 1 / side), (-left / side, -top / side))


def _middle(picture: Image.Image, size: int) -> PromptPicture:
    width, height = picture.size
    short = min(width, height)
    wide, high = (size * side // short for side in (width, height))
    left, top = round((wide - size) / 2), round((high - size) / 2)
    # Only the part that is kept is resampled: a picture of 1 x 100000 pixels would else grow to 22 million rows.
    region = (left * width / wide, top * height / high, (left + size) * width / wide, (top + size) * height / high)
    cut = _resize_region(picture, (wide, high), (left, top), region, size)
    return PromptPicture(_normalised(cut), (wide / width / size, high / height / size), (-left / size, -top / size))


def _resize_region(
    picture: Image.Image,
    resized: tuple[int, int],
    corner: tuple[int, int],
    region: tuple[float, float, float, float],
    size: int,
) -> Image.Image:
    if max(resized) <= 64 * size:  # exactly CLIP's: resize the whole, then crop
        whole = picture.resize(resized, Image.Resampling.BICUBIC)
        return whole.crop((*corner, corner[0] + size, corner[1] + size))
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=region)


def _square(picture: Image.Image, box: Sequence[float], margin: float) -> tuple[int, int, int]:
    """Left, top and side, in whole pixels."""
    centre_x, centre_y, exact = _exact_square(picture, box, margin)
    side = max(math.ceil(exact), 1)
    return round(centre_x - side / 2), round(centre_y - side / 2), side


def _exact_square(picture: Image.Image, box: Sequence[float], margin: float) -> tuple[float, float, float]:
    """Centre and side, between the pixels."""
    x1, y1, x2, y2 = (float(value) for value in box)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)) or x2 <= x1 or y2 <= y1:
        raise PromptError(
            f"The box {(x1, y1, x2, y2)} has no area. A box is x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2. "
            "Check the order of its numbers."
        )
    if x2 <= 0 or y2 <= 0 or x1 >= picture.width or y1 >= picture.height:
        raise PromptError(
            f"The box {(x1, y1, x2, y2)} lies outside the picture of {picture.width} x {picture.height} pixels. "
            "It must cover a part of it. Check that it is in pixels of this picture."
        )
    limit = 4 * max(picture.size)
    side = min(max(x2 - x1, y2 - y1) * margin, limit)
    centre_x, centre_y = (max(x1, -limit) + min(x2, limit)) / 2, (max(y1, -limit) + min(y2, limit)) / 2
    return centre_x, centre_y, side


def _clipped(picture: Image.Image, left: int, top: int, side: int) -> tuple[int, int, int, int]:
    return max(left, 0), max(top, 0), min(left + side, picture.width), min(top + side, picture.height)


def _as_picture(image: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ImageError(
                f"Got an array of shape {image.shape} and type {image.dtype}. A prompt picture is [H, W, 3] of uint8. "
                "Convert it to RGB bytes first."
            )
        return Image.fromarray(image)
    return image.convert("RGB")


def _normalised(picture: Image.Image, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    pixels = np.asarray(picture, dtype=np.float32) / 255
    return (
        torch.from_numpy((pixels - np.array(mean, np.float32)) / np.array(std, np.float32))
        .permute(2, 0, 1)
        .contiguous()
    )
