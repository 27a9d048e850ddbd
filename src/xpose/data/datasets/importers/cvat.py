"""CVAT for images 1.1 (annotations.xml): skeletons, or single points held together by groups."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from xpose.data.datasets.converters.base import UNVERIFIED, Entry, read_each
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, LabelledObject, LabelledPicture
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.importers.places import refuse_turned
from xpose.data.datasets.sources import Source, parse_number, safe_name
from xpose.errors import DataError, quote
from xpose.records import HIDDEN, VISIBLE, Box, Point, Skipped

WAY_OUT = 'Export the task again as "CVAT for images 1.1".'
TAG = re.compile(r"<(line|circle)\b([^>]*)>")
ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


class Cvat(Importer):
    """A skeleton is an object. Loose points of one group are an object, and without groups those of one picture;
    an element with several points is an object whose points are numbered.
    """

    format = "cvat"
    what = 'annotations.xml of the export "CVAT for images 1.1", or the folder with it'
    title = "CVAT for images"
    status = UNVERIFIED
    origin = "as in the file"
    visibility = "1 where a point is marked as occluded, else 2; points outside are not labelled"
    boxes = "the box of the same group, else the extent of the points and 10 % of its longer side all round"

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The subsets as splits, and the labels that occur."""
        self.file = self.only_file(".xml")
        self.images = list(self._images())
        parts: dict[str, list[str]] = {}
        numbered: dict[str, int] = {}
        for image in self.images:
            for thing in _raw_things(image):
                if thing["numbered"]:
                    numbered[thing["kind"]] = max(numbered.get(thing["kind"], 0), len(thing["points"]))
                    continue
                known = parts.setdefault(thing["kind"], [])
                known += [name for name, *_ in thing["points"] if name not in known]
        for kind, names in self.declared.items():
            if kind in parts:
                parts[kind] = [*names, *(name for name in parts[kind] if name not in names)]
        kinds = [
            ObjectKind(kind, tuple(names), tuple(self._edges(kind)), named=kind != OBJECT)
            for kind, names in parts.items()
            if names
        ]
        for kind, count in numbered.items():
            if kind in parts:
                raise DataError(
                    f"{quote(self.file)} labels {quote(kind)} in two ways, as single points and as several at once. "
                    "One kind of object is labelled in one way. Split the task and import the parts."
                )
            kinds.append(ObjectKind(kind, tuple(f"point {i}" for i in range(1, count + 1)), points_named=False))
        splits = sorted({image.get("subset") or "all" for image in self.images})
        return {split: ALL["all"] if split == "all" else f"subset {split}" for split in splits}, kinds

    def listing(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
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
            yield Entry(name, (image.get("id"), size, list(_raw_things(image))))

    def look(self, source: Source, split: str, entry: Entry) -> LabelledPicture:
        """One picture with its objects."""
        number, size, raw = entry.data
        width, height = (parse_number(side, "the size in the annotation") for side in size)
        picture = source.picture(entry.name, (int(width), int(height)))
        refuse_turned(source.path(entry.name))
        things, dropped = read_each(
            entry.name, raw, lambda each, i: self._thing(each, f"object {i} ({each['kind']})", str(i))
        )
        return LabelledPicture(picture, things, dropped, source_id=number)

    def _thing(self, raw: dict[str, Any], where: str, number: str) -> LabelledObject:
        doubled = [name for name, count in Counter(name for name, *_ in raw["points"]).items() if count > 1]
        if doubled:
            raise DataError(
                f"{where}: {', '.join(map(quote, doubled))} occur more than once; group the points of each "
                "object in CVAT, or use skeletons"
            )
        if raw["numbered"] and len(raw["points"]) != len(self.named[raw["kind"]].table.names):
            raise DataError(
                f"{where} has {len(raw['points'])} points, others have {len(self.named[raw['kind']].table.names)}"
            )
        points: dict[str, Point] = {}
        for name, place, hidden, outside in raw["points"]:
            if hidden not in ("0", "1") or outside not in ("0", "1"):
                raise DataError(
                    f"{where}, {quote(name)}: occluded {quote(hidden)} or outside {quote(outside)} is not 0 or 1"
                )
            if outside == "0":
                x, y = _pair(place, f"{where}, {quote(name)}")
                points[name] = (x, y, HIDDEN if hidden == "1" else VISIBLE)
        return LabelledObject(raw["kind"], points, _box(raw["box"], where), id=number)

    def _images(self) -> Iterator[Any]:
        root = self.files.xml(self.file)
        if root.tag != "annotations" or root.find("track") is not None or root.find("image") is None:
            raise DataError(f"{quote(self.file)} holds no annotated images (a video export holds tracks). {WAY_OUT}")
        labels = [label for label in root.iter("label") if label.find("name") is not None]
        self.declared: dict[str, list[str]] = {}
        self.drawings: dict[str, str] = {}
        for label in labels:
            name, parent = label.findtext("name", "").strip(), label.findtext("parent", "").strip()
            if parent and name:
                self.declared.setdefault(parent, []).append(name)
            if label.findtext("svg"):
                self.drawings[name] = html.unescape(label.findtext("svg", ""))
        yield from root.iterfind("image")

    def _edges(self, kind: str) -> Iterator[tuple[str, str]]:
        """The lines of a skeleton's drawing; its circles say which node has which label."""
        tags = [(match[1], dict(ATTRIBUTE.findall(match[2]))) for match in TAG.finditer(self.drawings.get(kind, ""))]
        nodes = {each.get("data-node-id"): each.get("data-label-name") for tag, each in tags if tag == "circle"}
        for tag, each in tags:
            ends = [nodes.get(each.get(key)) for key in ("data-node-from", "data-node-to")]
            if tag == "line" and ends[0] is not None and ends[1] is not None:
                yield ends[0], ends[1]


def _raw_things(image: Any) -> Iterator[dict[str, Any]]:
    """The objects of an image as plain values: kind, points as (name, "x,y", hidden, outside), box, numbered."""
    boxes: dict[str, list[Any]] = {}
    for box in image.iterfind("box"):
        boxes.setdefault(_group(box), []).append(box)
    for skeleton in image.iterfind("skeleton"):
        points = [_raw_point(point) for point in skeleton.iterfind("points")]
        yield _raw(skeleton.get("label") or OBJECT, points, _take(boxes, _group(skeleton)))
    loose: dict[str, list[tuple[str, str, str, str]]] = {}
    for point in image.iterfind("points"):
        places = point.get("points", "").split(";")
        if len(places) == 1:
            loose.setdefault(_group(point), []).append(_raw_point(point))
            continue
        hidden = point.get("occluded", "0")
        points = [(f"point {i}", place, hidden, "0") for i, place in enumerate(places, start=1)]
        yield _raw(point.get("label") or OBJECT, points, _take(boxes, _group(point)), numbered=True)
    for group, points in loose.items():
        box = _take(boxes, group, alone=True)
        yield _raw((box.get("label") if box is not None else "") or OBJECT, points, box)
    for rest in boxes.values():
        for box in rest:
            yield _raw(box.get("label") or OBJECT, [], box)


def _group(element: Any) -> str:
    group = element.get("group_id") or ""
    return "" if group == "0" else str(group)


def _take(boxes: dict[str, list[Any]], group: str, alone: bool = False) -> Any:
    """The one box of a group, taken out; outside of groups only if nothing else can be meant."""
    candidates = boxes.get(group, [])
    return candidates.pop() if len(candidates) == 1 and (group or alone) else None


def _raw(kind: str, points: list[Any], box: Any, numbered: bool = False) -> dict[str, Any]:
    corners = None if box is None else [box.get(key, "") for key in ("xtl", "ytl", "xbr", "ybr")]
    return {"kind": kind, "points": points, "box": corners, "numbered": numbered}


def _raw_point(point: Any) -> tuple[str, str, str, str]:
    return point.get("label", ""), point.get("points", ""), point.get("occluded", "0"), point.get("outside", "0")


def _pair(place: str, where: str) -> tuple[float, float]:
    cells = place.split(",")
    if len(cells) != 2:
        raise DataError(f"{where}: {quote(place)} is not x,y")
    return parse_number(cells[0], where), parse_number(cells[1], where)


def _box(corners: list[str] | None, where: str) -> Box | None:
    if corners is None:
        return None
    left, top, right, bottom = (parse_number(corner, f"{where}, its box") for corner in corners)
    return left, top, right - left, bottom - top
