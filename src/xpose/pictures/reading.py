"""Pictures of any kind to one kind: RGB bytes.

Detections are pixels of the *upright* picture, so `read_picture` applies the EXIF orientation. Labels belong to the
pixels as they are stored, so `stored_pixels` leaves the orientation alone.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from xpose.errors import ImageError, quote
from xpose.pictures import PICTURE_ENDINGS, PICTURE_FORMATS

if TYPE_CHECKING:
    from torch import Tensor

    PictureSource: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor

MOST_PIXELS = 200_000_000  # 14 000 × 14 000; a small file may claim far more


@contextmanager
def opened(file: Path | bytes | IO[bytes]) -> Iterator[Image.Image]:
    """A picture file whose pixels are not decoded yet. Damaged files raise whatever Pillow raises, at any point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes, which are limited below, and of odd metadata
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=PICTURE_FORMATS) as picture:
            yield picture


def read_picture(source: PictureSource) -> tuple[np.ndarray, Path | None]:
    """Any picture as upright RGB bytes [height, width, 3], and the path it came from, if any.

    Args:
        source: a path; a PIL picture; an array [h, w], [h, w, 1], [h, w, 3] or [h, w, 4] of bytes, 16-bit numbers, or
            floats in [0, 1]; a tensor of one of these forms, or with the channels first.

    Raises:
        ImageError: the picture is missing, damaged, too large, or of a form that is not understood.
    """
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if path.is_dir():
            raise ImageError(f"{quote(path)} is a folder. Give its pictures one by one, or use: xpose detect {path}")
        if not path.exists():
            raise ImageError(f"There is no picture {quote(path)}. Check the path.")
        return _read(path, quote(path), MOST_PIXELS), path
    if isinstance(source, Image.Image):
        return _upright(source, "the picture", MOST_PIXELS), None
    if type(source).__module__.split(".")[0] == "torch":
        tensor: Any = source
        return _from_array(_channels_last(tensor.detach().cpu().numpy())), None
    if isinstance(source, np.ndarray):
        return _from_array(source), None
    raise ImageError(f"A {type(source).__name__} is not a picture. Give a path, a PIL picture, an array or a tensor.")


def picture_from_bytes(data: bytes, name: str, *, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """The bytes of a picture file, as they come with an upload, as upright RGB bytes [height, width, 3].

    Args:
        data: the file's content.
        name: what errors call the picture.
        most_pixels: larger pictures are refused before anything is unpacked.

    Raises:
        ImageError: the picture is damaged, too large, or no picture at all.
    """
    return _read(data, quote(name), min(most_pixels, MOST_PIXELS))


def stored_pixels(file: Path | bytes) -> np.ndarray:
    """RGB bytes [height, width, 3] of a picture file, its EXIF orientation *not* applied.

    Damaged files raise whatever Pillow raises: callers say which picture it is and what it was needed for.

    Raises:
        ImageError: the picture is too large, or its pixels have values that no picture has.
    """
    with opened(file) as picture:
        _check_size(picture, "The picture", MOST_PIXELS)
        return _rgb(picture)


def _read(file: Path | bytes, name: str, most: int) -> np.ndarray:
    try:
        with opened(file) as picture:
            return _upright(picture, name, most)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not a picture that can be read. Known kinds are {', '.join(PICTURE_ENDINGS)}. "
            "Convert it to one of them."
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(name, "more than twice Pillow's limit of", most) from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError, TypeError, IndexError) as error:
        raise ImageError(
            f"{name} cannot be read ({str(error)[:150] or type(error).__name__}). The file is damaged or cut "
            "short. Get it again from its source."
        ) from None


def _too_large(name: str, pixels: str, most: int) -> ImageError:
    return ImageError(
        f"{name} has {pixels} pixels; at most {most:,} are read, so that a small file cannot fill the memory. "
        "Reduce it first."
    )


def _check_size(picture: Image.Image, name: str, most: int) -> None:
    if picture.width * picture.height > most:
        raise _too_large(name, f"{picture.width} x {picture.height}", most)


def _upright(picture: Image.Image, name: str, most: int) -> np.ndarray:
    """The first frame, turned as its EXIF says, as RGB bytes."""
    _check_size(picture, name, most)
    return _rgb(ImageOps.exif_transpose(picture))


def _rgb(picture: Image.Image) -> np.ndarray:
    """RGB bytes: more than 8 bits are scaled, what is transparent becomes white."""
    if picture.mode.startswith(("I", "F")):
        return _from_array(np.asarray(picture))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return np.array(picture.convert("RGB"))


def _channels_last(array: np.ndarray) -> np.ndarray:
    """A tensor's [c, h, w] as [h, w, c]; a leading axis of one image is dropped."""
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    elif array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] in (1, 3, 4):
        array = array.transpose(1, 2, 0)  # both fit: PyTorch's order wins for a tensor
    return array


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise ImageError(
            f"An array of shape {array.shape} is not a picture. It must be [height, width] or [height, width, 3 or 4], "
            "with at least one pixel."
        )
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise _too_large("The array", f"{array.shape[1]} x {array.shape[0]}", MOST_PIXELS)
    pixels = _as_bytes(array)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.integer):
        # Microscopes and scanners fill only part of 16 bits: 12-bit pictures would be black without the largest value.
        low, high = int(array.min()), int(array.max())
        if low < 0:
            raise ImageError(f"The picture has values down to {low}. Integer pictures run from 0 upwards. Rescale it.")
        if high <= 255:
            return array.astype(np.uint8)
        limit = next(limit for limit in (4095, 65535, high) if high <= limit)
        return (array.astype(np.float64) * (255 / limit)).round().astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"Pixels of type {array.dtype} are not understood. Use bytes, 16-bit numbers or floats in 0..1."
        )
    if not np.isfinite(array).all():
        raise ImageError("The picture holds NaN or infinite values. Replace them first, e.g. with numpy.nan_to_num.")
    least, most = float(array.min()), float(array.max())
    if least < 0 or most > 255:
        raise ImageError(
            f"The float picture has values from {least:g} to {most:g}. Floats run from 0 to 1 (or to 255). "
            "Undo any normalisation first."
        )
    return (array * (255.0 if most <= 1 else 1.0)).round().astype(np.uint8)


def find_pictures(folder: Path) -> Iterator[Path]:
    """The pictures in a folder and below it, in order of their names."""
    yield from sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_ENDINGS and p.is_file())
