"""The pixels of a pool's pictures, and a memory of small copies for machines with few cores."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xpose.data.loading.pool import Pool
from xpose.pictures.decoding import decode, decode_jpeg, encode_jpeg
from xpose.pictures.opencv import opencv

Form = Literal["pixels", "jpeg"]
_QUALITY = 92  # of the copies kept as JPEG


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
        return decode_jpeg(coded), (fx, fy)
