"""Everything that the page of a set shows, gathered record by record."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.records import HIDDEN, Category, Instance, Record

SIZES = (16, 32, 64, 96, 128, 192, 256, 384, 512)  # pixels, upper bounds of the bins of the boxes' size
CROWDS = (("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6-10", 10), ("11-20", 20), ("21+", 1 << 30))
EXAMPLES = 9  # kinds of objects shown large with all names


@dataclass
class Kind:
    """What is known of the objects with one skeleton."""

    keypoints: tuple[str, ...]
    objects: int = 0
    visible: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)


@dataclass
class Shown:
    """A record to show, and where its picture is."""

    rank: bytes
    record: Record
    path: Path

    def __lt__(self, other: Shown) -> bool:
        """The heap keeps the smallest ranks, so the largest stands first."""
        return self.rank > other.rank


@dataclass
class Example:
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
    wanted: int
    pictures: Counter[str] = field(default_factory=Counter)  # by split
    objects: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    crowds: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    left_right: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Kind] = field(default_factory=dict)
    sheet: list[Shown] = field(default_factory=list)
    examples: dict[Category, Example] = field(default_factory=dict)

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
            if len(self.sheet) < self.wanted:
                heapq.heappush(self.sheet, Shown(rank, record, path))
            elif self.wanted:
                heapq.heappushpop(self.sheet, Shown(rank, record, path))

    def shown(self) -> list[Shown]:
        """The pictures of the sheet, in a fixed order."""
        return sorted(self.sheet, key=lambda shown: shown.rank)

    def size_bins(self) -> list[tuple[str, int]]:
        """The sizes of the boxes as a histogram."""
        labels = [f"{low}" for low in (0, *SIZES)]
        return [(label, self.sizes[number]) for number, label in enumerate(labels)]

    def crowd_bins(self) -> list[tuple[str, int]]:
        """The numbers of objects in a picture as a histogram."""
        return [(label, self.crowds[label]) for label, _ in CROWDS]

    def include(self, other: SetLook) -> None:
        """Add another set's counts of pictures, objects, categories and keypoints."""
        for name in ("pictures", "objects", "categories", "sizes", "crowds"):
            getattr(self, name).update(getattr(other, name))
        for skeleton, kind in other.kinds.items():
            mine = self.kinds.setdefault(skeleton, Kind(kind.keypoints))
            mine.visible.update(kind.visible)
            mine.hidden.update(kind.hidden)

    def _count(self, instance: Instance) -> None:
        self.categories[instance.category.name] += 1
        side = (instance.box[2] * instance.box[3]) ** 0.5
        self.sizes[sum(side >= bound for bound in SIZES)] += 1
        key = instance.category.skeleton
        kind = self.kinds.setdefault(key, Kind(instance.category.keypoints))
        if not set(instance.category.keypoints) <= set(kind.keypoints):
            kind.keypoints = tuple(dict.fromkeys(kind.keypoints + instance.category.keypoints))
        kind.objects += 1
        for name, (*_, v) in instance.keypoints.items():
            (kind.hidden if v == HIDDEN else kind.visible)[name] += 1

    def _keep_example(self, record: Record, instance: Instance, path: Path, rank: bytes) -> None:
        """Of each category keep the object with most points, of a fair size, else by the seed."""
        size = min(int(min(instance.box[2:]) // 60), 2)
        score = (len(instance.keypoints), size, rank)
        known = self.examples.get(instance.category)
        if instance.keypoints and (known is None or score > known.score):
            if known is None and len(self.examples) >= 4 * EXAMPLES:
                return  # of hundreds of categories only the first are candidates
            self.examples[instance.category] = Example(score, record, instance, path)

    def named_examples(self) -> list[Example]:
        """One object for each of the commonest categories."""
        best: dict[str, Example] = {}
        for category, example in self.examples.items():
            if category.name not in best or example.score > best[category.name].score:
                best[category.name] = example
        common = sorted(best, key=lambda name: (-self.categories[name], name))
        return [best[name] for name in common[:EXAMPLES]]
