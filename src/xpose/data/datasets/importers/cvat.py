"""CVAT for images 1.1 (annotations.xml): skeletons, or single points held together by groups."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, LabelledObject, PictureLabels, RawObject, parts_of
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import SourceFolder, parse_number, safe_name
from xpose.errors import DataError, quote
from xpose.records import HIDDEN, VISIBLE, Box, Picture, Point, Skipped

WAY_OUT = 'Export the task again as "CVAT for images 1.1".'
TAG = re.compile(r"<(line|circle)\b([^>]*)>")
ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
NUMBERED = "numbered"  # marks an object whose points have no names


class Cvat(Importer):
    """A skeleton is an object. Loose points of one group are an object, and without groups those of one picture;
    an element with several points is an object whose points are numbered.
    """

    format = "cvat"
    what = 'annotations.xml of the export "CVAT for images 1.1", or the folder with it'
    title = "CVAT for images"
    drawn_upright = True
    origin = "as in the file"
    visibility = "1 where a point is marked as occluded, else 2; points outside are not labelled"
    boxes = "the box of the same group, else the extent of the points and 10 % of its longer side all round"

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The subsets as splits, and the labels that occur."""
        self.file = self.only_file(".xml")
        root = self.files.xml(self.file)
        self.images = root.findall("image")
        if root.tag != "annotations" or root.find("track") is not None or not self.images:
            raise DataError(f"{quote(self.file)} holds no annotated images (a video export holds tracks). {WAY_OUT}")
        labels = [(label.findtext("name", "").strip(), label) for label in root.iter("label")]
        drawings = {name: html.unescape(drawing) for name, label in labels if (drawing := label.findtext("svg"))}
        declared = [(label.findtext("parent", "").strip(), name) for name, label in labels if name]
        objects = [raw for image in self.images for raw in _objects(image)]
        used = parts_of((raw.kind, point[0]) for raw in objects if raw.mark != NUMBERED for point in raw.points)
        parts = parts_of([*(part for part in declared if part[0] in used), *_pairs(used)])
        kinds = [
            ObjectKind(kind, tuple(parts[kind]), _edges(drawings.get(kind, "")), named=kind != OBJECT) for kind in used
        ]
        self.counts: dict[str, int] = {}
        for raw in objects:
            if raw.mark == NUMBERED:
                self.counts[raw.kind] = max(self.counts.get(raw.kind, 0), len(raw.points))
        for kind in self.counts:
            if kind in used:
                raise DataError(
                    f"{quote(self.file)} labels {quote(kind)} in two ways, as single points and as several at once. "
                    "One kind of object is labelled in one way. Split the task and import the parts."
                )
        kinds += [ObjectKind.numbered(kind, count) for kind, count in self.counts.items()]
        splits = sorted({image.get("subset") or "all" for image in self.images})
        return {split: ALL["all"] if split == "all" else f"subset {split}" for split in splits}, kinds

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per image of the subset."""
        for number, image in enumerate(self.images, start=1):
            if (image.get("subset") or "all") != split:
                continue
            stated = image.get("name", "")
            try:
                name = self.pictures.find(safe_name(stated), "" if split == "all" else split)
            except DataError as error:
                yield Skipped(stated or f"{self.file}: image number {number}", str(error))
                continue
            size = (image.get("width", ""), image.get("height", ""))
            yield PictureEntry(name, PictureLabels(list(_objects(image)), size, id=image.get("id")))

    def open_picture(self, source: SourceFolder, entry: PictureEntry) -> Picture:
        """The picture, which must have the size that the file states."""
        width, height = (parse_number(side, "the size in the annotation") for side in entry.data.size)
        source.picture(entry.name, (int(width), int(height)))
        return super().open_picture(source, entry)

    def object(self, raw: RawObject, picture: Picture, number: int) -> LabelledObject:
        """One object of an image."""
        where = f"object {number} ({raw.kind})"
        raw.refuse_doubles(f"{where}: ", "group the points of each object in CVAT, or use skeletons")
        if raw.mark == NUMBERED and len(raw.points) != self.counts[raw.kind]:
            raise DataError(f"{where} has {len(raw.points)} points, others have {self.counts[raw.kind]}")
        points: dict[str, Point] = {}
        for name, place, occluded, outside in raw.points:
            if occluded not in ("0", "1") or outside not in ("0", "1"):
                raise DataError(
                    f"{where}, {quote(name)}: occluded {quote(occluded)} or outside {quote(outside)} is not 0 or 1"
                )
            if outside == "0":
                cells = place.split(",")
                if len(cells) != 2:
                    raise DataError(f"{where}, {quote(name)}: {quote(place)} is not x,y")
                x, y = (parse_number(cell, f"{where}, {quote(name)}") for cell in cells)
                points[name] = (x, y, HIDDEN if occluded == "1" else VISIBLE)
        box: Box | None = None
        if raw.box is not None:
            left, top, right, bottom = (parse_number(corner, f"{where}, its box") for corner in raw.box)
            box = (left, top, right - left, bottom - top)
        return LabelledObject(raw.kind, points, box, id=str(number))


def _pairs(parts: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    return ((kind, name) for kind, names in parts.items() for name in names)


def _edges(drawing: str) -> tuple[tuple[str, str], ...]:
    """The lines of a skeleton's drawing (SVG); its circles say which node has which label."""
    tags = [(match[1], dict(ATTRIBUTE.findall(match[2]))) for match in TAG.finditer(drawing)]
    nodes = {values.get("data-node-id"): values.get("data-label-name") for tag, values in tags if tag == "circle"}
    lines = [values for tag, values in tags if tag == "line"]
    pairs = [(nodes.get(line.get("data-node-from")), nodes.get(line.get("data-node-to"))) for line in lines]
    return tuple((a, b) for a, b in pairs if a is not None and b is not None)


