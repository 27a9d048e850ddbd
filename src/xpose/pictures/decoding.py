"""The bytes of a picture file to RGB bytes, no larger than needed.

The stored orientation is kept (annotations belong to the stored pixels). A JPEG that is to be shown much smaller is
decoded at a half, a quarter or an eighth of its size, which averages pixels and takes a fraction of the time.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from xpose.errors import DataError, quote
from xpose.pictures.opencv import opencv
from xpose.pictures.sizes import PICTURE_FORMATS

MOST_PIXELS = 200_000_000
_REDUCED = {2: "IMREAD_REDUCED_COLOR_2", 4: "IMREAD_REDUCED_COLOR_4", 8: "IMREAD_REDUCED_COLOR_8"}


def decode(content: bytes, name: str, size: tuple[int, int], scale: float = 1.0) -> tuple[np.ndarray, int]:
    """RGB bytes [h, w, 3] of a picture file, and what its sides were divided by: 1, 2, 4 or 8.

    Args:
        content: the file.
        name: for messages.
        size: width and height that the labels belong to.
        scale: the picture will be shown at this scale or a smaller one.

    Raises:
        DataError: it is no picture, damaged, or of another size.
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
        by, pixels = 1, _read_any(content, name)
    if by == 1 and pixels.shape[:2] != (height, width):
        found = f"is {pixels.shape[1]}x{pixels.shape[0]}, but its labels belong to {width}x{height} pixels"
        raise _wrong(name, found)
    return pixels, by


def _wrong(name: str, what: str) -> DataError:
    return DataError(
        f"The picture {quote(name)} {what}. It was another file when the set was prepared, or is damaged: "
        "fetch it again and run xpose data prepare."
    )


def _read_jpeg(content: bytes, by: int) -> np.ndarray | None:
    cv2 = opencv()
    flags = getattr(cv2, _REDUCED[by]) if by > 1 else cv2.IMREAD_COLOR
    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if found is None else np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB))


def _read_any(content: bytes, name: str) -> np.ndarray:
    """What OpenCV's JPEG reader does not take; transparency on white, 16 bits brought to 8."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture: Image.Image = Image.open(io.BytesIO(content), formats=PICTURE_FORMATS)
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels are too many")
            if picture.mode.startswith(("I", "F")):
                values = np.asarray(picture).astype(np.float64)
                high = next(limit for limit in (255.0, 4095.0, 65535.0, float(values.max())) if values.max() <= limit)
                grey = (values * (255 / high)).clip(0, 255).round().astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                rgba = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
            return np.array(picture.convert("RGB"))
    except Exception as error:  # decoders meet damaged files with errors of every kind
        raise _wrong(name, f"cannot be read ({str(error)[:120] or type(error).__name__})") from None


def encode_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The bytes of a JPEG file as an array."""
    cv2 = opencv()
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV writes JPEG"
    return np.asarray(coded).reshape(-1)
