"""Validation, indexing and concatenation of `Poses`.

Errors here are the caller's mistakes, so plain ValueErrors and IndexErrors are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import quote

if TYPE_CHECKING:
    from xpose.results.poses import Poses

Shape = tuple[str | int, ...]
Kind = tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]  # names, canonical names, edges

# Field -> its shape (N poses, K keypoints), which values are valid, and the rule in words.
_RULES: dict[str, tuple[Shape, Callable[[np.ndarray], np.ndarray], str]] = {
    "scores": (("N",), lambda values: (values >= 0) & (values <= 1), "lie in 0..1"),
    "boxes": (("N", 4), np.isfinite, "be finite"),
    "xy": (("N", "K", 2), lambda values: ~np.isinf(values), "be finite, or NaN where a keypoint has no place"),
    "keypoint_scores": (("N", "K"), lambda values: ~((values < 0) | (values > 1)), "lie in 0..1, or be NaN"),
    "visibility": (("N", "K"), lambda values: np.isin(values, (0, 1, 2)), "be 0 (absent), 1 (covered) or 2 (visible)"),
    "keypoint_errors": (("N", "K"), lambda values: ~((values < 0) | np.isinf(values)), "be distances, or NaN"),
}


def checked(poses: Poses) -> dict[str, Any]:
    """The fields of a `Poses` in their final types; ValueError if they are inconsistent."""
    arrays = _arrays(poses)
    number, width = arrays["xy"].shape[:2]
    inverted = np.flatnonzero((arrays["boxes"][:, 2:] < arrays["boxes"][:, :2]).any(1))
    if len(inverted):
        box = arrays["boxes"][inverted[0]].tolist()
        raise ValueError(f"Box {inverted[0]} is {box}. A box is x1, y1, x2, y2. Use xpose.geometry.xywh_to_xyxy.")
    keypoint_names = _for_each_pose("keypoint_names", poses.keypoint_names, number)
    canonical_names = _for_each_pose("canonical_names", poses.canonical_names or keypoint_names, number)
    edges = _for_each_pose("edges", poses.edges or ((),) * number, number)
    kinds: dict[tuple[int, int, int], Kind] = {}  # poses of one class share their tuples, which are checked once
    which = []
    for row, names in enumerate(zip(keypoint_names, canonical_names, edges, strict=True)):
        key = (id(names[0]), id(names[1]), id(names[2]))
        if key not in kinds:
            kinds[key] = _kind(row, *names)
        which.append(kinds[key])
    categories = _for_each_pose("categories", poses.categories, number)
    if not all(isinstance(name, str) for name in categories):
        raise ValueError(f"categories is {categories[:5]}. It must hold one text for each pose. Convert them.")
    arrays["tentative"] = _tentative(poses.tentative, number)
    arrays["track_ids"] = _track_ids(poses.track_ids, number)
    _check_padding(arrays, np.array([len(names) for names, *_ in which], dtype=int), width)
    return {
        **arrays,
        "categories": tuple(map(str, categories)),
        "keypoint_names": tuple(names for names, _, _ in which),
        "canonical_names": tuple(canonical for _, canonical, _ in which),
        "edges": tuple(pairs for *_, pairs in which),
        "image_size": _size(poses.image_size),
        "source": None if poses.source is None else str(poses.source),
        "exif_applied": bool(poses.exif_applied),
    }


def _tentative(value: Any, number: int) -> np.ndarray:
    tentative = np.zeros(number, bool) if value is None else np.array(value)
    if tentative.shape != (number,) or not (tentative.dtype == bool or number == 0):
        raise ValueError(f"tentative is {value!r}. It must be a bool for each of the {number} poses. Convert it.")
    return tentative.astype(bool)


def _track_ids(value: Any, number: int) -> np.ndarray | None:
    if value is None:
        return None
    ids = np.array(value)
    whole = number == 0 or np.issubdtype(ids.dtype, np.integer)
    if ids.shape != (number,) or not whole:
        raise ValueError(
            f"track_ids is {value!r}. It must be a whole number for each of the {number} poses. Convert it."
        )
    return ids.astype(np.int64)


def rows_of(key: object, number: int) -> np.ndarray:
    """The rows that an index selects, or a single row [] for a number; IndexError if it is not valid."""
    if isinstance(key, slice):
        return np.arange(number)[key]
    try:
        index = np.asarray(key)
        if index.ndim > 1 or (index.ndim == 0 and index.dtype == bool):
            raise IndexError("an index has one dimension")
        return np.asarray(np.arange(number)[index.astype(np.int64) if index.size == 0 else index])
    except (IndexError, ValueError) as error:
        raise IndexError(
            f"A {type(key).__name__} cannot index these {number} poses: {error}. Use a number, a slice, a mask, an "
            "array of numbers, or the name of a category."
        ) from None


def joined(parts: Sequence[Poses]) -> dict[str, Any]:
    """The joined fields of several results, best first; ValueError for no results or different pictures."""
    if not parts:
        raise ValueError("No result to concatenate. At least one is needed. For no poses at all use Poses.empty(size).")
    size, upright = parts[0].image_size, parts[0].exif_applied
    for part in parts:
        if part.image_size != size or part.exif_applied != upright:
            raise ValueError(
                f"Pictures of (height, width) {size} and {part.image_size}, or one turned by its EXIF and one not. "
                "Only results on one picture can be concatenated. Keep those of several in a list."
            )
    order = np.argsort(-np.concatenate([part.scores for part in parts]), kind="stable")
    widest = max(part.xy.shape[1] for part in parts)

    def padded(array: np.ndarray | None, part: Poses) -> np.ndarray:
        array = np.zeros((len(part), 0), np.float32) if array is None else array  # unknown errors are NaN
        room = [(0, 0), (0, widest - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
        return np.pad(array, room, constant_values=0 if array.dtype == np.uint8 else np.nan)

    arrays = ["xy", "keypoint_scores", "visibility"]
    arrays += ["keypoint_errors"] if any(part.keypoint_errors is not None for part in parts) else []
    fields: dict[str, Any] = {
        name: np.concatenate([padded(getattr(part, name), part) for part in parts])[order] for name in arrays
    }
    tracked = all(part.track_ids is not None for part in parts)
    for name in ("boxes", "scores", "tentative", *["track_ids"] * tracked):
        fields[name] = np.concatenate([getattr(part, name) for part in parts])[order]
    for name in ("categories", "keypoint_names", "canonical_names", "edges"):
        values = [value for part in parts for value in getattr(part, name)]
        fields[name] = tuple(values[row] for row in order)
    sources = {part.source for part in parts}
    return {
        **fields,
        "image_size": size,
        "source": sources.pop() if len(sources) == 1 else None,
        "exif_applied": upright,
    }


def _arrays(poses: Poses) -> dict[str, Any]:
    """Private copies of the arrays, checked by `_RULES`; the first fields determine N and K."""
    sizes: dict[str | int, int] = {}
    arrays: dict[str, np.ndarray | None] = {"keypoint_errors": None}
    for name, (shape, is_valid, rule) in _RULES.items():
        value = getattr(poses, name)
        if value is None and name in arrays:
            continue
        try:
            with np.errstate(over="ignore"):  # too large numbers become infinite, which the rules refuse
                array = np.array(value, dtype=np.float32)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} is a {type(value).__name__}. It must be an array of numbers. Convert it."
            ) from None
        if array.ndim == len(shape):
            sizes = {**dict(zip(shape, array.shape, strict=True)), **sizes}
        expected = tuple(sizes.get(side, side) if isinstance(side, str) else side for side in shape)
        if array.shape != expected:
            raise ValueError(
                f"{name} has shape {array.shape}. With these scores and names it must be {expected}. Reshape it."
            )
        valid = is_valid(array)
        if not valid.all():
            raise ValueError(f"{name} holds {array[~valid][0]:g}. Its values must {rule}. Convert them first.")
        arrays[name] = array.astype(np.uint8) if name == "visibility" else array
    return arrays


def _check_padding(arrays: dict[str, Any], lengths: np.ndarray, width: int) -> None:
    """Check the padding after each pose's names, set its scores to NaN, and make the arrays read-only."""
    if width < lengths.max(initial=0):
        raise ValueError(f"xy has room for {width} keypoints, and a pose has {lengths.max()} names. Pad it. Use NaN.")
    padding = np.arange(width) >= lengths[:, None]
    if not np.isnan(arrays["xy"][padding]).all():
        raise ValueError("xy has values beyond a pose's own names. The rest is padding. Put NaN there.")
    if (np.isnan(arrays["xy"]).any(-1) & (arrays["visibility"] > 0)).any():
        raise ValueError("A point with NaN coordinates has visibility above 0. It has no place. Set it to 0.")
    for name in ("keypoint_scores", "keypoint_errors"):
        if arrays[name] is not None:
            arrays[name][padding] = np.nan
    for array in arrays.values():
        if array is not None:
            array.flags.writeable = False


