"""The pixels of a pool's pictures, and a memory of small copies for machines with few cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xpose.data.loading.pool import Pool, content_of
from xpose.data.loading.warps import Size, compose, scale_of, warp
from xpose.pictures.decoding import decode, decode_jpeg, encode_jpeg, opencv

Form = Literal["pixels", "jpeg"]
_QUALITY = 92  # of the copies kept as JPEG


class _Copy(NamedTuple):
    content: np.ndarray  # [h, w, 3] RGB bytes, or the bytes of a JPEG file
    factors: tuple[float, float]  # from continuous x and y of the stored picture to those of the copy


class Pictures:
    """The pixels of a pool's pictures by number, from the memory where a copy is kept, else from the files."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._copies: dict[int, _Copy] = {}

    def read(self, number: int, scale: float = 1.0) -> tuple[np.ndarray, tuple[float, float]]:
        """RGB bytes of a picture that will be shown at `scale` or a smaller one; perhaps smaller than stored.

        Continuous x and y of the stored picture times the two factors are those of the result.
        """
        if number in self._copies:
            content, factors = self._copies[number]
            return content if content.ndim == 3 else decode_jpeg(content), factors
        path = self.pool.path(number)
        pixels, by = decode(content_of(Path(path)), path, self.pool.size(number), scale)
        return pixels, (1 / by, 1 / by)

    def warped(self, number: int, matrix: np.ndarray, frame: Size) -> np.ndarray:
        """RGB bytes of a frame; the matrix maps the stored picture to it."""
        pixels, factors = self.read(number, scale_of(matrix))
        return warp(pixels, compose(matrix, np.diag([1 / factors[0], 1 / factors[1], 1.0])[:2]), frame)

    def keep(self, side: int, megabytes: float, *, form: Form = "pixels", threads: int = 2) -> int:
        """Keep copies with a longest side of `side` in memory, until `megabytes` are full; how many there are.

        Call it before workers are started, so that they share the memory. The labels stay as they are: copies only
        have fewer pixels.
        """
        limit, used = int(megabytes * 1e6), 0
        copies: dict[int, _Copy] = {}
        with ThreadPoolExecutor(threads) as executor:
            for first in range(0, len(self.pool), 256):
                portion = range(first, min(first + 256, len(self.pool)))
                made = executor.map(lambda number: self._small(number, side, form), portion)
                for number, copy in zip(portion, made, strict=True):
                    if used + copy.content.size <= limit:
                        copies[number] = copy
                        used += copy.content.size
                if used > limit * 0.99:
                    break
        self._copies = copies
        return len(copies)

    def _small(self, number: int, side: int, form: Form) -> _Copy:
        cv2 = opencv()
        width, height = self.pool.size(number)
        scale = min(1.0, side / max(width, height))
        pixels, (fx, fy) = self.read(number, scale)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if (pixels.shape[1], pixels.shape[0]) != size:
            fx, fy = fx * size[0] / pixels.shape[1], fy * size[1] / pixels.shape[0]
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        return _Copy(np.ascontiguousarray(pixels) if form == "pixels" else encode_jpeg(pixels, _QUALITY), (fx, fy))
