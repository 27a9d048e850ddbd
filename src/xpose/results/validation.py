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
    scores = _share("scores", _known("scores", _array("scores", poses.scores, 1)))
    number = len(scores)
    boxes = _known("boxes", _shape("boxes", _array("boxes", poses.boxes, 2), (number, 4)))
    if (boxes[:, 2:] < boxes[:, :2]).any():
        row = int((boxes[:, 2:] < boxes[:, :2]).any(1).argmax())
        raise ValueError(
            f"Box {row} is {boxes[row].tolist()}. A box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2. "
            "Convert it first, e.g. with xpose.geometry.xywh_to_xyxy."
        )
    categories = _names("categories", poses.categories, number, "pose")
    keypoint_names = _tuples("keypoint_names", poses.keypoint_names, number)
    canonical_names = _tuples("canonical_names", poses.canonical_names or keypoint_names, number)
    _each_once(keypoint_names, canonical_names)
    arrays = _points(poses, keypoint_names)
    return {
        "boxes": _frozen(boxes),
        "scores": _frozen(scores),
        "categories": categories,
        **{name: None if array is None else _frozen(array) for name, array in arrays.items()},
        "keypoint_names": keypoint_names,
        "canonical_names": canonical_names,
        "edges": _edges(poses.edges or ((),) * number, keypoint_names),
        "image_size": _size(poses.image_size),
        "source": None if poses.source is None else str(poses.source),
        "exif_applied": bool(poses.exif_applied),
    }


def rows(key: Any, number: int) -> np.ndarray:
    """The rows that an index means.

    Raises:
        IndexError: a number is out of range, a mask has another length, or it is not an index.
    """
    if isinstance(key, slice):
        return np.arange(number)[key]
    try:
        asked = np.asarray(key)
    except ValueError:  # lists of different lengths
        asked = np.zeros((0, 0))
    if asked.ndim == 0 and np.issubdtype(asked.dtype, np.integer):
        asked = asked[None]
    if asked.ndim == 1 and asked.dtype == bool:
        if len(asked) == number:
            return asked.nonzero()[0]
        raise IndexError(f"The mask has {len(asked)} entries for {number} poses. It needs one for each. Recompute it.")
    if asked.ndim == 1 and (asked.size == 0 or np.issubdtype(asked.dtype, np.integer)):
        asked = asked.astype(np.int64)
        outside = asked[(asked < -number) | (asked >= number)]
        if len(outside):
            raise IndexError(
                f"There is no pose {outside[0]}. There are {number}, counted from 0. Look at len(poses) first."
            )
        return asked % max(number, 1)
    raise IndexError(
        f"A {type(key).__name__} cannot index poses. Use a number, a slice, a mask, an array of numbers, or the name "
        "of a category."
    )


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
        empty = [np.zeros((len(part), 0), np.float32) for part in parts]  # filled up with NaN
        filled = [none if value is None else value for value, none in zip(values, empty, strict=True)]
        return np.concatenate([_padded(value, widest) for value in filled])[order]

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
    number, widest = len(names), max((len(points) for points in names), default=0)
    xy = _array("xy", poses.xy, 3)
    if xy.shape[1] < widest:
        raise ValueError(
            f"xy has room for {xy.shape[1]} keypoints, and a pose has {widest} names. There is one place for each "
            "name. Pad the shorter poses with NaN."
        )
    _shape("xy", xy, (number, xy.shape[1], 2))
    scores = _shape("keypoint_scores", _array("keypoint_scores", poses.keypoint_scores, 2), xy.shape[:2])
    _share("keypoint_scores", scores)
    visibility = np.asarray(poses.visibility)
    if visibility.ndim != 2 or not np.isin(visibility, (0, 1, 2)).all():
        raise ValueError(
            f"visibility has shape {visibility.shape} and values {np.unique(visibility)[:5].tolist()}. It is [N, K] of "
            "0 (not there), 1 (covered) and 2 (visible). Convert it first."
        )
    visibility = visibility.astype(np.uint8)
    _shape("visibility", visibility, xy.shape[:2])
    beyond = np.arange(xy.shape[1]) >= np.array([len(points) for points in names], dtype=int)[:, None]
    if np.isinf(xy).any() or not np.isnan(xy[beyond]).all() or visibility[beyond].any():
        raise ValueError(
            "xy is infinite somewhere, or has values beyond a pose's own names. Numbers are finite, and what lies "
            "beyond is padding. Put NaN there, and 0 into visibility."
        )
    if (np.isnan(xy).any(-1) & (visibility > 0)).any():
        raise ValueError(
            "A point with NaN coordinates has visibility above 0. A point that is there has a place. Set it to 0."
        )
    scores[beyond] = np.nan
    errors = None
    if poses.keypoint_errors is not None:
        errors = _shape("keypoint_errors", _array("keypoint_errors", poses.keypoint_errors, 2), xy.shape[:2])
        if (errors < 0).any() or np.isinf(errors).any():
            raise ValueError(
                "keypoint_errors is negative or infinite somewhere. It holds distances in pixels. Put NaN where the "
                "distance is unknown."
            )
        errors[beyond] = np.nan
    return {"xy": xy, "keypoint_scores": scores, "visibility": visibility, "keypoint_errors": errors}


def _array(what: str, value: Any, ndim: int) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float32)  # a copy: nobody else can change it
    except (TypeError, ValueError):
        raise ValueError(f"{what} is a {type(value).__name__}. It must be an array of numbers. Convert it.") from None
    if array.ndim != ndim:
        raise ValueError(f"{what} has shape {array.shape}. It must have {ndim} dimensions. Reshape it.")
    return array


def _shape(what: str, array: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    if array.shape != wanted:
        raise ValueError(
            f"{what} has shape {array.shape}. With these scores and names it must be {wanted}. Give one row per pose."
        )
    return array


def _known(what: str, array: np.ndarray) -> np.ndarray:
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


def _each_once(keypoint_names: Sequence[tuple[str, ...]], canonical_names: Sequence[tuple[str, ...]]) -> None:
    for row, (names, canonical) in enumerate(zip(keypoint_names, canonical_names, strict=True)):
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"Pose {row} has the keypoint {quote(twice)} twice. Each may appear once. Rename one.")
        if len(canonical) != len(names):
            raise ValueError(
                f"Pose {row} has {len(names)} keypoint_names and {len(canonical)} canonical_names. There is one for "
                "each keypoint. Repeat the name where the vocabulary has none."
            )


def _edges(value: Any, names: Sequence[tuple[str, ...]]) -> tuple[tuple[tuple[str, str], ...], ...]:
    if len(value) != len(names):
        raise ValueError(f"edges has {len(value)} entries for {len(names)} poses. It needs one for each. Add them.")
    done: dict[tuple[int, int], tuple[tuple[str, str], ...]] = {}
    keys = [(id(pairs), id(own)) for pairs, own in zip(value, names, strict=True)]
    for row, (key, pairs, own) in enumerate(zip(keys, value, names, strict=True)):
        if key in done:
            continue
        known = set(own)
        for pair in pairs:
            if len(pair) != 2 or not known.issuperset(pair):
                raise ValueError(
                    f"Pose {row} has the edge {tuple(pair)!r}. An edge joins two of the pose's own keypoints, by name. "
                    "Take the names of keypoint_names."
                )
        done[key] = tuple((start, end) for start, end in pairs)
    return tuple(done[key] for key in keys)


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


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
