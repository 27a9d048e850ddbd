"""Training pictures that are also evaluation pictures: the same file, or the same look by their fingerprints.

All sets are compared with each other, because sets borrow pictures. Groups (a video, a person) with pictures on both
sides are reported separately: they are not a leak by themselves, because many sets are split within videos on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from xpose.data.collection.fingerprints import Prints

NEAR = 12  # bits of 255 in which two looks may differ and still be the same
BANDS = 16  # of 16 bits each: two looks that differ in fewer bits than this agree in at least one band
ONES = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)  # bits that are set in a byte
LIMIT = 1_000_000  # pairs compared at once; bounds the memory


@dataclass(frozen=True, slots=True)
class Leak:
    """A training picture and the evaluation picture it equals."""

    train: str
    evaluation: str
    how: Literal["same file", "same look", "mirrored"]
    bits: int = 0  # in which their looks differ

    def to_json(self) -> dict[str, Any]:
        """The entry in `leaks.json`."""
        return asdict(self)


@dataclass
class Side:
    """The pictures of one side of the comparison; about 150 bytes for each."""

    names: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    looks: bytearray = field(default_factory=bytearray)
    mirrored: bytearray = field(default_factory=bytearray)
    rows: list[int] = field(default_factory=list)  # which picture each look belongs to
    groups: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unread: list[str] = field(default_factory=list)

    def add(self, name: str, prints: Prints | None, group: str | None = None) -> None:
        """Count one more picture."""
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
    """All leaks in the order of the training pictures; of several reasons for one pair the strongest."""
    leaks: dict[tuple[int, int], Leak] = {}
    by_file: dict[bytes, list[int]] = defaultdict(list)
    for number, digest in enumerate(evaluation.files):
        by_file[digest].append(number)
    for number, digest in enumerate(train.files):
        for other in by_file.get(digest, ()):
            leaks[number, other] = Leak(train.names[number], evaluation.names[other], "same file")
    kinds: tuple[tuple[Literal["same look", "mirrored"], bytearray], ...] = (
        ("same look", evaluation.looks),
        ("mirrored", evaluation.mirrored),
    )
    for how, looks in kinds:
        for first, second, bits in _near(_matrix(train.looks), _matrix(looks)):
            number, other = train.rows[first], evaluation.rows[second]
            leaks.setdefault((number, other), Leak(train.names[number], evaluation.names[other], how, bits))
    return [leaks[key] for key in sorted(leaks)]


def shared_groups(train: Side, evaluation: Side) -> dict[str, tuple[int, int]]:
    """The groups with pictures on both sides, and how many on each."""
    both = sorted(train.groups.keys() & evaluation.groups.keys())
    return {group: (train.groups[group], evaluation.groups[group]) for group in both}


def _matrix(looks: bytearray) -> np.ndarray:
    return np.frombuffer(bytes(looks), dtype=np.uint8).reshape(-1, 32)


def _near(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """All pairs of rows that differ in at most `NEAR` bits, and in how many; a pair may come more than once."""
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
            bits = ONES[first[left] ^ second[right]].sum(axis=1, dtype=np.int32)
            for pair in np.flatnonzero(bits <= NEAR):
                yield int(left[pair]), int(right[pair]), int(bits[pair])


def _portions(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """The rows that have partners, in portions of at most `LIMIT` pairs (a single row may have more)."""
    rows = np.flatnonzero(sizes)
    ends = np.cumsum(sizes[rows])
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + LIMIT, side="right")))
        yield rows[start:stop]
        start = stop
