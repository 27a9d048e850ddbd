"""Files to RGB bytes, no larger than needed, and a memory of small copies for machines with few cores.

The stored orientation is kept (annotations belong to the stored pixels). A JPEG that is to be shown much smaller is
decoded at a half, a quarter or an eighth of its size, which averages pixels and takes a fraction of the time.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from xpose.data.opencv import opencv
from xpose.data.pool import Pool
from xpose.data.sources import PICTURE_FORMATS
from xpose.errors import DataError, quote

Form = Literal["pixels", "jpeg"]
MOST_PIXELS = 200_000_000
_REDUCED = {2: "IMREAD_REDUCED_COLOR_2", 4: "IMREAD_REDUCED_COLOR_4", 8: "IMREAD_REDUCED_COLOR_8"}
_QUALITY = 92  # of the copies kept as JPEG


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


@dataclass(frozen=True)
class _Kept:
    """All copies one after the other in one array, which forked workers share with the process that filled it."""

    form: Form
    content: np.ndarray
    start: np.ndarray  # [pictures + 1]
    shape: np.ndarray  # [pictures, 2] height and width; zero where no copy is kept
    factors: np.ndarray  # [pictures, 2]


class Pictures:
    """The pixels of a pool's pictures by number, from the memory where a copy is kept, else from the files."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._kept: _Kept | None = None

    def read(self, number: int, scale: float = 1.0) -> tuple[np.ndarray, tuple[float, float]]:
        """RGB bytes of a picture that will be shown at `scale` or a smaller one; perhaps smaller than stored.

        Continuous x and y of the stored picture times the two factors are those of the result.
        """
        kept = self._from_memory(number)
        if kept is not None:
            return kept
        pixels, by = decode(self.pool.content(number), self.pool.path(number), self.pool.size(number), scale)
        return pixels, (1 / by, 1 / by)

    def keep(
        self, side: int, megabytes: float, *, form: Form = "pixels", numbers: Sequence[int] = (), threads: int = 2
    ) -> int:
        """Keep copies with a longest side of `side` in memory, until `megabytes` are full; how many there are.

        Of the pictures `numbers`, or of all where none are given. Call it before workers are started, so that they
        share the memory. The labels stay as they are: copies only have fewer pixels.
        """
        wanted = list(numbers) or list(range(len(self.pool)))
        limit, used = int(megabytes * 1e6), 0
        shape, factors = np.zeros((len(self.pool), 2), np.int32), np.ones((len(self.pool), 2))
        copies: dict[int, np.ndarray] = {}
        with ThreadPoolExecutor(max(1, threads)) as executor:
            for first in range(0, len(wanted), 256):
                portion = wanted[first : first + 256]
                made = executor.map(lambda number: self._small(number, side, form), portion)
                for number, (copy, size, factor) in zip(portion, made, strict=True):
                    if used + copy.size <= limit:
                        copies[number], shape[number], factors[number] = copy, size, factor
                        used += copy.size
                if used > limit * 0.99:
                    break
        content, start, place = np.zeros(used, np.uint8), np.zeros(len(self.pool) + 1, np.int64), 0
        for number in range(len(self.pool)):
            start[number] = place
            if number in copies:
                copy = copies.pop(number)
                content[place : place + copy.size] = copy
                place += copy.size
        start[-1] = place
        self._kept = _Kept(form, content, start, shape, factors)
        return int((shape[:, 0] > 0).sum())

    def _small(self, number: int, side: int, form: Form) -> tuple[np.ndarray, tuple[int, int], tuple[float, float]]:
        cv2 = opencv()
        width, height = self.pool.size(number)
        scale = min(1.0, side / max(width, height))
        pixels, (fx, fy) = self.read(number, scale)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if (pixels.shape[1], pixels.shape[0]) != size:
            fx, fy = fx * size[0] / pixels.shape[1], fy * size[1] / pixels.shape[0]
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        coded = np.ascontiguousarray(pixels).reshape(-1) if form == "pixels" else encode_jpeg(pixels, _QUALITY)
        return coded, (size[1], size[0]), (fx, fy)

    def _from_memory(self, number: int) -> tuple[np.ndarray, tuple[float, float]] | None:
        if self._kept is None or not self._kept.shape[number, 0]:
            return None
        coded = self._kept.content[self._kept.start[number] : self._kept.start[number + 1]]
        fx, fy = self._kept.factors[number].tolist()
        if self._kept.form == "pixels":
            return coded.reshape(*self._kept.shape[number], 3), (fx, fy)
        cv2 = opencv()
        return np.asarray(cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)), (fx, fy)


def encode_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The bytes of a JPEG file as an array."""
    cv2 = opencv()
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV writes JPEG"
    return np.asarray(coded).reshape(-1)
