"""Skeleton files: found by name, read once, and checked in full before they are used.

A skeleton file is TOML. docs/vocabulary.md describes how to write one; the smallest one is

    name = "forklift"
    keypoints = ["left fork tip", "right fork tip", "mast top"]

Everything else has a default: a missing sigma follows the rule for free names; a missing flip is the partner on the
other side if the skeleton has it, otherwise the keypoint itself. All faults of a file are reported together.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from xpose.errors import ConfigError, VocabularyError, counted, did_you_mean, quote, unknown
from xpose.vocabulary.names import flip_name, normalise, sigma_for
from xpose.vocabulary.skeleton import LEFT_RIGHT, Keypoint, Skeleton, SkeletonSource

FOLDER = Path(__file__).with_name("skeletons")
MAX_BYTES = 1_000_000
_WAY_OUT = "docs/vocabulary.md shows the format; `xpose skeletons person` shows an example."
_SKELETON_KEYS = ("name", "also", "released", "title", "note", "left_right", "source", "keypoints", "edges")
_POINT_KEYS = ("name", "alias", "part", "flip", "sigma", "layout", "source_names", "note", "unused")
_SOURCE_KEYS = ("dataset", "reference", "names", "sigmas", "edges", "url", "licence")
_WRITER = "the writer of the file"
_YOURS = {"dataset": "a file of yours", "reference": "a file of yours", "names": _WRITER, "edges": _WRITER}
_YOURS["sigmas"] = f"{_WRITER}; else the rule for free names"


def load_skeleton(name: str | Path) -> Skeleton:
    """The skeleton with the given name, or in a file (a path, or any string that ends in ".toml").

    Raises:
        VocabularyError: no skeleton has this name; the message suggests near matches.
        ConfigError: the file is missing, is not TOML, or breaks the format; all faults are listed.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        return read_skeleton_file(Path(name))
    skeleton = _index().get(normalise(name))
    if skeleton is None:
        spellings = [spelling for shipped in list_skeletons() for spelling in (shipped.name, *shipped.also)]
        raise unknown("skeleton", name, spellings, "List them with: xpose skeletons")
    return skeleton


@functools.lru_cache(maxsize=1024)
def keypoint_sigmas(skeleton: str, names: tuple[str, ...]) -> tuple[float, ...]:
    """The similarity constant of each keypoint: the skeleton's own, or by the rule for free names if it has none.

    A path is never opened, because the name of a skeleton can come from an annotation file.
    """
    sigmas: dict[str, float] = {}
    if not skeleton.endswith(".toml"):
        with suppress(VocabularyError):  # the user's own skeleton
            sigmas = {point.name: point.sigma for point in load_skeleton(skeleton).points}
    return tuple(sigmas.get(name, sigma_for(name)) for name in names)


@functools.cache
def list_skeletons() -> tuple[Skeleton, ...]:
    """All skeletons of the package, by name."""
    return tuple(read_skeleton_file(file) for file in sorted(FOLDER.glob("*.toml")))


@functools.cache
def _index() -> dict[str, Skeleton]:
    return {
        normalise(spelling): skeleton for skeleton in list_skeletons() for spelling in (skeleton.name, *skeleton.also)
    }


def read_skeleton_file(path: Path) -> Skeleton:
    """The skeleton in a file; its default name is the file's.

    Raises:
        ConfigError: the file is missing, is not TOML, or breaks the format; all faults are listed.
    """
    path = path.expanduser()
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ConfigError(f"{quote(path)} has {size} bytes; a skeleton file has at most {MAX_BYTES}.")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the skeleton file {quote(path)}: {error.strerror}. Check the path, or give the name of a "
            "skeleton (list them with: xpose skeletons)."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{quote(path)} is not TOML in UTF-8: {error}. {_WAY_OUT}") from None
    skeleton, faults = build_skeleton(table, default_name=path.stem)
    if skeleton is None:
        listed = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"{quote(path)} has {counted(len(faults), 'fault')}:\n{listed}\n{_WAY_OUT}")
    return skeleton


