"""Writes and reads our own JSON, which keeps everything except the coordinates of absent keypoints."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from xpose.errors import DataError, quote
from xpose.pictures import AS_STORED, UPRIGHT

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

Result = TypeVar("Result")
Kind = tuple[str, tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]

FORMAT = "xpose poses"
VERSION = 1
ERRORS = "the expected distance of each keypoint from its true place, in pixels"
_WAY_OUT = "Give what Poses.to_dict() or to_json() wrote."


def number(value: float) -> float:
    """Round a coordinate to 0.01 pixels, as a plain float and never minus zero."""
    return round(float(value), 2) + 0.0


def score(value: float, digits: int = 4) -> float | None:
    """Round a score, or with 2 digits an expected error in pixels; None if unknown."""
    return None if math.isnan(value) else round(float(value), digits) + 0.0


def printable(text: str) -> str:
    """The text with blanks for characters that XML cannot hold."""
    return "".join(char if char.isprintable() else " " for char in text)


def json_text(values: object, indent: int | None = None) -> str:
    """Strict JSON in ASCII."""
    return json.dumps(values, allow_nan=False, indent=indent)


def to_dict(poses: Poses) -> dict[str, Any]:
    """See `Poses.to_dict`. Names and edges of each kind of object are listed once, under `classes`."""
    kinds: dict[Kind, int] = {}
    keys = zip(poses.categories, poses.keypoint_names, poses.canonical_names, poses.edges, strict=True)
    which = [kinds.setdefault(key, len(kinds)) for key in keys]
    return {
        "format": FORMAT,
        "version": VERSION,
        "image": {"path": poses.source, "height": poses.image_size[0], "width": poses.image_size[1]},
        "coordinates": UPRIGHT if poses.exif_applied else AS_STORED,
        **({} if poses.keypoint_errors is None else {"keypoint_errors": ERRORS}),
        "classes": [
            {
                "category": category,
                "keypoints": list(names),
                "canonical_names": list(canonical),
                "edges": [list(edge) for edge in edges],
            }
            for category, names, canonical, edges in kinds
        ],
        "poses": [
            {
                "category": pose.category,
                "class": which[row],
                "score": score(pose.score),
                "box": [number(value) for value in pose.box],
                "keypoints": _points(pose),
                **({"tentative": True} if pose.tentative else {}),
                **({} if pose.track_id is None else {"track_id": pose.track_id}),
            }
            for row, pose in enumerate(poses)
        ],
    }


def encode(results: Sequence[Poses]) -> list[dict[str, Any]]:
    """`to_dict` of each picture."""
    return [to_dict(poses) for poses in results]


def decode(data: bytes, make: Callable[..., Poses]) -> list[Poses]:
    """The results in a file: those of one picture, or those of all that `xpose detect --json` prints."""
    content = json.loads(data)
    if isinstance(content, dict) and isinstance(content.get("pictures"), list):
        return [from_dict(item, make) for item in content["pictures"]]
    return [from_dict(content, make)]


def _points(pose: Pose) -> dict[str, dict[str, Any]]:
    points: dict[str, dict[str, Any]] = {}
    for row, (name, point) in enumerate(pose.points.items()):
        x, y = (number(point.x), number(point.y)) if point.v else (None, None)
        points[name] = {"x": x, "y": y, "score": score(point.score), "v": point.v}
        if pose.keypoint_errors is not None:
            points[name]["error"] = score(pose.keypoint_errors[row], 2)
    return points


def from_json(text: str | bytes, make: Callable[..., Result]) -> Result:
    """See `Poses.from_json`; `make` is `Poses`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError, TypeError) as error:
        raise DataError(f"The text is not JSON ({str(error)[:100]}). {_WAY_OUT}") from None
    return from_dict(values, make)


def from_dict(values: object, make: Callable[..., Result]) -> Result:
    """See `Poses.from_dict`; `make` is `Poses`."""
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        other = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise DataError(f"The format is {quote(other)}. It must be {quote(FORMAT)}. {_WAY_OUT}")
    if values.get("version") != VERSION:
        raise DataError(
            f"The version is {quote(values.get('version'))}. This xpose reads version {VERSION}. Update xpose."
        )
    try:
        return make(**_fields(values))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"The poses are not complete or do not fit together: {what[:300]}. {_WAY_OUT}") from None


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    poses = values["poses"]
    kinds = [values["classes"][pose["class"]] for pose in poses]
    names = tuple(tuple(kind["keypoints"]) for kind in kinds)
    widest = max((len(points) for points in names), default=0)
    xy = np.full((len(poses), widest, 2), np.nan)
    scores = np.full((len(poses), widest), np.nan)
    errors = np.full((len(poses), widest), np.nan)
    visibility = np.zeros((len(poses), widest))
    for row, (pose, points) in enumerate(zip(poses, names, strict=True)):
        for column, name in enumerate(points):
            point = pose["keypoints"][name]
            visibility[row, column] = point["v"]
            if point["x"] is not None:
                xy[row, column] = point["x"], point["y"]
            if point["score"] is not None:
                scores[row, column] = point["score"]
            if point.get("error") is not None:
                errors[row, column] = point["error"]
    image = values["image"]
    return {
        "boxes": np.array([pose["box"] for pose in poses], dtype=float).reshape(-1, 4),
        "scores": [pose["score"] for pose in poses],
        "categories": tuple(pose["category"] for pose in poses),
        "xy": xy,
        "keypoint_scores": scores,
        "visibility": visibility,
        "keypoint_errors": errors if "keypoint_errors" in values else None,
        "tentative": np.array([pose.get("tentative", False) for pose in poses], dtype=bool),
        "track_ids": [pose["track_id"] for pose in poses] if any("track_id" in pose for pose in poses) else None,
        "keypoint_names": names,
        "canonical_names": tuple(tuple(kind["canonical_names"]) for kind in kinds),
        "edges": tuple(tuple((start, end) for start, end in kind["edges"]) for kind in kinds),
        "image_size": (image["height"], image["width"]),
        "source": image["path"],
        "exif_applied": values["coordinates"] == UPRIGHT,
    }
