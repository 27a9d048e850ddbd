"""What makes a `Poses` valid, how it is indexed, and how several are joined.

Faults here are mistakes of the calling program, so they are plain ValueErrors and IndexErrors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import quote

if TYPE_CHECKING:
    from xpose.results.poses import Poses


def checked(poses: Poses) -> dict[str, Any]:
    """The fields of a `Poses` in their final types.

    Raises:
        ValueError: something does not fit together.
    """
    scores = _share("scores", _finite("scores", _array("scores", poses.scores, 1)))
    number = len(scores)
    boxes = _finite("boxes", _shape("boxes", _array("boxes", poses.boxes, 2), (number, 4)))
    inverted = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(1))
    if len(inverted):
        raise ValueError(
            f"Box {inverted[0]} is {boxes[inverted[0]].tolist()}. A box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2. "
            "Convert it first, e.g. with xpose.geometry.xywh_to_xyxy."
        )
    keypoint_names = _tuples("keypoint_names", poses.keypoint_names, number)
    canonical_names = _tuples("canonical_names", poses.canonical_names or keypoint_names, number)
    for row, (names, canonical) in enumerate(zip(keypoint_names, canonical_names, strict=True)):
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"Pose {row} has the keypoint {quote(twice)} twice. Each may appear once. Rename one.")
        if len(canonical) != len(names):
            raise ValueError(
                f"Pose {row} has {len(names)} keypoint_names and {len(canonical)} canonical_names. There is one for "
                "each keypoint. Repeat the name if the vocabulary has none."
            )
    arrays = {"boxes": boxes, "scores": scores, **_points(poses, keypoint_names)}
    for array in arrays.values():
        if array is not None:
            array.flags.writeable = False
    return {
        **arrays,
        "categories": _names("categories", poses.categories, number, "pose"),
        "keypoint_names": keypoint_names,
        "canonical_names": canonical_names,
        "edges": _edges(poses.edges or ((),) * number, keypoint_names),
        "image_size": _size(poses.image_size),
        "source": None if poses.source is None else str(poses.source),
        "exif_applied": bool(poses.exif_applied),
    }


def rows_of(key: object, number: int) -> np.ndarray:
    """The rows that an index selects.

    Raises:
        IndexError: a number is out of range, a mask has another length, or it is not an index.
    """
    if isinstance(key, slice):
        return np.arange(number)[key]
    try:
        index = np.asarray(key)
    except ValueError:  # lists of different lengths
        index = np.zeros((0, 0))
    integers = np.issubdtype(index.dtype, np.integer)
    if index.ndim == 0 and integers:
        index = index[None]
    if index.ndim == 1 and index.dtype == bool:
        if len(index) == number:
            return index.nonzero()[0]
        raise IndexError(f"The mask has {len(index)} entries for {number} poses. It needs one for each. Recompute it.")
    if index.ndim != 1 or not (integers or index.size == 0):
        raise IndexError(
            f"A {type(key).__name__} cannot index poses. Use a number, a slice, a mask, an array of numbers, or the "
            "name of a category."
        )
    index = index.astype(np.int64)
    outside = index[(index < -number) | (index >= number)]
    if len(outside):
        raise IndexError(
            f"There is no pose {outside[0]}. There are {number}, counted from 0. Look at len(poses) first."
        )
    return index % max(number, 1)


def joined(parts: Sequence[Poses]) -> dict[str, Any]:
    """The fields of the poses of several results, best first.

    Raises:
        ValueError: no result, or different pictures.
    """
    if not parts:
        raise ValueError("No result to concatenate. At least one is needed. For no poses at all use Poses.empty(size).")
    for part in parts:
        if part.image_size != parts[0].image_size or part.exif_applied != parts[0].exif_applied:
            raise ValueError(
                f"Pictures of (height, width) {parts[0].image_size} and {part.image_size}, or one turned by its EXIF "
                "and one not. Only results on one picture can be concatenated. Keep those of several in a list."
            )
    widest = max(part.xy.shape[1] for part in parts)
    order = np.argsort(-np.concatenate([part.scores for part in parts]), kind="stable")

    def arrays(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in parts]
        if all(value is None for value in values):
            return None
        unknown = [np.zeros((len(part), 0), np.float32) for part in parts]  # padded with NaN
        return np.concatenate(
            [_padded(none if value is None else value, widest) for value, none in zip(values, unknown, strict=True)]
        )[order]

    def tuples(name: str) -> tuple[Any, ...]:
        values = [value for part in parts for value in getattr(part, name)]
        return tuple(values[row] for row in order)

    sources = {part.source for part in parts}
    return {
        "boxes": np.concatenate([part.boxes for part in parts])[order],
        "scores": np.concatenate([part.scores for part in parts])[order],
        **{name: arrays(name) for name in ("xy", "keypoint_scores", "visibility", "keypoint_errors")},
        **{name: tuples(name) for name in ("categories", "keypoint_names", "canonical_names", "edges")},
        "image_size": parts[0].image_size,
        "source": sources.pop() if len(sources) == 1 else None,
        "exif_applied": parts[0].exif_applied,
    }


def _padded(array: np.ndarray, widest: int) -> np.ndarray:
    room = [(0, 0), (0, widest - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, room, constant_values=0 if array.dtype == np.uint8 else np.nan)


def _points(poses: Poses, names: Sequence[Sequence[str]]) -> dict[str, np.ndarray | None]:
    """xy, keypoint_scores, visibility and keypoint_errors, checked against the names."""
    lengths = np.array([len(points) for points in names], dtype=int)
    xy = _array("xy", poses.xy, 3)
    if xy.shape[1] < lengths.max(initial=0):
        raise ValueError(
            f"xy has room for {xy.shape[1]} keypoints, and a pose has {lengths.max()} names. There is one place for "
            "each name. Pad the shorter poses with NaN."
        )
    shape = (len(names), xy.shape[1])
    _shape("xy", xy, (*shape, 2))
    scores = _shape("keypoint_scores", _array("keypoint_scores", poses.keypoint_scores, 2), shape)
    _share("keypoint_scores", scores)
    visibility = np.asarray(poses.visibility)
    if visibility.ndim != 2 or not np.isin(visibility, (0, 1, 2)).all():
        raise ValueError(
            f"visibility has shape {visibility.shape} and values {np.unique(visibility)[:5].tolist()}. It is [N, K] of "
            "0 (not there), 1 (covered) and 2 (visible). Convert it first."
        )
    visibility = _shape("visibility", visibility.astype(np.uint8), shape)
    padding = np.arange(xy.shape[1]) >= lengths[:, None]
    if np.isinf(xy).any() or not np.isnan(xy[padding]).all() or visibility[padding].any():
        raise ValueError(
            "xy is infinite somewhere, or has values beyond a pose's own names. Numbers are finite, and the rest is "
            "padding. Put NaN there, and 0 into visibility."
        )
    if (np.isnan(xy).any(-1) & (visibility > 0)).any():
        raise ValueError(
            "A point with NaN coordinates has visibility above 0. A point that is there has a place. Set it to 0."
        )
    scores[padding] = np.nan
    errors = None
    if poses.keypoint_errors is not None:
        errors = _shape("keypoint_errors", _array("keypoint_errors", poses.keypoint_errors, 2), shape)
        if (errors < 0).any() or np.isinf(errors).any():
            raise ValueError(
                "keypoint_errors is negative or infinite somewhere. It holds distances in pixels. Use NaN for "
                "unknown distances."
            )
        errors[padding] = np.nan
    return {"xy": xy, "keypoint_scores": scores, "visibility": visibility, "keypoint_errors": errors}


def _array(what: str, value: Any, ndim: int) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float32)  # a copy that nothing else can change
    except (TypeError, ValueError):
        raise ValueError(f"{what} is a {type(value).__name__}. It must be an array of numbers. Convert it.") from None
    if array.ndim != ndim:
        raise ValueError(f"{what} has shape {array.shape}. It must have {ndim} dimensions. Reshape it.")
    return array


def _shape(what: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(
            f"{what} has shape {array.shape}. With these scores and names it must be {shape}. Give one row per pose."
        )
    return array


def _finite(what: str, array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds NaN or infinity. Every pose has real numbers here. Leave such poses out.")
    return array


def _share(what: str, array: np.ndarray) -> np.ndarray:
    outside = array[(array < 0) | (array > 1)]
    if len(outside):
        raise ValueError(f"{what} holds {outside.flat[0]:g}. It must lie in 0..1. Apply a sigmoid or rescale it.")
    return array


def _names(what: str, value: Any, number: int, whose: str) -> tuple[str, ...]:
    names = tuple(value)
    if isinstance(value, str) or len(names) != number or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} has {len(names)} entries for {number}. It needs one text for each {whose}. Add them.")
    return tuple(str(name) for name in names)


def _tuples(what: str, value: Any, number: int) -> tuple[tuple[str, ...], ...]:
    value = (value,) if isinstance(value, str) else tuple(value)
    if len(value) != number:
        raise ValueError(f"{what} has {len(value)} entries for {number} poses. It needs one for each. Add them.")
    done: dict[int, tuple[str, ...]] = {}  # poses of one class share their tuple, which is checked once
    for row, names in enumerate(value):
        if id(names) not in done:
            done[id(names)] = _names(f"{what}[{row}]", names, len(names), "keypoint")
    return tuple(done[id(names)] for names in value)


def _edges(value: Any, names: Sequence[tuple[str, ...]]) -> tuple[tuple[tuple[str, str], ...], ...]:
    if len(value) != len(names):
        raise ValueError(f"edges has {len(value)} entries for {len(names)} poses. It needs one for each. Add them.")
    done: dict[tuple[int, int], tuple[tuple[str, str], ...]] = {}  # poses of one class are checked once
    for row, (pairs, points) in enumerate(zip(value, names, strict=True)):
        if (id(pairs), id(points)) in done:
            continue
        ends = set(points)
        for pair in pairs:
            if len(pair) != 2 or not ends.issuperset(pair):
                raise ValueError(
                    f"Pose {row} has the edge {tuple(pair)!r}. An edge joins two of the pose's own keypoints, by name. "
                    "Take the names of keypoint_names."
                )
        done[id(pairs), id(points)] = tuple((start, end) for start, end in pairs)
    return tuple(done[id(pairs), id(points)] for pairs, points in zip(value, names, strict=True))


def _size(value: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ValueError(
            f"image_size is {value!r}. It must be (height, width) in whole pixels, at least 1. Take image.shape[:2]."
        )
    return height, width
