"""Convert pictures of any kind to RGB bytes.

Detections are pixels of the *upright* picture, so `read_picture` applies the EXIF orientation. Labels refer to the
stored pixels, so `stored_pixels` ignores the orientation.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from xpose.errors import DataError, ImageError, XPoseWarning, counted, quote
from xpose.pictures import PICTURE_ENDINGS, PICTURE_FORMATS

if TYPE_CHECKING:
    from torch import Tensor

    PictureSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray | Tensor

MOST_PIXELS = 200_000_000  # 14 000 × 14 000; a small file can claim far more
WEBP_HEAD = 30  # bytes of a WebP file that hold its size
_ANIMATED = ("GIF", "TIFF", "WEBP", "PNG")
_SUBFILE_TYPE, _REDUCED = 254, 1  # the TIFF tag of a page, and its bit for a reduced copy of another page
_TAIL = 4096  # bytes at a file's end that are searched for its end marker


@contextmanager
def opened(file: Path | bytes | IO[bytes]) -> Iterator[Image.Image]:
    """Open a picture file without decoding its pixels. Damaged files can raise any Pillow error, at any point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes, which are limited below, and odd metadata
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=PICTURE_FORMATS) as picture:
            yield picture


def read_picture(source: PictureSource) -> tuple[np.ndarray, Path | None]:
    """Any picture as upright RGB bytes [height, width, 3], and the path it came from, if any.

    Args:
        source: a path; the content of a picture file; a PIL picture; an array [h, w], [h, w, 1], [h, w, 3] or
            [h, w, 4] of bytes, 16-bit numbers, or floats in [0, 1]; a tensor of one of these forms, or with the
            channels first.

    Raises:
        ImageError: the picture is missing, damaged, too large, or in an unsupported form.
    """
    if isinstance(source, (str, Path)):
        path = _existing(source)
        return _read(path, quote(path), MOST_PIXELS), path
    if isinstance(source, bytes):
        return _read(source, _content_name(source), MOST_PIXELS), None
    if isinstance(source, Image.Image):
        return _upright(source, "the picture", MOST_PIXELS), None
    if type(source).__module__.split(".")[0] == "torch":
        tensor: Any = source
        return _from_array(_channels_last(tensor.detach().cpu().numpy())), None
    if isinstance(source, np.ndarray):
        return _from_array(source), None
    raise ImageError(
        f"A {type(source).__name__} is not a picture. Give a path, the bytes of a picture file, a PIL picture, an "
        "array or a tensor."
    )


def count_frames(path: Path) -> int:
    """The number of frames that `read_frames` yields; 1 if the file cannot be read, so that reading it says why."""
    try:
        with opened(path) as picture:
            return _count(picture)
    except Exception:  # decoders raise errors of every kind for damaged files
        return 1


def read_frames(source: str | Path | bytes) -> Iterator[np.ndarray]:
    """Every frame of an animation, or every page of a TIFF file, as `read_picture` reads the first one.

    Reduced copies of a TIFF page are left out. Other files have one frame.

    Raises:
        ImageError: a frame is damaged or too large; there are no further ones then.
    """
    file = source if isinstance(source, bytes) else _existing(source)
    name = _content_name(file) if isinstance(file, bytes) else quote(file)
    with _clear_errors(name, MOST_PIXELS), opened(file) as picture:
        places = _frames(picture)
        for number, place in enumerate(places, start=1):
            frame = name if len(places) == 1 else f"Frame {number} of {name}"
            with _clear_errors(frame, MOST_PIXELS):
                picture.seek(place)
                pixels = _upright(picture, frame, MOST_PIXELS)
            yield pixels


def _count(picture: Image.Image) -> int:
    """The number of frames in an opened file; 1 if it is damaged behind the first one."""
    try:
        return len(_frames(picture))
    except Exception:  # decoders raise errors of every kind for damaged files
        return 1