def _for_each_pose(name: str, value: Any, number: int) -> tuple[Any, ...]:
    values = (value,) if isinstance(value, str) else tuple(value)
    if len(values) != number:
        raise ValueError(f"{name} has {len(values)} entries for {number} poses. It needs one for each. Add them.")
    return values


def _kind(row: int, names: Iterable[str], canonical: Iterable[str], edges: Iterable[Sequence[str]]) -> Kind:
    """The names, canonical names and edges of a pose."""
    texts = isinstance(names, str) or isinstance(canonical, str)
    names, canonical, pairs = tuple(names), tuple(canonical), tuple(map(tuple, edges))
    if texts or not all(isinstance(name, str) for name in (*names, *canonical)):
        raise ValueError(f"Pose {row} has the keypoint names {names}. They must be a list of texts. Convert them.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"Pose {row} has the keypoint {quote(twice)} twice. Each may appear once. Rename one.")
    if len(canonical) != len(names):
        raise ValueError(
            f"Pose {row} has {len(names)} keypoint_names and {len(canonical)} canonical_names. Each needs one. Add it."
        )
    for pair in pairs:
        if len(pair) != 2 or not set(names).issuperset(pair):
            raise ValueError(
                f"Pose {row} has the edge {pair!r}. An edge joins two of the pose's own keypoints. Use keypoint_names."
            )
    return tuple(map(str, names)), tuple(map(str, canonical)), tuple((start, end) for start, end in pairs)


def _size(value: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ValueError(f"image_size is {value!r}. It must be (height, width) in whole pixels. Take image.shape[:2].")
    return height, width
