"""Find training pictures that are also evaluation pictures, by file or by a fingerprint of their look.

The look is a perceptual hash of 255 bits. The picture is reduced to 32x32 grey pixels; each bit tells whether one of
the 16x16 lowest frequencies of its cosine transform, without the mean, is above their median. Another JPEG quality or
half the size changes 0 to 8 bits; different pictures of a mixed collection differed in at least 20 bits (`python
benchmarks/data.py prints FOLDER` measures this). A picture without structure has no look.

All sets are compared with each other, because sets can share pictures. Groups (a video, a person) with pictures on both
sides are reported separately: they are not leaks by themselves, because many sets are split within videos on purpose.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from xpose.pictures.decoding import grey_thumbnail

SIDE, LOW = 32, 16
FLAT = 4.0  # standard deviation in grey levels; below it, a picture has no structure to compare
CHUNK = 256  # pictures processed and held in memory at a time
NEAR = 12  # two looks that differ in at most this many of 255 bits are the same
BANDS = 16  # of 16 bits each; two looks that differ in fewer than 16 bits agree in at least one band
_ONES = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)  # set bits of each byte value
LIMIT = 1_000_000  # pairs compared at a time, to bound memory
_WAVES = np.cos(np.pi * (2 * np.arange(SIDE)[None] + 1) * np.arange(SIDE)[:, None] / (2 * SIDE))


@dataclass(frozen=True, slots=True)
class Prints:
    """The fingerprints of a picture; `look` is empty if it has no structure."""

    file: bytes  # 16
    look: bytes  # 32, or empty
    mirrored: bytes  # the look of its mirror image


def print_picture(path: Path) -> Prints | None:
    """The fingerprints of a picture file, or None if it cannot be read."""
    try:
        return print_content(path.read_bytes())
    except OSError:
        return None


def print_content(content: bytes) -> Prints | None:
    """The fingerprints of a picture file's content, or None if it is not a picture."""
    try:
        grey = grey_thumbnail(content, SIDE)
    except Exception:  # decoders raise errors of every kind for damaged files
        return None
    look, mirrored = looks(np.asarray(grey, dtype=float))
    return Prints(hashlib.blake2b(content, digest_size=16).digest(), look, mirrored)


def looks(grey: np.ndarray) -> tuple[bytes, bytes]:
    """The looks of a grey picture (32, 32) and its mirror image; both are empty if it has no structure."""
    if grey.std() < FLAT:
        return b"", b""
    low = (_WAVES @ grey @ _WAVES.T)[:LOW, :LOW]
    other = low * np.where(np.arange(LOW) % 2, -1.0, 1.0)  # a mirror changes the sign of odd horizontal waves
    return _bits(low), _bits(other)


def _bits(low: np.ndarray) -> bytes:
    flat = low.ravel()[1:]
    return np.packbits(flat > np.median(flat)).tobytes()


class PrintStore:
    """Fingerprints cached in a file: a picture with unchanged size and time is not read again."""

    def __init__(self, path: Path, workers: int = 1) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.workers = workers
        try:
            self._open(path)
        except sqlite3.DatabaseError:  # damaged, for instance by a crash; its content can be computed again
            path.unlink()
            self._open(path)

    def _open(self, path: Path) -> None:
        columns = "path TEXT PRIMARY KEY, size INTEGER, time INTEGER, file BLOB, look BLOB, mirrored BLOB"
        self.base = sqlite3.connect(path)
        self.base.execute(f"CREATE TABLE IF NOT EXISTS prints ({columns})")
        self.base.commit()

    def close(self) -> None:
        """Close the file."""
        self.base.close()

    def prints(self, paths: Iterable[Path]) -> Iterator[Prints | None]:
        """The fingerprints of the pictures in order; None for a picture that cannot be read."""
        source = iter(paths)
        executor: AbstractContextManager[ProcessPoolExecutor | None]
        executor = ProcessPoolExecutor(self.workers) if self.workers > 1 else nullcontext()
        with executor as pool:
            while chunk := list(islice(source, CHUNK)):
                yield from self._chunk(chunk, pool)

    def _chunk(self, paths: Sequence[Path], pool: ProcessPoolExecutor | None) -> list[Prints | None]:
        stamps = [_stamp(path) for path in paths]
        prints = [self._stored(path, stamp) for path, stamp in zip(paths, stamps, strict=True)]
        todo = [number for number, stored in enumerate(prints) if stored is None and stamps[number] is not None]
        unread = [paths[number] for number in todo]
        made = pool.map(print_picture, unread, chunksize=8) if pool else map(print_picture, unread)
        for number, new in zip(todo, made, strict=True):
            prints[number] = new
            if new is not None:
                row = (str(paths[number]), *(stamps[number] or ()), new.file, new.look, new.mirrored)
                self.base.execute("INSERT OR REPLACE INTO prints VALUES (?, ?, ?, ?, ?, ?)", row)
        self.base.commit()
        return prints

    def _stored(self, path: Path, stamp: tuple[int, int] | None) -> Prints | None:
        query = "SELECT file, look, mirrored FROM prints WHERE path = ? AND size = ? AND time = ?"
        row = self.base.execute(query, (str(path), *stamp)).fetchone() if stamp else None
        return Prints(*row) if row else None


