"""From the tables of a skeleton file to a checked `Skeleton`, collecting every fault on the way.

What a file may leave out: `title`, `also`, `released`, `note`, `source`, `edges`, `left_right`; per keypoint everything
but the name. A missing sigma follows the rule for free names; a missing flip is the partner on the other side if the
skeleton has it, else the point itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from xpose.errors import did_you_mean, quote
from xpose.vocabulary.names import flip_name, normalise, sigma_for
from xpose.vocabulary.skeleton import LEFT_RIGHT, Keypoint, Skeleton, Source

_SKELETON_KEYS = ("name", "also", "released", "title", "note", "left_right", "source", "keypoints", "edges")
_POINT_KEYS = ("name", "alias", "part", "flip", "sigma", "layout", "source_names", "note", "unused")
_SOURCE_KEYS = ("dataset", "reference", "names", "sigmas", "edges", "url", "licence")
_YOURS = {
    "dataset": "a file of yours",
    "reference": "a file of yours",
    "names": "the writer of the file",
    "sigmas": "the writer of the file; else the rule for free names",
    "edges": "the writer of the file",
}


class _Faults(list[str]):
    """The faults found so far; the readers return a harmless stand-in and go on, so that all are found."""

    def keys(self, table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in allowed:
                self.append(f"{where}: unknown key {quote(key)}.{did_you_mean(key, allowed)}")

    def text(self, table: Mapping[str, Any], key: str, where: str) -> str | None:
        value = table.get(key)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self.append(f"{where}: {key} = {value!r} must be a text that is not empty")
        return None

    def texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
            return tuple(value)
        self.append(f"{where}: {key} = {value!r} must be a list of texts")
        return ()


def build_skeleton(table: Mapping[str, Any], default_name: str) -> tuple[Skeleton | None, list[str]]:
    """The skeleton, or None with everything that is wrong in it."""
    faults = _Faults()
    faults.keys(table, _SKELETON_KEYS, "skeleton")
    name = faults.text(table, "name", "skeleton") or default_name
    rows = _rows(table.get("keypoints"), faults)
    left_right = table.get("left_right", _default_left_right(rows))
    if not isinstance(left_right, str) or left_right not in LEFT_RIGHT:
        faults.append(f"skeleton: left_right = {left_right!r} must be one of {', '.join(LEFT_RIGHT)}")
        left_right = "none"
    points = _points(rows, left_right, faults)
    released = faults.text(table, "released", "skeleton")
    if released is not None:
        faults.extend(f"{_where(point.name)}: has no alias" for point in points if point.alias is None)
    edges = _edges(table.get("edges", []), points, faults)
    source = _source(table.get("source", {}), faults)
    title = faults.text(table, "title", "skeleton") or name
    also = faults.texts(table, "also", "skeleton")
    note = faults.text(table, "note", "skeleton")
    if faults:
        return None, faults
    return (
        Skeleton(
            name=name,
            title=title,
            points=points,
            edges=edges,
            left_right=left_right,  # type: ignore[arg-type]  # checked against LEFT_RIGHT above
            source=source,
            also=also,
            released=released,
            note=note,
        ),
        [],
    )


def _where(name: str) -> str:
    return f"keypoint {quote(name)}"


def _rows(value: Any, faults: _Faults) -> list[dict[str, Any]]:
    """The keypoints as tables with a name each; a bare text is a keypoint with nothing but a name."""
    if not isinstance(value, list) or not value:
        faults.append("skeleton: keypoints must be a list with at least one keypoint")
        return []
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, item in enumerate(value, start=1):
        row = {"name": item} if isinstance(item, str) else item
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str) or not name.strip():
            faults.append(f"keypoint {number}: needs a name, a text that is not empty")
            continue
        if normalise(name) in seen:
            faults.append(f"{_where(name)}: the name is used twice")
            continue
        seen.add(normalise(name))
        rows.append(row)
    return rows


def _default_left_right(rows: list[dict[str, Any]]) -> str:
    names = {row["name"] for row in rows}
    pairs = any(
        "flip" in row or (flip_name(row["name"]) != row["name"] and flip_name(row["name"]) in names) for row in rows
    )
    return "anatomical" if pairs else "none"


def _points(rows: list[dict[str, Any]], left_right: str, faults: _Faults) -> tuple[Keypoint, ...]:
    names = {row["name"] for row in rows}
    points = []
    for row in rows:
        where = _where(row["name"])
        faults.keys(row, _POINT_KEYS, where)
        mirrored = flip_name(row["name"])
        default_flip = mirrored if left_right != "none" and mirrored in names else row["name"]
        flip = row.get("flip", default_flip)
        if flip not in names:
            faults.append(
                f"{where}: flip = {flip!r} is not a keypoint of this skeleton.{did_you_mean(str(flip), names)}"
            )
        elif left_right == "none" and flip != row["name"]:
            faults.append(f'{where}: flip = {flip!r}, but left_right = "none" says that nothing changes in a mirror')
        points.append(_point(row, where, str(flip), faults))
    flips = {point.name: point.flip for point in points}
    for point in points:
        back = flips.get(point.flip)
        if back is not None and back != point.name:
            faults.append(
                f"{_where(point.name)}: flips to {quote(point.flip)}, which flips to {quote(back)}; flips go both ways"
            )
    return tuple(points)


def _point(row: dict[str, Any], where: str, flip: str, faults: _Faults) -> Keypoint:
    sigma = row.get("sigma", sigma_for(row["name"]))
    if not _is_number(sigma) or not 0 < sigma <= 1:
        faults.append(f"{where}: sigma = {sigma!r} must be a number above 0 and at most 1")
        sigma = 1.0
    layout = row.get("layout")
    if layout is not None and not (
        isinstance(layout, list) and len(layout) == 2 and all(_is_number(c) and 0 <= c <= 1 for c in layout)
    ):
        faults.append(f"{where}: layout = {layout!r} must be [x, y] with both in 0..1")
        layout = None
    unused = row.get("unused", False)
    if not isinstance(unused, bool):
        faults.append(f"{where}: unused = {unused!r} must be true or false")
        unused = False
    return Keypoint(
        name=row["name"],
        part=faults.text(row, "part", where) or "whole",
        flip=flip,
        sigma=float(sigma),
        alias=faults.text(row, "alias", where),
        layout=(float(layout[0]), float(layout[1])) if layout is not None else None,
        source_names=faults.texts(row, "source_names", where),
        note=faults.text(row, "note", where),
        unused=unused,
    )


def _edges(value: Any, points: tuple[Keypoint, ...], faults: _Faults) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        faults.append(f'skeleton: edges = {value!r} must be a list of pairs such as ["left eye", "nose"]')
        return ()
    names = {point.name for point in points}
    edges: list[tuple[str, str]] = []
    for item in value:
        if not (isinstance(item, list) and len(item) == 2 and all(isinstance(end, str) for end in item)):
            faults.append(f"edge {item!r}: must be a pair of keypoint names")
            continue
        strangers = [end for end in item if end not in names]
        for end in strangers:
            faults.append(f"edge {item!r}: {quote(end)} is not a keypoint of this skeleton.{did_you_mean(end, names)}")
        if strangers:
            continue
        if item[0] == item[1]:
            faults.append(f"edge {item!r}: joins a keypoint to itself")
        elif any({*item} == {*edge} for edge in edges):
            faults.append(f"edge {item!r}: is there twice")
        else:
            edges.append((item[0], item[1]))
    return tuple(edges)


def _source(value: Any, faults: _Faults) -> Source:
    if not isinstance(value, dict):
        faults.append(f"skeleton: source = {value!r} must be a table")
        return Source(**_YOURS)
    faults.keys(value, _SOURCE_KEYS, "source")
    found = {key: faults.text(value, key, "source") for key in _SOURCE_KEYS}
    stated = {key: text for key, text in found.items() if text is not None}
    return Source(**{**_YOURS, **stated})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