def _objects(image: Element) -> Iterator[RawObject]:
    """The objects of an image; a point is (name, "x,y", occluded, outside)."""
    boxes: dict[str, list[Element]] = {}
    for box in image.iterfind("box"):
        boxes.setdefault(_group(box), []).append(box)
    for skeleton in image.iterfind("skeleton"):
        points = [_point(point) for point in skeleton.iterfind("points")]
        yield _raw(skeleton.get("label"), points, _take(boxes, _group(skeleton)))
    loose: dict[str, list[tuple[str, ...]]] = {}
    for point in image.iterfind("points"):
        places = point.get("points", "").split(";")
        if len(places) == 1:
            loose.setdefault(_group(point), []).append(_point(point))
            continue
        occluded = point.get("occluded", "0")
        points = [(f"point {i}", place, occluded, "0") for i, place in enumerate(places, start=1)]
        yield _raw(point.get("label"), points, _take(boxes, _group(point)), NUMBERED)
    for group, points in loose.items():
        owner = _take(boxes, group, alone=True)
        yield _raw(owner.get("label") if owner is not None else "", points, owner)
    yield from (_raw(box.get("label"), [], box) for of_group in boxes.values() for box in of_group)


def _group(element: Element) -> str:
    group = element.get("group_id") or ""
    return "" if group == "0" else group


def _take(boxes: dict[str, list[Element]], group: str, alone: bool = False) -> Element | None:
    """The one box of a group, taken out; outside of groups only if nothing else can be meant."""
    candidates = boxes.get(group, [])
    return candidates.pop() if len(candidates) == 1 and (group or alone) else None


def _raw(kind: str | None, points: list[tuple[str, ...]], box: Element | None, mark: str | None = None) -> RawObject:
    corners = None if box is None else [box.get(key, "") for key in ("xtl", "ytl", "xbr", "ybr")]
    return RawObject(kind or OBJECT, list(points), corners, mark=mark)


def _point(point: Element) -> tuple[str, ...]:
    return point.get("label", ""), point.get("points", ""), point.get("occluded", "0"), point.get("outside", "0")
