"""CVAT: annotations.xml ("CVAT for images 1.1") with a skeleton for each object, and the labels of the task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from xpose.results.formats.json import number, printable

if TYPE_CHECKING:
    from xpose.results.poses import Poses


def to_cvat(results: Sequence[Poses]) -> str:
    """The annotations to upload to a task that has the same pictures and the labels of `labels`.

    A skeleton of CVAT has no box, score or confidence. Objects without keypoints become boxes.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    listed = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for label in _labels(results):
        _describe(listed, label, "")
        for part in label["sublabels"]:
            _describe(listed, part, label["name"])
    for row, poses in enumerate(results):
        height, width = poses.image_size
        name = poses.source or f"picture-{row + 1}"
        image = SubElement(root, "image", id=str(row), name=printable(name), width=str(width), height=str(height))
        for pose in poses[~poses.tentative]:
            shared = {"label": printable(pose.category), "source": "auto", "occluded": "0", "z_order": "0"}
            if not pose.names:
                corners = zip(("xtl", "ytl", "xbr", "ybr"), pose.box, strict=True)
                SubElement(image, "box", shared | {key: str(number(value)) for key, value in corners})
                continue
            skeleton = SubElement(image, "skeleton", {key: shared[key] for key in ("label", "source", "z_order")})
            for part, point in pose.points.items():
                place = f"{number(point.x)},{number(point.y)}" if point.v else "0.0,0.0"
                flags = {"occluded": str(int(point.v == 1)), "outside": str(int(point.v == 0))}
                SubElement(skeleton, "points", {"label": printable(part), "source": "auto", **flags, "points": place})
    indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def labels(results: Sequence[Poses]) -> dict[str, str]:
    """`labels.json`: what to paste into the field "Raw" of the labels of a new task."""
    return {"labels.json": json.dumps(_labels(results), indent=1) + "\n"}


def _labels(results: Sequence[Poses]) -> list[dict[str, Any]]:
    """A label for each class, with the keypoints and edges of all its objects."""
    kinds: dict[str, tuple[dict[str, None], dict[tuple[str, str], None]]] = {}
    for pose in (pose for poses in results for pose in poses):
        names, edges = kinds.setdefault(pose.category, ({}, {}))
        names |= dict.fromkeys(pose.names)
        edges |= dict.fromkeys(pose.edges)
    return [_label(category, tuple(names), tuple(edges)) for category, (names, edges) in kinds.items()]


def _label(category: str, names: tuple[str, ...], edges: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    label: dict[str, Any] = {"name": printable(category), "type": "skeleton" if names else "rectangle"}
    label |= {"attributes": [], "sublabels": []}
    if not names:
        return label
    label["sublabels"] = [{"name": printable(name), "type": "points", "attributes": []} for name in names]
    return {**label, "svg": _drawing(names, edges)}


def _drawing(names: tuple[str, ...], edges: tuple[tuple[str, str], ...]) -> str:
    """The drawing of a skeleton, which defines its edges: the points on a grid."""
    columns = max(1, round(len(names) ** 0.5))
    step = 100 / (columns + 1)
    root, places = Element("svg"), {}
    for row, name in enumerate(names):
        down, right = divmod(row, columns)
        places[name] = (round(step * (1 + right), 1), round(100 * (1 + down) / (len(names) // columns + 2), 1))
    for start, end in edges:
        (x1, y1), (x2, y2) = places[start], places[end]
        node = {"data-type": "edge", "data-node-from": str(names.index(start) + 1)}
        node |= {"data-node-to": str(names.index(end) + 1), "stroke": "black"}
        SubElement(root, "line", {"x1": str(x1), "y1": str(y1), "x2": str(x2), "y2": str(y2), **node})
    for row, name in enumerate(names, start=1):
        node = {"data-type": "element node", "data-element-id": str(row), "data-node-id": str(row)}
        centre = {"r": "1.5", "cx": str(places[name][0]), "cy": str(places[name][1])}
        SubElement(root, "circle", {**centre, **node, "data-label-name": printable(name)})
    return "".join(tostring(child, encoding="unicode") for child in root)


def _describe(listed: Element, label: dict[str, Any], parent: str) -> None:
    entry = SubElement(listed, "label")
    SubElement(entry, "name").text = label["name"]
    SubElement(entry, "type").text = label["type"]
    SubElement(entry, "attributes")
    if "svg" in label:
        SubElement(entry, "svg").text = label["svg"]
    if parent:
        SubElement(entry, "parent").text = parent
