"""The pixels of a pool's pictures, from memory or files, and the affine map applied to a picture and its labels.

A matrix [2, 3] maps continuous coordinates of the stored picture to the frame (the picture used in training). It
combines flip, resize, crop and rotation, so that pixels are interpolated only once.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xpose.data.loading.pool import Pool, content_of
from xpose.data.loading.samples import Labels
from xpose.pictures.decoding import decode, decode_jpeg, encode_jpeg, opencv

Form = Literal["pixels", "jpeg"]
_QUALITY = 92  # of the copies kept as JPEG
FILL = (124, 116, 104)  # ImageNet's mean colour, which is zero for the network, like padding
Size = tuple[int, int]  # width, height


class _Copy(NamedTuple):
    content: np.ndarray  # [h, w, 3] RGB bytes, or the bytes of a JPEG file
    factors: tuple[float, float]  # from continuous x and y of the stored picture to those of the copy


class Pictures:
    """The pixels of a pool's pictures by number, from copies in memory or else from files."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._copies: dict[int, _Copy] = {}

    def read(self, number: int, scale: float = 1.0) -> tuple[np.ndarray, tuple[float, float]]:
        """RGB bytes of a picture that will be shown at `scale` or smaller; the result can be smaller than stored.

        Multiply continuous x and y of the stored picture by the two factors to get those of the result.
        """
        if number in self._copies:
            content, factors = self._copies[number]
            return content if content.ndim == 3 else decode_jpeg(content), factors
        path = self.pool.path(number)
        pixels, by = decode(content_of(Path(path)), path, self.pool.size(number), scale)
        return pixels, (1 / by, 1 / by)

    def warped(self, number: int, matrix: np.ndarray, frame: Size) -> np.ndarray:
        """RGB bytes of a frame; the matrix maps the stored picture to it."""
        pixels, factors = self.read(number, scale_of(matrix))
        return warp(pixels, compose(matrix, np.diag([1 / factors[0], 1 / factors[1], 1.0])[:2]), frame)

    def keep(self, side: int, megabytes: float, *, form: Form = "pixels", threads: int = 2) -> int:
        """Keep copies with a longest side of `side` in memory, up to `megabytes`; returns their number.

        Call this before starting workers, so that they share the memory. The labels do not change: copies only have
        fewer pixels.
        """
        limit, used = int(megabytes * 1e6), 0
        copies: dict[int, _Copy] = {}
        with ThreadPoolExecutor(threads) as executor:
            for first in range(0, len(self.pool), 256):
                portion = range(first, min(first + 256, len(self.pool)))
                made = executor.map(lambda number: self._small(number, side, form), portion)
                for number, copy in zip(portion, made, strict=True):
                    if used + copy.content.size <= limit:
                        copies[number] = copy
                        used += copy.content.size
                if used > limit * 0.99:
                    break
        self._copies = copies
        return len(copies)

    def _small(self, number: int, side: int, form: Form) -> _Copy:
        cv2 = opencv()
        width, height = self.pool.size(number)
        scale = min(1.0, side / max(width, height))
        pixels, (fx, fy) = self.read(number, scale)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if (pixels.shape[1], pixels.shape[0]) != size:
            fx, fy = fx * size[0] / pixels.shape[1], fy * size[1] / pixels.shape[0]
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        return _Copy(np.ascontiguousarray(pixels) if form == "pixels" else encode_jpeg(pixels, _QUALITY), (fx, fy))


def similarity(
    scale: float, degrees: float, mirror: bool, source: tuple[float, float], target: tuple[float, float]
) -> np.ndarray:
    """The map that mirrors, rotates and scales, and moves the point `source` to `target`."""
    angle = math.radians(degrees)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if mirror:
        turn[:, 0] = -turn[:, 0]
    return np.column_stack((turn, np.array(target) - turn @ np.array(source)))


def letterbox(size: Size, frame: Size) -> np.ndarray:
    """The map that fits the whole, upright picture into the frame, centred."""
    scale = min(frame[0] / size[0], frame[1] / size[1])
    return similarity(scale, 0.0, False, (size[0] / 2, size[1] / 2), (frame[0] / 2, frame[1] / 2))


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map that applies `first`, then `second`."""
    return np.column_stack((second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]))


def scale_of(matrix: np.ndarray) -> float:
    """How many pixels of the frame one pixel of the source covers along a side."""
    return float(math.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def warp(pixels: np.ndarray, matrix: np.ndarray, frame: Size) -> np.ndarray:
    """The pixels in the frame. For a strong reduction, areas are averaged first, to avoid aliasing."""
    cv2 = opencv()
    height, width = pixels.shape[:2]
    scale = scale_of(matrix)
    size = max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))
    if size[0] < 0.8 * width and size[1] < 0.8 * height:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / size[0], height / size[1], 1.0])
    # OpenCV's coordinates are pixel indices: half a pixel less than ours.
    indices = matrix.astype(np.float64)
    indices[:, 2] += indices[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(
        cv2.warpAffine(pixels, indices, frame, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=FILL)
    )


def move_points(points: np.ndarray, matrix: np.ndarray, frame: Size) -> np.ndarray:
    """Points [..., 3] in the frame; those outside are no longer labelled."""
    places = points[..., :2] @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)
    inside = ((places >= 0) & (places < np.array(frame))).all(-1) & (points[..., 2] > 0)
    moved = np.concatenate((places, points[..., 2:]), -1)
    return np.where(inside[..., None], moved, 0).astype(np.float32)


def move_boxes(boxes: np.ndarray, points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes [G, 4] around the moved objects, before clipping to the frame.

    The bounding box of a rotated box is too large, because objects seldom fill its corners. So the object is treated
    as the ellipse in its box plus its labelled points; without rotation, the result is the box itself.
    """
    linear, shift = matrix[:, :2], matrix[:, 2]
    low, high = boxes[:, :2], boxes[:, 2:]
    centre = (low + high) / 2 @ linear.T + shift
    half = np.sqrt(((high - low) / 2) ** 2 @ (linear**2).T)
    inner = (points[..., 2] > 0) & (
        (points[..., :2] >= low[:, None] - 0.5) & (points[..., :2] <= high[:, None] + 0.5)
    ).all(-1)
    places = points[..., :2] @ linear.T + shift
    least, most = centre - half, centre + half
    if points.shape[1]:
        least = np.minimum(least, np.where(inner[..., None], places, np.inf).min(1))
        most = np.maximum(most, np.where(inner[..., None], places, -np.inf).max(1))
    return np.concatenate((least, most), -1).astype(np.float32)


def move_labels(
    labels: Labels, matrix: np.ndarray, frame: Size, *, mirror: bool, least_share: float, least_side: float
) -> Labels:
    """The labels in the frame; `mirror` tells whether the matrix mirrors.

    If less than `least_share` of an object's box is left, or less than `least_side` pixels, the rest becomes a region
    that counts neither for nor against its category (`crowd`).
    """
    whole = move_boxes(labels.boxes, labels.points, matrix)
    limit = np.array([*frame, *frame], np.float32)
    boxes = np.clip(whole, 0, limit)
    sides, whole_sides = boxes[:, 2:] - boxes[:, :2], whole[:, 2:] - whole[:, :2]
    share = sides.prod(1) / np.maximum(whole_sides.prod(1), 1e-6)
    poor = (share < least_share) | (sides.max(1, initial=0) < least_side)
    points = move_points(labels.points, matrix, frame)
    points[poor] = 0
    moved = replace(labels, boxes=boxes, points=points, crowd=labels.crowd | poor)
    moved = moved.take((sides > 0).all(1))
    return moved.renamed_for_mirror() if mirror else moved
