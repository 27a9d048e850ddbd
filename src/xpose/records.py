"""Labelled pictures: one record type for all sources, with the picture, its objects and keypoints by unified name.

**Coordinates** are 0-based pixels, with x to the right and y down. A keypoint is a pixel index: (0, 0) is the centre of
the top left pixel, so a converter of a 1-based original subtracts 1. A box is (x, y, width, height) from its upper left
corner; the whole picture is (0, 0, width, height). The half pixel between the two conventions comes from COCO and is
kept. Coordinates refer to the stored pixels: the EXIF orientation is not applied.

**Visibility** is 2 for labelled and visible, 1 for labelled but hidden (only if the original states it), 0 for not
labelled. Records omit points with visibility 0: a missing name means the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Literal, get_args

from xpose.errors import DataError, quote

NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2

Box = tuple[float, float, float, float]
Point = tuple[float, float, int]
LeftRight = Literal["anatomical", "viewer", "disputed", "none", "not stated"]
LEFT_RIGHT_RULES: tuple[LeftRight, ...] = get_args(LeftRight)

MAX_SIDE = 100_000  # pixels; a larger width or height is treated as a fault of the file
_NUMBER = (int, float)
MAX_BOX_SIZE = 4.0  # times the picture's side; objects cut by the edge have boxes that reach beyond it


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The ranks of an animal that the source states; None means unknown."""

    species: str | None = None
    family: str | None = None
    order: str | None = None
    class_: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """The four ranks by name (`class` without the underscore that Python needs)."""
        return {"species": self.species, "family": self.family, "order": self.order, "class": self.class_}

    @classmethod
    def from_json(cls, value: Mapping[str, str | None]) -> Taxonomy:
        """The inverse of `to_json`."""
        return cls(value.get("species"), value.get("family"), value.get("order"), value.get("class"))


