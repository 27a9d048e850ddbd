"""Everything that the page of a set shows, gathered record by record."""

from __future__ import annotations

import bisect
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from xpose.records import HIDDEN, Category, Instance, Record

SIZES = (16, 32, 64, 96, 128, 192, 256, 384, 512)  # pixels, upper bounds of the bins of the boxes' size
CROWDS = (("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6-10", 10), ("11-20", 20), ("21+", 1 << 30))
EXAMPLES = 9  # categories shown large with all names


@dataclass
class SkeletonCounts:
    """Counts of the objects with one skeleton."""

    keypoints: tuple[str, ...]
    objects: int = 0
    visible: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)


class SheetPicture(NamedTuple):
    """A picture of the sheet."""

    rank: bytes
    record: Record
    path: Path


class LargeObject(NamedTuple):
    """The object of a category that is shown large."""

    score: tuple[int, int, bytes]
    record: Record
    instance: Instance
    path: Path


@dataclass
class SetLook:
    """Everything that a set's page shows, gathered record by record."""

    name: str
    manifest: Mapping[str, Any]
    sheet_size: int
    pictures: Counter[str] = field(default_factory=Counter)  # by split
    objects: Counter[str] = field(default_factory=Counter)  # by split
    categories: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    crowds: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    left_right: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, SkeletonCounts] = field(default_factory=dict)
    sheet: list[SheetPicture] = field(default_factory=list)  # those of the smallest ranks, in order
    examples: dict[Category, LargeObject] = field(default_factory=dict)

    def add(self, record: Record, path: Path, seed: int) -> None:
        """Count one more record, and keep it if it is among those to show."""
        self.pictures[record.split] += 1
        self.objects[record.split] += len(record.instances)
        self.licences[record.licence] += 1
        self.left_right[record.left_right] += 1
        self.styles[record.style or "not stated"] += 1
        self.crowds[next(label for label, most in CROWDS if len(record.instances) <= most)] += 1
        rank = hashlib.blake2b(record.picture.file.encode(), digest_size=12, key=str(seed).encode()).digest()
        for instance in record.instances:
            self._count(instance)
            self._keep_example(record, instance, path, rank)
        if any(instance.keypoints for instance in record.instances):
            bisect.insort(self.sheet, SheetPicture(rank, record, path), key=lambda picture: picture.rank)
            del self.sheet[self.sheet_size :]

    def size_bins(self) -> list[tuple[str, int]]:
        """The sizes of the boxes as a histogram."""
        return [(str(low), self.sizes[number]) for number, low in enumerate((0, *SIZES))]

    def crowd_bins(self) -> list[tuple[str, int]]:
        """The numbers of objects in a picture as a histogram."""
        return [(label, self.crowds[label]) for label, _ in CROWDS]

    def include(self, other: SetLook) -> None:
        """Add another set's counts of pictures, objects, categories and keypoints."""
        for name in ("pictures", "objects", "categories", "sizes", "crowds"):
            getattr(self, name).update(getattr(other, name))
        for skeleton, counts in other.kinds.items():
            total = self.kinds.setdefault(skeleton, SkeletonCounts(counts.keypoints))
            total.visible.update(counts.visible)
            total.hidden.update(counts.hidden)

    def _count(self, instance: Instance) -> None:
        category = instance.category
        self.categories[category.name] += 1
        side = (instance.box[2] * instance.box[3]) ** 0.5
        self.sizes[bisect.bisect_right(SIZES, side)] += 1
        counts = self.kinds.setdefault(category.skeleton, SkeletonCounts(category.keypoints))
        if not set(category.keypoints) <= set(counts.keypoints):
            counts.keypoints = tuple(dict.fromkeys(counts.keypoints + category.keypoints))
        counts.objects += 1
        for name, (*_, v) in instance.keypoints.items():
            (counts.hidden if v == HIDDEN else counts.visible)[name] += 1

    def _keep_example(self, record: Record, instance: Instance, path: Path, rank: bytes) -> None:
        """Of each category keep the object with the most points, then of a fair size, then by the seed."""
        size = min(int(min(instance.box[2:]) // 60), 2)
        score = (len(instance.keypoints), size, rank)
        best = self.examples.get(instance.category)
        if best is None and len(self.examples) >= 4 * EXAMPLES:
            return  # of hundreds of categories only the first are candidates
        if instance.keypoints and (best is None or score > best.score):
            self.examples[instance.category] = LargeObject(score, record, instance, path)

    def named_examples(self) -> list[LargeObject]:
        """One object for each of the most common categories."""
        best: dict[str, LargeObject] = {}
        for category, example in self.examples.items():
            if category.name not in best or example.score > best[category.name].score:
                best[category.name] = example
        common = sorted(best, key=lambda name: (-self.categories[name], name))
        return [best[name] for name in common[:EXAMPLES]]
