"""Part segmentation in COCO json (PartImageNet and its like): masks of parts become weak keypoints and boxes.

The rule. A part's keypoint is the centroid of its mask; where that falls beside the mask, the nearest pixel of the
mask. A mask in pieces counts by its largest piece if that has half the pixels; else the part gets no keypoint and the
report says so: four feet under one name have no place in common. The points carry visibility 1, since nobody has
placed them. The box of an object is that round all its parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from xpose.data.datasets.converters.base import UNVERIFIED, read_each
from xpose.data.datasets.converters.coco_like import CocoCategory, CocoImage, id_of
from xpose.data.datasets.importers.base import OBJECT, LabelledObject
from xpose.data.datasets.importers.coco import CocoImport
from xpose.data.datasets.importers.masks import box_of, point_of, read_mask, union
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Fields
from xpose.errors import DataError, quote
from xpose.records import HIDDEN, Instance, Picture, Point, Skipped

# Fields that say to which object a part's annotation belongs, in the order in which they are looked for.
OWNERS = ("object_id", "instance_id", "obj_ann_id", "parent_id")


class PartMasks(CocoImport):
    """Parts of one whole (`supercategory`) in a picture are one object, unless the file says to which they belong."""

    format = "part-masks"
    what = "a COCO json whose categories are parts and whose annotations are masks, or the folder of several"
    title = "part masks"
    status = UNVERIFIED
    origin = "pixel indices of the masks"
    visibility = "1: every keypoint is weak, the centroid of a part's mask and not placed by anybody"
    boxes = "round the masks of all parts of the object"

    def is_ours(self, content: Mapping[str, Any]) -> bool:
        """Whether a json file in a folder is to be imported."""
        annotations = content.get("annotations")
        if not isinstance(annotations, list) or not isinstance(content.get("images"), list):
            return False
        return any(isinstance(entry, Mapping) and entry.get("segmentation") for entry in annotations)

    def read_kinds(self, content: Fields) -> Iterator[ObjectKind]:
        """One kind per whole, its parts as keypoints in the file's order."""
        wholes: dict[str, list[str]] = {}
        for number, value in enumerate(content.list("categories"), start=1):
            whole, part = _whole_and_part(Fields(value, f"{content.where}: category number {number}"))
            if part in wholes.setdefault(whole, []):
                raise DataError(
                    f"{content.where}: the part {quote(part)} of {quote(whole)} occurs twice. Each part is one "
                    "category. Rename one in the file."
                )
            wholes[whole].append(part)
        for whole, parts in wholes.items():
            yield ObjectKind(whole, tuple(parts), named=whole != OBJECT)

    def instances(self, data: CocoImage, picture: Picture) -> tuple[list[Instance], list[Skipped]]:
        """The objects that the parts in a picture make up."""
        objects: dict[tuple[str, str], list[tuple[str, Fields]]] = {}

        def sort(annotation: Any, number: int) -> None:
            fields = Fields(annotation, f"annotation {id_of(annotation, number)}")
            part = data.categories.get(fields.integer("category_id"))
            if part is None:
                raise DataError(f"{fields.where}: there is no category {fields.integer('category_id')}")
            objects.setdefault((part.table, _owner(fields)), []).append((part.names[0], fields))

        _, dropped = read_each(picture.file, data.annotations, sort)
        wholes = [self._object(*key, labelled, picture, dropped) for key, labelled in objects.items()]
        things = [thing for thing in wholes if thing is not None]
        instances, faults = read_each(picture.file, things, lambda thing, i: self.settled(thing, picture, i))
        return instances, dropped + faults

    def _object(
        self, kind: str, owner: str, labelled: list[tuple[str, Fields]], picture: Picture, dropped: list[Skipped]
    ) -> LabelledObject | None:
        masks: dict[str, Any] = {}
        for part, fields in labelled:
            try:
                mask = read_mask(fields.value.get("segmentation"), picture)
            except DataError as error:
                dropped.append(Skipped(picture.file, f"{fields.where} ({part}): {error}", "object"))
                continue
            masks[part] = union([masks[part], mask]) if part in masks else mask
        if not masks:
            return None
        points: dict[str, Point] = {}
        for part, mask in masks.items():
            try:
                points[part] = (*point_of(mask), HIDDEN)
            except DataError as error:
                dropped.append(Skipped(picture.file, f"{quote(part)} gets no keypoint: {error}", "point"))
        whole = union(masks.values())
        crowd = all(fields.value.get("iscrowd") == 1 for _, fields in labelled)
        return LabelledObject(kind, points, box_of(whole), float(whole.sum()), crowd, owner or None)

    def _categories(self, content: Fields) -> Iterator[tuple[int, CocoCategory]]:
        """The category of a part holds its whole, and the part by the file's name."""
        for number, value in enumerate(content.list("categories"), start=1):
            fields = Fields(value, f"{content.where}: category number {number}")
            whole, part = _whole_and_part(fields)
            named = self.named[whole]
            yield fields.integer("id"), CocoCategory(named.table.category(named.title), (part,), whole)


def _whole_and_part(category: Fields) -> tuple[str, str]:
    """ "Quadruped Head" of the supercategory "Quadruped" is the head of a quadruped; so is "quadruped:head"."""
    name = category.text("name")
    whole = category.text("supercategory") if category.value.get("supercategory") else ""
    if not whole:
        whole, _, part = name.rpartition(":")
        return whole.strip() or OBJECT, part.strip() or name
    rest = re.sub(rf"^{re.escape(whole)}[\s_:.'s-]+", "", name, flags=re.IGNORECASE).strip()
    return whole, rest or name


def _owner(annotation: Fields) -> str:
    owner = next((annotation.value[key] for key in OWNERS if key in annotation), "")
    if not isinstance(owner, int | str):
        raise DataError(f"{annotation.where}: the object it belongs to is {quote(owner)}, neither a number nor a text")
    return str(owner)
