"""Turns upright pictures into network input. Claims of identical results include this step.

The short side becomes `short` pixels and the long side floor(short · long side / short side). If that exceeds the
limit, `short` is first replaced by round(limit · short side / long side), which rounds halves to even as in Python.
Bytes are resized with Pillow's bilinear filter, which averages when reducing ("antialias"). Pixels are then divided by
255 and normalised with ImageNet's mean and deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from xpose.errors import ImageError
from xpose.inference.encoded import PreparedImage

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def frame_of(height: int, width: int, region: Sequence[float] | None) -> tuple[int, int, int, int]:
    """The corners x1, y1, x2, y2 of the whole pixels that a region (x, y, width, height) of a picture covers.

    Raises:
        ImageError: the region is not inside the picture.
    """
    if region is None:
        return 0, 0, width, height
    x, y, w, h = region
    if x + w > width or y + h > height:
        raise ImageError(
            f"The region {x:g},{y:g},{w:g},{h:g} (x, y, width, height) reaches beyond the picture of {width} x "
            f"{height} pixels. Give a region inside the picture."
        )
    return math.floor(x), math.floor(y), math.ceil(x + w), math.ceil(y + h)


def input_size(height: int, width: int, short: int, limit: int) -> tuple[int, int]:
    """Height and width of the network's input for a picture."""
    small, large = min(height, width), max(height, width)
    if short * large // small > limit:
        short = round(limit * small / large)
        if short < 1:  # a very thin picture would get no pixels
            return (1, limit) if height <= width else (limit, 1)
    long_side = max(1, short * large // small)
    return (short, long_side) if height <= width else (long_side, short)


def to_input(pixels: np.ndarray, short: int, limit: int) -> np.ndarray:
    """RGB bytes [h, w, 3] to a normalised array [3, h', w'], float32."""
    height, width = input_size(pixels.shape[0], pixels.shape[1], short, limit)
    if (height, width) != pixels.shape[:2]:
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    values = pixels.reshape(height, -1).astype(np.float32)  # whole rows together, which is fastest in numpy
    values /= 255
    values -= np.tile(np.array(MEAN, np.float32), width)
    values /= np.tile(np.array(STD, np.float32), width)
    return values.reshape(height, width, 3).transpose(2, 0, 1)


def prepare(
    pixels: np.ndarray,
    short: int,
    limit: int,
    region: Sequence[float] | None = None,
    *,
    resize: bool = True,
    path: Path | None = None,
) -> PreparedImage:
    """What the network needs of an upright picture; without `resize`, the engine still has to do that.

    Raises:
        ImageError: the region is not inside the picture.
    """
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = frame = frame_of(height, width, region)
    part = pixels[y1:y2, x1:x2]
    values = to_input(part, short, limit) if resize else part
    return PreparedImage(values, input_size(y2 - y1, x2 - x1, short, limit), (height, width), frame, path)
