"""Keypoints: scaling, mirroring, their box, and where they lie, for numpy arrays and torch tensors alike.

Shapes: `...` any leading dimensions, K keypoints. Points are [..., K, 2] with x before y, in continuous coordinates
(a picture of width W spans 0 to W); `visible` is [..., K] and counts a point where it is true or above 0, so that
COCO's v = 0 / 1 / 2 can be passed as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from xpose.geometry._arrays import Array, check_last, like, namespace

_TWO = "a point is x and y"


def scale_keypoints(points: Array, width: float, height: float) -> Array:
    """Points [..., K, 2] with x times `width` and y times `height`."""
    check_last(points, 2, "points", _TWO)
    return points * like(points, (width, height))


def flip_keypoints(points: Array, width: float, permutation: Sequence[int]) -> Array:
    """Points [..., K, 2] in the left-right mirrored picture of the given width, under their new names.

    `permutation` comes from the skeleton (`flip_permutation()`): row k of the result is the mirrored point of the
    partner of k, because what was the left eye is the right eye of the mirrored animal.
    """
    check_last(points, 2, "points", _TWO)
    xp = namespace(points)
    mirrored = xp.stack((width - points[..., 0], points[..., 1]), -1)
    return mirrored[..., _checked(permutation, points.shape[-2]), :]


def flip_values(values: Array, permutation: Sequence[int]) -> Array:
    """Visibilities, scores or the like [..., K] under the names that they have in the mirrored picture."""
    return values[..., _checked(permutation, values.shape[-1])]


def box_of_keypoints(points: Array, visible: Array | None = None, margin: float = 0.0) -> Array:
    """The `xyxy` box [..., 4] around the visible points of [..., K, 2], each side `margin` times its size further out.

    Points with NaN do not count either. Where no point counts, the box is NaN.
    """
    check_last(points, 2, "points", _TWO)
    xp = namespace(points)
    counts = xp.isfinite(points).all(-1)
    if visible is not None:
        counts = counts & (visible > 0)
    points = points + like(points, 0.0)  # whole numbers cannot hold infinity
    far, nothing = like(points, float("inf")), like(points, float("nan"))
    some = counts.any(-1)[..., None]
    low = xp.where(some, xp.amin(xp.where(counts[..., None], points, far), -2), nothing)
    high = xp.where(some, xp.amax(xp.where(counts[..., None], points, -far), -2), nothing)
    grow = (high - low) * margin
    return xp.concatenate((low - grow, high + grow), -1)


def points_inside(points: Array, boxes: Array) -> Array:
    """Whether each point of [..., K, 2] lies in its `xyxy` box [..., 4], edges included: [..., K] bool."""
    check_last(points, 2, "points", _TWO)
    check_last(boxes, 4, "boxes", "one box is four numbers")
    low, high = boxes[..., None, :2], boxes[..., None, 2:]
    return namespace(points).all((points >= low) & (points <= high), -1)


def _checked(permutation: Sequence[int], count: int) -> list[int]:
    order = [int(k) for k in permutation]
    if sorted(order) != list(range(count)):
        raise ValueError(
            f"The flip permutation {order} does not fit {count} keypoints; it must name every row from 0 to "
            f"{count - 1} once. Take it from the skeleton: skeleton.flip_permutation()."
        )
    return order