def _stamp(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        return (status := path.stat()).st_size, status.st_mtime_ns
    return None


@dataclass(frozen=True, slots=True)
class Leak:
    """A training picture and the evaluation picture it matches."""

    train: str
    evaluation: str
    how: Literal["same file", "same look", "mirrored"]
    bits: int = 0  # by which their looks differ


@dataclass
class Side:
    """The pictures of one side of the comparison; each takes about 150 bytes."""

    names: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    looks: bytearray = field(default_factory=bytearray)
    mirrored: bytearray = field(default_factory=bytearray)
    rows: list[int] = field(default_factory=list)  # which picture each look belongs to
    groups: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unread: list[str] = field(default_factory=list)

    def add(self, name: str, prints: Prints | None, group: str | None = None) -> None:
        """Add a picture."""
        if group is not None:
            self.groups[group] += 1
        if prints is None:
            self.unread.append(name)
            return
        if prints.look:
            self.rows.append(len(self.names))
            self.looks += prints.look
            self.mirrored += prints.mirrored
        self.names.append(name)
        self.files.append(prints.file)


def find_leaks(train: Side, evaluation: Side) -> list[Leak]:
    """All leaks in the order of the training pictures, each pair with its strongest reason."""
    leaks: dict[tuple[int, int], Leak] = {}
    by_file: dict[bytes, list[int]] = defaultdict(list)
    for number, digest in enumerate(evaluation.files):
        by_file[digest].append(number)
    for number, digest in enumerate(train.files):
        for other in by_file.get(digest, ()):
            leaks[number, other] = Leak(train.names[number], evaluation.names[other], "same file")
    for mirrored in (False, True):
        looks = evaluation.mirrored if mirrored else evaluation.looks
        for first, second, bits in _near(_matrix(train.looks), _matrix(looks)):
            number, other = train.rows[first], evaluation.rows[second]
            how: Literal["same look", "mirrored"] = "mirrored" if mirrored else "same look"
            leaks.setdefault((number, other), Leak(train.names[number], evaluation.names[other], how, bits))
    return [leaks[key] for key in sorted(leaks)]


def shared_groups(train: Side, evaluation: Side) -> dict[str, tuple[int, int]]:
    """The groups with pictures on both sides, and the number on each side."""
    both = sorted(train.groups.keys() & evaluation.groups.keys())
    return {group: (train.groups[group], evaluation.groups[group]) for group in both}


def _matrix(looks: bytearray) -> np.ndarray:
    return np.frombuffer(bytes(looks), dtype=np.uint8).reshape(-1, 32)


def _near(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """All pairs of rows that differ in at most `NEAR` bits, with the number of bits; pairs can be repeated."""
    bands, others = first.view(">u2"), second.view(">u2")
    for band in range(BANDS):
        order = np.argsort(others[:, band], kind="stable")
        keys = others[order, band]
        starts = np.searchsorted(keys, bands[:, band], side="left")
        sizes = np.searchsorted(keys, bands[:, band], side="right") - starts
        for rows in _portions(sizes):
            left = np.repeat(rows, sizes[rows])
            within = np.arange(len(left)) - np.repeat(np.cumsum(sizes[rows]) - sizes[rows], sizes[rows])
            right = order[np.repeat(starts[rows], sizes[rows]) + within]
            bits = _ONES[first[left] ^ second[right]].sum(axis=1, dtype=np.int32)
            for pair in np.flatnonzero(bits <= NEAR):
                yield int(left[pair]), int(right[pair]), int(bits[pair])


def _portions(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """The rows that have partners, in portions of at most `LIMIT` pairs (a single row can have more)."""
    rows = np.flatnonzero(sizes)
    ends = np.cumsum(sizes[rows])
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + LIMIT, side="right")))
        yield rows[start:stop]
        start = stop
