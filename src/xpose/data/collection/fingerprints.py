"""Fingerprints of pictures: of the file's bytes, and of what it looks like, small copies and mirrored ones alike.

The look is a perceptual hash of 255 bits: the picture in grey at 32x32, its discrete cosine transform, the 16x16 lowest
frequencies without the mean, each bit telling whether one lies above their median. Another JPEG quality or half the
size changes 0 to 8 bits; the nearest of 249 other pictures of a mixed collection differed in at least 20 bits, in the
median in 104 (`python benchmarks/data.py prints FOLDER` measures it on other pictures). A picture without structure
has no look.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.pictures.decoding import grey_thumbnail

if TYPE_CHECKING:
    pass

SIDE, LOW = 32, 16
FLAT = 4.0  # grey levels of standard deviation; below it a picture has no structure to compare
CHUNK = 256  # pictures handed to the processes and to the memory at once


@dataclass(frozen=True, slots=True)
class Prints:
    """What a picture is known by; an empty `look` is a picture without structure."""

    file: bytes  # 16
    look: bytes  # 32, or empty
    mirrored: bytes  # the look of its mirror image


def print_picture(path: Path) -> Prints | None:
    """The fingerprints of a picture file, None if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return print_content(content)


def print_content(content: bytes) -> Prints | None:
    """The fingerprints of the bytes of a picture file, None if they are no picture."""
    try:
        grey = grey_thumbnail(content, SIDE)
    except Exception:  # decoders meet damaged files with errors of every kind
        return None
    look, mirrored = looks(np.asarray(grey, dtype=float))
    return Prints(hashlib.blake2b(content, digest_size=16).digest(), look, mirrored)


def looks(grey: np.ndarray) -> tuple[bytes, bytes]:
    """The look of a grey picture (32, 32) and that of its mirror image; two empty ones without structure."""
    if grey.std() < FLAT:
        return b"", b""
    waves = _waves()
    low = (waves @ grey @ waves.T)[:LOW, :LOW]
    other = low * np.where(np.arange(LOW) % 2, -1.0, 1.0)  # a mirror changes the sign of odd horizontal waves
    return _bits(low), _bits(other)


def _bits(low: np.ndarray) -> bytes:
    flat = low.ravel()[1:]
    return np.packbits(flat > np.median(flat)).tobytes()


@cache
def _waves() -> np.ndarray:
    k = np.arange(SIDE)
    waves: np.ndarray = np.cos(np.pi * (2 * k[None] + 1) * k[:, None] / (2 * SIDE))
    return waves


class PrintStore:
    """Fingerprints kept in a file between runs: a picture of the same size and time is not read again."""

    def __init__(self, path: Path, workers: int = 1) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.workers = workers
        try:
            self.base = self._open(path)
        except sqlite3.DatabaseError:  # damaged, for instance by a crash: it holds nothing that cannot be made again
            path.unlink()
            self.base = self._open(path)

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        base = sqlite3.connect(path)
        base.execute(
            "CREATE TABLE IF NOT EXISTS prints"
            " (path TEXT PRIMARY KEY, size INTEGER, time INTEGER, file BLOB, look BLOB, mirrored BLOB)"
        )
        base.commit()
        return base

    def close(self) -> None:
        """Let go of the file."""
        self.base.close()

    def prints(self, paths: Iterable[Path]) -> Iterator[Prints | None]:
        """The fingerprints of the pictures in their order; None for one that cannot be read."""
        source = iter(paths)
        pool = ProcessPoolExecutor(self.workers) if self.workers > 1 else None
        try:
            while chunk := list(islice(source, CHUNK)):
                yield from self._chunk(chunk, pool)
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)

    def _chunk(self, paths: Sequence[Path], pool: ProcessPoolExecutor | None) -> list[Prints | None]:
        stamps = [_stamp(path) for path in paths]
        found = [self._known(path, stamp) for path, stamp in zip(paths, stamps, strict=True)]
        todo = [number for number, known in enumerate(found) if known is None and stamps[number] is not None]
        unread = [paths[number] for number in todo]
        made = list(pool.map(print_picture, unread, chunksize=8) if pool else map(print_picture, unread))
        for number, new in zip(todo, made, strict=True):
            found[number] = new
            if new is not None:
                row = (str(paths[number]), *(stamps[number] or ()), new.file, new.look, new.mirrored)
                self.base.execute("INSERT OR REPLACE INTO prints VALUES (?, ?, ?, ?, ?, ?)", row)
        self.base.commit()
        return found

    def _known(self, path: Path, stamp: tuple[int, int] | None) -> Prints | None:
        query = "SELECT file, look, mirrored FROM prints WHERE path = ? AND size = ? AND time = ?"
        row = self.base.execute(query, (str(path), *stamp)).fetchone() if stamp else None
        return Prints(*row) if row else None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
