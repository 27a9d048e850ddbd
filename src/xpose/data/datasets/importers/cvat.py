"""CVAT for images 1.1 (annotations.xml): skeletons, or single points combined by groups."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, PictureLabels, RawObject
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import SourceFolder, grouped, parse_number, parse_numbers, safe_name
from xpose.errors import DataError, quote
from xpose.records import HIDDEN, VISIBLE, Instance, Picture, Point, Skipped

WAY_OUT = 'Export the task again as "CVAT for images 1.1".'
TAG = re.compile(r"<(line|circle)\b([^>]*)>")
ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
NUMBERED = "numbered"  # marks an object whose points have no names


class Cvat(Importer):
    """A skeleton is an object. Single points form one object per group, or one per picture without groups. An
    element with several points is an object with numbered points.
    """

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        self.file = self.only_file(".xml")
        root = self.files.xml(self.file)
        self.images = root.findall("image")
        if root.tag != "annotations" or root.find("track") is not None or not self.images:
            raise DataError(f"{quote(self.file)} holds no annotated images (a video export holds tracks). {WAY_OUT}")
        labels = [(label.findtext("name", "").strip(), label) for label in root.iter("label")]
        drawings = {name: html.unescape(drawing) for name, label in labels if (drawing := label.findtext("svg"))}
        declared = [(label.findtext("parent", "").strip(), name) for name, label in labels if name]
        objects = [raw for image in self.images for raw in _objects(image)]
        occurring = [(raw.kind, point[0]) for raw in objects if raw.mark != NUMBERED for point in raw.points]
        used = dict.fromkeys(kind for kind, _ in occurring)
        parts = grouped(dict.fromkeys([*(part for part in declared if part[0] in used), *occurring]))
        edges = {kind: _edges(drawings.get(kind, "")) for kind in used}
        kinds = [ObjectKind(kind, tuple(parts[kind]), edges[kind], named=kind != OBJECT) for kind in used]
        self.counts: dict[str, int] = {}
        for raw in objects:
            if raw.mark == NUMBERED:
                self.counts[raw.kind] = max(self.counts.get(raw.kind, 0), len(raw.points))
        for kind in self.counts.keys() & used.keys():
            raise DataError(
                f"{quote(self.file)} labels {quote(kind)} in two ways, as single points and as several at once. "
                "Split the task and import the parts."
            )
        kinds += [ObjectKind.numbered(kind, count) for kind, count in self.counts.items()]
        splits = sorted({image.get("subset") or "all" for image in self.images})
        return {split: ALL["all"] if split == "all" else f"subset {split}" for split in splits}, kinds

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
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
        width, height = (parse_number(side, "the size in the annotation") for side in entry.data.size)
        source.picture(entry.name, (int(width), int(height)))
        return super().open_picture(source, entry)

    def object(self, raw: RawObject, picture: Picture, number: int) -> Instance:
        where = f"object {number} ({raw.kind})"
        raw.refuse_doubles(f"{where}: ", "group the points of each object in CVAT, or use skeletons")
        if raw.mark == NUMBERED and len(raw.points) != self.counts[raw.kind]:
            raise DataError(f"{where} has {len(raw.points)} points, others have {self.counts[raw.kind]}")
        points: dict[str, Point] = {}
        for name, place, occluded, outside in raw.points:
            what, flags = f"{where}, {quote(name)}", {occluded, outside}
            if not flags <= {"0", "1"}:
                raise DataError(f"{what}: occluded {quote(occluded)} or outside {quote(outside)} is not 0 or 1")
            if outside == "0":
                x, y = parse_numbers(place, 2, what, ",")
                points[name] = (x, y, HIDDEN if occluded == "1" else VISIBLE)
        box = None
        if raw.box is not None:
            left, top, right, bottom = (parse_number(corner, f"{where}, its box") for corner in raw.box)
            box = (left, top, right - left, bottom - top)
        return self.settled(raw.kind, points, picture, number, box, id=str(number))


def _edges(drawing: str) -> tuple[tuple[str, str], ...]:
    """The lines of a skeleton's drawing (SVG); its circles map nodes to labels."""
    tags = [(match[1], dict(ATTRIBUTE.findall(match[2]))) for match in TAG.finditer(drawing)]
    nodes = {values.get("data-node-id"): values.get("data-label-name") for tag, values in tags if tag == "circle"}
    lines = [values for tag, values in tags if tag == "line"]
    pairs = [(nodes.get(line.get("data-node-from")), nodes.get(line.get("data-node-to"))) for line in lines]
    return tuple((a, b) for a, b in pairs if a is not None and b is not None)


def _objects(image: Element) -> Iterator[RawObject]:
    """The objects of an image; a point is (name, "x,y", occluded, outside)."""
    boxes = grouped((_group(box), box) for box in image.iterfind("box"))
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
    """Remove and return a group's only box; ungrouped boxes count only if `alone` is true."""
    candidates = boxes.get(group, [])
    return candidates.pop() if len(candidates) == 1 and (group or alone) else None


def _raw(kind: str | None, points: list[tuple[str, ...]], box: Element | None, mark: str | None = None) -> RawObject:
    corners = None if box is None else [box.get(key, "") for key in ("xtl", "ytl", "xbr", "ybr")]
    return RawObject(kind or OBJECT, list(points), corners, mark=mark)


def _point(point: Element) -> tuple[str, ...]:
    return point.get("label", ""), point.get("points", ""), point.get("occluded", "0"), point.get("outside", "0")