def _frames(picture: Image.Image) -> list[int]:
    """The places of the frames in an opened file; files of cameras may contain other pictures, which do not count."""
    places = range(getattr(picture, "n_frames", 1) if picture.format in _ANIMATED else 1)
    if picture.format != "TIFF" or len(places) == 1:
        return [*places]
    kept = []
    for place in places:
        picture.seek(place)
        if not getattr(picture, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & _REDUCED:
            kept.append(place)
    picture.seek(0)
    return kept or [0]


def picture_from_bytes(data: bytes, name: str, *, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """The content of a picture file, such as an upload, as upright RGB bytes [height, width, 3].

    Errors call the picture `name`. Pictures of more than `most_pixels` are rejected before decoding.

    Raises:
        ImageError: the picture is damaged, too large, or not a picture.
    """
    return _read(data, quote(name), min(most_pixels, MOST_PIXELS))


def stored_pixels(file: Path | bytes) -> np.ndarray:
    """RGB bytes [height, width, 3] of a picture file, *without* its EXIF orientation.

    Damaged files raise Pillow's errors; callers add which picture it is and what it was needed for.

    Raises:
        ImageError: the picture is too large, or its pixels have invalid values.
    """
    with opened(file) as picture:
        _check_size(picture, "The picture", MOST_PIXELS)
        return _rgb(picture)


def _existing(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        raise ImageError(f"{quote(path)} is a folder. Give its pictures one by one, or use: xpose detect {path}")
    if not path.exists():
        raise ImageError(f"There is no picture {quote(path)}. Check the path.")
    return path


def _content_name(content: bytes) -> str:
    return f"The content of {counted(len(content), 'byte')}"


def _read(file: Path | bytes, name: str, most: int) -> np.ndarray:
    with _clear_errors(name, most), opened(file) as picture:
        pixels = _upright(picture, name, most)
        frames = _count(picture)
    if frames > 1:
        warnings.warn(
            f"{name} has {frames} frames; only the first is read. Read all of them with xpose.read_frames.",
            XPoseWarning,
            stacklevel=4,
        )
    return pixels


@contextmanager
def _clear_errors(name: str, most: int) -> Iterator[None]:
    """Turn the errors of decoders into an `ImageError` that names the picture."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(PICTURE_ENDINGS)
        raise ImageError(f"{name} is not a picture that can be read. Convert it to one of {kinds}.") from None
    except Image.DecompressionBombError:
        raise _too_large(name, "more than twice Pillow's limit of", most) from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError, TypeError, IndexError) as error:
        reason = str(error)[:150] or type(error).__name__
        raise ImageError(f"{name} is damaged or cut short ({reason}). Get it again from its source.") from None


def _too_large(name: str, pixels: str, most: int) -> ImageError:
    return ImageError(f"{name} has {pixels} pixels; at most {most:,} are read. Reduce it first.")


def _check_size(picture: Image.Image, name: str, most: int) -> None:
    if picture.width * picture.height > most:
        raise _too_large(name, f"{picture.width} x {picture.height}", most)


def _upright(picture: Image.Image, name: str, most: int) -> np.ndarray:
    """The first frame as RGB bytes, in its EXIF orientation."""
    _check_size(picture, name, most)
    return _rgb(ImageOps.exif_transpose(picture))


def _rgb(picture: Image.Image) -> np.ndarray:
    """RGB bytes: more than 8 bits are scaled, and transparency becomes white."""
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
    # If both ends can be channels, PyTorch's order is used, except for four channels.
    first, last = (array.shape[0], array.shape[-1]) if array.ndim == 3 else (0, 0)
    return array.transpose(1, 2, 0) if first in (1, 3) or (first == 4 and last not in (1, 3, 4)) else array


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        rule = "It must be [height, width] or [height, width, 3 or 4], with at least one pixel."
        raise ImageError(f"An array of shape {array.shape} is not a picture. {rule}")
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
        # Microscopes and scanners use only part of 16 bits: 12-bit pictures would be black if divided by 65535.
        low, high = int(array.min()), int(array.max())
        if low < 0:
            raise ImageError(f"The picture has values down to {low}. Integer pictures run from 0 upwards. Rescale it.")
        if high <= 255:
            return array.astype(np.uint8)
        limit = next(limit for limit in (4095, 65535, high) if high <= limit)
        return (array.astype(np.float64) * (255 / limit)).round().astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"Pixels of type {array.dtype} are not understood. Use bytes, 16-bit numbers or floats.")
    if not np.isfinite(array).all():
        raise ImageError("The picture holds NaN or infinite values. Replace them first, e.g. with numpy.nan_to_num.")
    least, most = float(array.min()), float(array.max())
    if least < 0 or most > 255:
        rule = "Floats run from 0 to 1 (or to 255). Undo any normalisation first."
        raise ImageError(f"The float picture has values from {least:g} to {most:g}. {rule}")
    return (array * (255.0 if most <= 1 else 1.0)).round().astype(np.uint8)


def natural_key(path: Path) -> list[list[tuple[int, int, str]]]:
    """A sort key that compares numbers in names by value: "frame 2" before "frame 10"."""
    return [
        [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in re.split(r"(\d+)", part)]
        for part in path.parts
    ]


def find_pictures(folder: Path) -> Iterator[Path]:
    """The pictures in a folder and its subfolders, sorted by path."""
    yield from sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_ENDINGS and p.is_file())


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height from the header; a file without its end marker is decoded to check it."""
    try:
        with open(path, "rb") as file:
            whole = webp_size(file.read(WEBP_HEAD), path.stat().st_size)
            if whole is not None:
                return whole
            file.seek(0)
            with opened(file) as picture:
                size, kind = picture.size, picture.format
            if not _ends_properly(file, kind):
                file.seek(0)
                with opened(file) as picture:
                    picture.load()
            return size
    except Exception as error:  # decoders raise errors of every kind for damaged files
        raise DataError(f"the picture {quote(path.name)} cannot be read: {error or type(error).__name__}") from None


def webp_size(head: bytes, length: int) -> tuple[int, int] | None:
    """Width and height of a WebP file from its first `WEBP_HEAD` bytes; None for other or truncated files.

    Pillow reads the whole file to get its size, which takes two milliseconds per picture.
    """
    if len(head) < WEBP_HEAD or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if int.from_bytes(head[4:8], "little") + 8 > length:
        return None

    def number(start: int, count: int) -> int:
        return int.from_bytes(head[start : start + count], "little")

    kind = head[12:16]
    if kind == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        size = number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF
    elif kind == b"VP8L" and head[20] == 0x2F:
        size = (number(21, 4) & 0x3FFF) + 1, (number(21, 4) >> 14 & 0x3FFF) + 1
    else:
        return None
    return size if min(size) > 0 else None


def _ends_properly(file: IO[bytes], kind: str | None) -> bool:
    marks = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
    file.seek(0, 2)
    file.seek(max(0, file.tell() - _TAIL))
    return kind in marks and marks[kind] in file.read()
