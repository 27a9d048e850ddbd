"""Decode picture files to RGB bytes, no larger than needed.

The stored orientation is kept (annotations refer to the stored pixels). A JPEG that is to be shown much smaller is
decoded at a half, a quarter or an eighth of its size, which averages pixels and takes a fraction of the time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from xpose.errors import DataError, missing_extra, quote
from xpose.pictures.reading import MOST_PIXELS, opened, stored_pixels


@cache
def opencv() -> Any:
    """The module `cv2` with its own threads turned off, because the loader already has workers."""
    try:
        import cv2
    except ImportError:
        raise missing_extra("Loading pictures for training", "opencv-python-headless", "data") from None
    cv2.setNumThreads(0)  # a process that forks while OpenCV's threads run can hang
    return cv2


def decode(content: bytes, name: str, size: tuple[int, int], scale: float = 1.0) -> tuple[np.ndarray, int]:
    """RGB bytes [h, w, 3] of a picture file, and the divisor of its sides: 1, 2, 4 or 8.

    `name` is for messages. `size` is the width and height that the labels refer to; another size is a DataError. The
    picture will be shown at `scale` or smaller.
    """
    width, height = size
    if width * height > MOST_PIXELS:
        raise _wrong(name, f"has {width}x{height} pixels, more than the {MOST_PIXELS:,} that are read")
    jpeg = content[:2] == b"\xff\xd8"
    by = next((by for by in (8, 4, 2) if scale * by <= 1), 1) if jpeg else 1
    pixels = _read_jpeg(content, by) if jpeg else None
    if pixels is not None and by > 1 and pixels.shape[:2] != (-(-height // by), -(-width // by)):
        pixels = _read_jpeg(content, by := 1)
    if pixels is None:
        by = 1
        try:
            pixels = stored_pixels(content)
        except Exception as error:  # decoders raise errors of every kind for damaged files
            raise _wrong(name, f"cannot be read ({str(error)[:120] or type(error).__name__})") from None
    if by == 1 and pixels.shape[:2] != (height, width):
        actual = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise _wrong(name, f"is {actual}, but its labels belong to {width}x{height} pixels")
    return pixels, by


def _wrong(name: str, what: str) -> DataError:
    return DataError(f"The picture {quote(name)} {what}. Fetch it again and run: xpose data prepare")


def _read_jpeg(content: bytes, by: int) -> np.ndarray | None:
    cv2 = opencv()
    flags = getattr(cv2, f"IMREAD_REDUCED_COLOR_{by}") if by > 1 else cv2.IMREAD_COLOR
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def decode_jpeg(content: np.ndarray) -> np.ndarray:
    """RGB bytes [h, w, 3] of a result of `encode_jpeg`."""
    cv2 = opencv()
    return np.asarray(cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def encode_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The bytes of a JPEG file as an array."""
    cv2 = opencv()
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV writes JPEG"
    return np.asarray(coded).reshape(-1)


def grey_thumbnail(content: bytes, side: int) -> np.ndarray:
    """A picture file's content in grey, reduced to [side, side]; damaged files raise the decoder's errors."""
    grey = _grey_webp(content)
    if grey is None:
        with opened(content) as stored:
            stored.draft("L", (4 * side, 4 * side))  # lets the JPEG decoder reduce it, which is much faster
            grey = stored.convert("L")
    return np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0))


def _grey_webp(content: bytes) -> Image.Image | None:
    """A WebP picture by OpenCV, if installed: takes less than half of Pillow's time, and threads help."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    try:
        cv2 = opencv()
        grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    except Exception:  # OpenCV is missing or fails: Pillow is tried
        return None
    return None if grey is None else Image.fromarray(grey)