class _Faults(list[str]):
    """The faults found so far. The readers return a harmless default after a fault, so that all are found."""

    def keys(self, table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
        strangers = [key for key in table if key not in allowed]
        self.extend(f"{where}: unknown key {quote(key)}.{did_you_mean(key, allowed)}" for key in strangers)

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
    """The skeleton, or None with all faults of the table."""
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
    skeleton = Skeleton(
        name=name,
        title=faults.text(table, "title", "skeleton") or name,
        points=points,
        edges=_edges(table.get("edges", []), points, faults),
        left_right=left_right,  # type: ignore[arg-type]  # checked against LEFT_RIGHT above
        source=_source(table.get("source", {}), faults),
        also=faults.texts(table, "also", "skeleton"),
        released=released,
        note=faults.text(table, "note", "skeleton"),
    )
    return (None, faults) if faults else (skeleton, [])


def _where(name: str) -> str:
    return f"keypoint {quote(name)}"


def _rows(value: Any, faults: _Faults) -> list[dict[str, Any]]:
    """The keypoints as tables, each with a name; a bare string is a keypoint with only a name."""
    if not isinstance(value, list) or not value:
        faults.append("skeleton: keypoints must be a list with at least one keypoint")
        return []
    rows: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(value, start=1):
        row = {"name": item} if isinstance(item, str) else item
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str) or not name.strip():
            faults.append(f"keypoint {number}: needs a name, a text that is not empty")
        elif normalise(name) in rows:
            faults.append(f"{_where(name)}: the name is used twice")
        else:
            rows[normalise(name)] = row
    return list(rows.values())


def _default_left_right(rows: list[dict[str, Any]]) -> str:
    names = {row["name"] for row in rows}
    pairs = any("flip" in row or row["name"] != flip_name(row["name"]) in names for row in rows)
    return "anatomical" if pairs else "none"


def _points(rows: list[dict[str, Any]], left_right: str, faults: _Faults) -> tuple[Keypoint, ...]:
    names = {row["name"] for row in rows}
    points = []
    for row in rows:
        where = _where(row["name"])
        faults.keys(row, _POINT_KEYS, where)
        mirrored = flip_name(row["name"])
        flip = row.get("flip", mirrored if left_right != "none" and mirrored in names else row["name"])
        if flip not in names:
            near = did_you_mean(str(flip), names)
            faults.append(f"{where}: flip = {flip!r} is not a keypoint of this skeleton.{near}")
        elif left_right == "none" and flip != row["name"]:
            faults.append(f'{where}: flip = {flip!r}, but left_right = "none" says that nothing changes in a mirror')
        points.append(_point(row, where, str(flip), faults))
    flips = {point.name: point.flip for point in points}
    for point in points:
        back = flips.get(point.flip)
        if back is not None and back != point.name:
            where = f"{_where(point.name)}: flips to {quote(point.flip)}"
            faults.append(f"{where}, which flips to {quote(back)}; flips go both ways")
    return tuple(points)


def _point(row: dict[str, Any], where: str, flip: str, faults: _Faults) -> Keypoint:
    sigma = row.get("sigma", sigma_for(row["name"]))
    if not _is_number(sigma) or not 0 < sigma <= 1:
        faults.append(f"{where}: sigma = {sigma!r} must be a number above 0 and at most 1")
        sigma = 1.0
    layout = row.get("layout")
    place = layout if isinstance(layout, list) else []
    if layout is not None and not (len(place) == 2 and all(_is_number(c) and 0 <= c <= 1 for c in place)):
        faults.append(f"{where}: layout = {layout!r} must be [x, y] with both in 0..1")
        layout = None
    unused = row.get("unused", False)
    if not isinstance(unused, bool):
        faults.append(f"{where}: unused = {unused!r} must be true or false")
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
        elif strangers := [end for end in item if end not in names]:
            rule = "is not a keypoint of this skeleton."
            faults.extend(f"edge {item!r}: {quote(end)} {rule}{did_you_mean(end, names)}" for end in strangers)
        elif item[0] == item[1]:
            faults.append(f"edge {item!r}: joins a keypoint to itself")
        elif any({*item} == {*edge} for edge in edges):
            faults.append(f"edge {item!r}: is there twice")
        else:
            edges.append((item[0], item[1]))
    return tuple(edges)


def _source(value: Any, faults: _Faults) -> SkeletonSource:
    if not isinstance(value, dict):
        faults.append(f"skeleton: source = {value!r} must be a table")
        return SkeletonSource(**_YOURS)
    faults.keys(value, _SOURCE_KEYS, "source")
    stated = {key: text for key in _SOURCE_KEYS if (text := faults.text(value, key, "source")) is not None}
    return SkeletonSource(**{**_YOURS, **stated})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
