"""Part segmentation in COCO json (PartImageNet and its like): masks of parts become weak keypoints and boxes.

docs/data-import.md explains the rule. Masks are polygons or run lengths, plain or packed. They are decoded here
because the C code of pycocotools does not validate run lengths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from xpose.data.datasets.converters.coco_like import CocoCategory, CocoImage, id_of
from xpose.data.datasets.importers.base import OBJECT
from xpose.data.datasets.importers.coco import CocoImport
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Fields, as_number
from xpose.errors import DataError, missing_extra, quote
from xpose.records import HIDDEN, Box, Instance, Picture, Point, Skipped

# Fields that can link a part's annotation to its object, in search order.
OWNERS = ("object_id", "instance_id", "obj_ann_id", "parent_id")
MAX_PIXELS = 100_000_000  # limit for pictures with decoded masks
LEAD = 0.5  # share of a part's pixels that its largest piece must have to represent it


class PartMasks(CocoImport):
    """Parts of one whole (`supercategory`) in a picture form one object, unless the file links them to objects."""

    annotation_key = "segmentation"

    def read_kinds(self, content: Fields) -> Iterator[ObjectKind]:
        wholes: dict[str, list[str]] = {}
        for category, whole, part in _parts(content):
            if part in wholes.setdefault(whole, []):
                raise DataError(
                    f"{category.where}: {quote(whole)} has the part {quote(part)} twice. Rename one of them."
                )
            wholes[whole].append(part)
        for whole, parts in wholes.items():
            yield ObjectKind(whole, tuple(parts), named=whole != OBJECT)

    def categories(self, content: Fields) -> Iterator[tuple[int, CocoCategory]]:
        for category, whole, part in _parts(content):
            named = self.named[whole]
            yield category.integer("id"), CocoCategory(named.table.category(named.title), (part,), whole)

    def instances(self, data: CocoImage, picture: Picture) -> tuple[list[Instance], list[Skipped]]:
        objects: dict[tuple[str, str], list[tuple[str, Fields]]] = {}

        def sort(annotation: Any, number: int) -> None:
            fields = Fields(annotation, f"annotation {id_of(annotation, number)}")
            part = data.category_of(fields)
            objects.setdefault((part.table, _owner(fields)), []).append((part.names[0], fields))

        _, dropped = self.read_each(picture.file, data.annotations, sort)
        instances = []
        for number, ((kind, owner), parts) in enumerate(objects.items(), start=1):
            if masks := _masks(parts, picture, dropped):
                whole = np.logical_or.reduce(list(masks.values()))
                points = _points(masks, picture, dropped)
                crowd = all(fields.value.get("iscrowd") == 1 for _, fields in parts)
                box, area = _box_of(whole), float(whole.sum())
                instance = self.settled(kind, points, picture, number, box, id=owner or None, area=area, crowd=crowd)
                instances.append(instance)
        return instances, dropped


def _masks(parts: list[tuple[str, Fields]], picture: Picture, dropped: list[Skipped]) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    for part, fields in parts:
        try:
            mask = read_mask(fields.value.get("segmentation"), picture)
            masks[part] = masks[part] | mask if part in masks else mask
        except DataError as error:
            dropped.append(Skipped(picture.file, f"{fields.where} ({part}): {error}", "object"))
    return masks


def _points(masks: dict[str, np.ndarray], picture: Picture, dropped: list[Skipped]) -> dict[str, Point]:
    points: dict[str, Point] = {}
    for part, mask in masks.items():
        try:
            points[part] = (*point_of(mask), HIDDEN)
        except DataError as error:
            dropped.append(Skipped(picture.file, f"{quote(part)} gets no keypoint: {error}", "point"))
    return points


def _parts(content: Fields) -> Iterator[tuple[Fields, str, str]]:
    """The categories with their whole and part.

    "Quadruped Head" of the supercategory "Quadruped" is the head of a quadruped; so is "quadruped:head".
    """
    for category in content.objects("categories", "category"):
        name = category.text("name")
        if category.value.get("supercategory"):
            whole = category.text("supercategory")
            part = re.sub(rf"^{re.escape(whole)}[\s_:.'s-]+", "", name, flags=re.IGNORECASE).strip()
        else:
            whole, _, part = (text.strip() for text in name.rpartition(":"))
        yield category, whole or OBJECT, part or name


def _owner(annotation: Fields) -> str:
    owner = next((annotation.value[key] for key in OWNERS if key in annotation), "")
    if not isinstance(owner, int | str):
        raise DataError(f"{annotation.where}: the object it belongs to is {quote(owner)}, neither a number nor a text")
    return str(owner)


def read_mask(segmentation: Any, picture: Picture) -> np.ndarray:
    """A mask as a boolean array (height, width)."""
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(f"the picture has more than {MAX_PIXELS:,} pixels, too many to lay its masks out")
    if isinstance(segmentation, list) and segmentation:
        mask = _from_polygons(segmentation, picture)
    elif isinstance(segmentation, dict):
        mask = _from_runs(segmentation, picture)
    else:
        raise DataError(f"the segmentation is {quote(segmentation)}, neither polygons nor run lengths")
    if not mask.any():
        raise DataError("its mask covers no pixel of the picture")
    return mask


def _from_polygons(polygons: list[Any], picture: Picture) -> np.ndarray:
    from PIL import Image, ImageDraw

    image = Image.new("1", (picture.width, picture.height))
    pen = ImageDraw.Draw(image)
    for polygon in polygons:
        flat = [as_number(value) for value in polygon] if isinstance(polygon, list) else []
        if len(flat) < 6 or len(flat) % 2 or None in flat:
            raise DataError(f"the polygon {quote(polygon)} is not a flat list of x, y of three corners or more")
        pen.polygon(list(zip(flat[0::2], flat[1::2], strict=True)), fill=1)  # type: ignore[arg-type]
    return np.array(image, dtype=bool)


def _from_runs(runs: dict[str, Any], picture: Picture) -> np.ndarray:
    size, counts = runs.get("size"), runs.get("counts")
    if size != [picture.height, picture.width]:
        raise DataError(f"its mask has the size {quote(size)}, the picture [{picture.height}, {picture.width}]")
    if isinstance(counts, str):
        counts = unpack(counts)
    pixels = picture.height * picture.width
    good = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
    if not isinstance(counts, list) or not good or sum(counts) != pixels:
        raise DataError(f"the run lengths of its mask do not add up to the {pixels} pixels of the picture")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(picture.width, picture.height).T  # runs go down the columns


def unpack(text: str) -> list[int]:
    """COCO's packed run lengths.

    Each character is five bits, counted from "0". A sixth bit means that the number continues; the last
    group's fifth is its sign. From the fourth on, each number is the difference to the one two before.
    """
    counts: list[int] = []
    number = shift = 0
    for letter in text:
        group = ord(letter) - ord("0")
        if not 0 <= group < 64 or shift > 60:
            raise DataError(f"{quote(text)} are not packed run lengths")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = shift = 0
    if shift:
        raise DataError(f"{quote(text)} are not packed run lengths: the last number is cut short")
    return counts


def _box_of(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = float(columns[0]), float(rows[0])
    return left, top, float(columns[-1] + 1 - left), float(rows[-1] + 1 - top)


def point_of(mask: np.ndarray) -> tuple[float, float]:
    """The centroid of a part's largest piece, or the piece's nearest pixel if the centroid is outside it."""
    try:
        from scipy import ndimage
    except ImportError:
        raise missing_extra("Reading part masks", "scipy", "data") from None
    pieces, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.max() < LEAD * sizes.sum():
        raise DataError(f"its mask is in {len(sizes)} pieces of which none has half its pixels")
    ys, xs = np.nonzero(pieces == sizes.argmax() + 1)
    x, y = xs.mean(), ys.mean()
    nearest = ((xs - x) ** 2 + (ys - y) ** 2).argmin()
    if abs(xs[nearest] - x) <= 0.5 and abs(ys[nearest] - y) <= 0.5:
        return float(x), float(y)
    return float(xs[nearest]), float(ys[nearest])
