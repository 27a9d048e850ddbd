"""One affine map per picture: how it is chosen, and what it does to pixels and labels.

A matrix is [2, 3] in continuous coordinates, from the stored picture to the frame (the picture that training sees).
Everything (flip, resize, crop, rotation) goes into it, so that pixels are interpolated once.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from xpose.data.loading.samples import Labels
from xpose.pictures.decoding import opencv

FILL = (124, 116, 104)  # ImageNet's mean colour, which is zero for the network: the same as padding
Size = tuple[int, int]  # width, height


def similarity(
    scale: float, degrees: float, mirror: bool, source: tuple[float, float], target: tuple[float, float]
) -> np.ndarray:
    """The map that mirrors, turns and scales, and brings the point `source` to the point `target`."""
    angle = math.radians(degrees)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if mirror:
        turn[:, 0] = -turn[:, 0]
    return np.column_stack((turn, np.array(target) - turn @ np.array(source)))


def letterbox(size: Size, frame: Size) -> np.ndarray:
    """The whole picture, upright, as large as fits, in the middle of the frame."""
    scale = min(frame[0] / size[0], frame[1] / size[1])
    return similarity(scale, 0.0, False, (size[0] / 2, size[1] / 2), (frame[0] / 2, frame[1] / 2))


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map that does `first`, then `second`."""
    return np.column_stack((second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]))


def scale_of(matrix: np.ndarray) -> float:
    """How many pixels of the frame one pixel of the source covers along a side."""
    return float(math.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def warp(pixels: np.ndarray, matrix: np.ndarray, frame: Size) -> np.ndarray:
    """The pixels in the frame. A much smaller picture is averaged over areas first, so that nothing flickers."""
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
    """Boxes [G, 4] round the moved objects, before they are cut at the frame's edges.

    A turned box would grow at its corners, where the object seldom is. So the object is taken as the ellipse in its
    box together with its labelled points; without rotation that is the box itself.
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