@dataclass(frozen=True, slots=True)
class Category:
    """The category of an object, with the keypoints that its set labels on it."""

    name: str
    skeleton: str  # of xpose.vocabulary, or the name in a user's own file
    keypoints: tuple[str, ...]  # unified names
    edges: tuple[tuple[str, str], ...] = ()
    taxonomy: Taxonomy = Taxonomy()

    def faults(self) -> list[str]:
        """All faults, as messages."""
        faults = [] if self.name.strip() else ["the category has no name"]
        if repeated := sorted({name for name in self.keypoints if self.keypoints.count(name) > 1}):
            faults.append(f"the category {quote(self.name)} names {', '.join(map(quote, repeated))} more than once")
        if unknown := sorted({end for edge in self.edges for end in edge} - set(self.keypoints)):
            ends = ", ".join(map(quote, unknown))
            faults.append(f"edges of {quote(self.name)} end at {ends}, which is not a keypoint")
        return faults


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of the original that is missing from a record, and why; all of these appear in the report."""

    file: str  # the picture (or annotation file) it belongs to
    reason: str
    what: Literal["picture", "object", "point"] = "picture"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file and its size; `stored` says whether it is in the original's folder or in the prepared one."""

    file: str  # relative, with forward slashes
    width: int
    height: int
    stored: Literal["source", "prepared"] = "source"
    sha256: str | None = None

    def faults(self) -> list[str]:
        """All faults, as messages."""
        faults = []
        if not self.file or self.file.startswith("/") or "\\" in self.file or ".." in self.file.split("/"):
            faults.append(f"the file name {quote(self.file)} is not a relative path with forward slashes")
        for side, value in (("width", self.width), ("height", self.height)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_SIDE:
                faults.append(f"the picture's {side} is {value}, not a whole number from 1 to {MAX_SIDE}")
        return faults


@dataclass(frozen=True, slots=True)
class Instance:
    """One labelled object: box, keypoints by unified name, category."""

    category: Category
    box: Box
    keypoints: Mapping[str, Point] = field(default_factory=lambda: MappingProxyType({}))
    iscrowd: bool = False
    area: float | None = None  # in square pixels; None if the original does not state it
    source_id: str | None = None  # the object's name in the original: annotation id, track, item

    def point(self, name: str) -> Point:
        """The keypoint with this name, or (0, 0, 0) if it is not labelled."""
        return self.keypoints.get(name, (0.0, 0.0, NOT_LABELLED))

    def faults(self, picture: Picture) -> list[str]:
        """All faults, as messages; `settle` handles points outside the picture."""
        return [*self._box_faults(picture), *self._point_faults(), *self.category.faults()]

    def _box_faults(self, picture: Picture) -> list[str]:
        if len(self.box) != 4 or not all(_finite(value) for value in self.box):
            return [f"the box {list(self.box)} is not four finite numbers"]
        x, y, width, height = self.box
        if width <= 0 or height <= 0:
            return [f"the box {list(self.box)} has no area"]
        if x >= picture.width or y >= picture.height or x + width <= 0 or y + height <= 0:
            return [f"the box {list(self.box)} lies outside the {picture.width}x{picture.height} picture"]
        if width > MAX_BOX_SIZE * picture.width or height > MAX_BOX_SIZE * picture.height:
            return [f"the box {list(self.box)} is far larger than the {picture.width}x{picture.height} picture"]
        if self.area is not None and not (_finite(self.area) and self.area >= 0):
            return [f"the area {self.area} is not a finite number from 0 up"]
        return []

    def _point_faults(self) -> list[str]:
        faults = []
        if unknown := sorted(set(self.keypoints) - set(self.category.keypoints)):
            faults.append(f"{', '.join(map(quote, unknown))}: not a keypoint of {quote(self.category.name)}")
        for name, (x, y, v) in self.keypoints.items():
            if v not in (NOT_LABELLED, HIDDEN, VISIBLE):
                faults.append(f"the visibility of {quote(name)} is {v}, not 0, 1 or 2")
            if not (_finite(x) and _finite(y)):
                faults.append(f"the place of {quote(name)} is ({x}, {y}), not two finite numbers")
        return faults


@dataclass(frozen=True, slots=True)
class Record:
    """One picture with all its labelled objects."""

    picture: Picture
    instances: tuple[Instance, ...]
    source: str  # the set it comes from, by the converter's name
    split: str
    licence: str  # of the picture, in the source's words; "not stated" if it gives none
    left_right: LeftRight
    style: str | None = None  # "oil painting", ...; None if the source does not state it
    group: str | None = None  # a split must not divide the pictures of one group (a video, a person)
    source_id: str | None = None
    dropped: tuple[Skipped, ...] = field(default=(), compare=False)

    def faults(self) -> list[str]:
        """All faults, as messages; empty for a valid record."""
        faults = self.picture.faults()
        for number, instance in enumerate(self.instances, start=1):
            faults += [f"object {instance.source_id or number}: {fault}" for fault in instance.faults(self.picture)]
        if self.left_right not in LEFT_RIGHT_RULES:
            faults.append(f"the left/right rule is {quote(self.left_right)}, not one of {', '.join(LEFT_RIGHT_RULES)}")
        return faults + [f"the {name} is empty" for name in ("source", "split", "licence") if not getattr(self, name)]

    def check(self) -> Record:
        """Return the record; a DataError lists all faults of an invalid one."""
        if faults := self.faults():
            rules = "The docstring of xpose.records states the rules: correct the source entry or omit it."
            raise DataError(f"{quote(self.picture.file)} makes no valid record: {'; '.join(faults)}. {rules}")
        return self


def replaced(instance: Instance, **changes: object) -> Instance:
    """A copy with some fields changed (`dataclasses.replace` is many times slower on slotted classes)."""
    return Instance(**{f.name: changes.get(f.name, getattr(instance, f.name)) for f in fields(Instance)})  # type: ignore[arg-type]


def _finite(value: object) -> bool:
    # Millions of calls when a run opens its sets: a tuple is tested much faster than a union.
    return isinstance(value, _NUMBER) and not isinstance(value, bool) and math.isfinite(value)
