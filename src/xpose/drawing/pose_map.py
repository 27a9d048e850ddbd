"""Pose maps: bodies, hands and faces on black in the colours and widths of OpenPose, which image generators know.

The order of the points, the edges and the colours are those that ControlNet's preprocessors draw.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import Colour

# Edges of the body, in OpenPose's order of 18 points (nose, neck, right arm, left arm, right leg, left leg, head).
BODY_EDGES = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
# The wrist, then four points of each finger from the thumb on.
HAND_EDGES = tuple((0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21))
BODY_COLOURS: tuple[Colour, ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85)),
    *((0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255)),
    *((255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
LIMB_BRIGHTNESS = 0.6
HAND_POINT: Colour = (0, 0, 255)
FACE_POINT: Colour = (255, 255, 255)
# In pixels of a picture with a shorter side of 512; larger pictures have wider lines.
LIMB, JOINT, FINGER, FACE, SIDE = 4.0, 4.0, 1.0, 2.0, 512
Points = np.ndarray  # [K, 2], NaN where absent


@dataclass(frozen=True)
class MapPerson:
    """What is drawn of a person."""

    body: Points | None = None  # in OpenPose's order of 18 points
    hands: Sequence[Points] = field(default_factory=tuple)  # 21 points each
    face: Points | None = None


def draw_pose_map(people: Sequence[MapPerson], size: tuple[int, int]) -> Image.Image:
    """The people on black; `size` is (height, width)."""
    canvas = Canvas(Image.new("RGB", size[::-1]))
    scale = max(1.0, min(size) / SIDE)
    for person in people:
        if person.body is not None:
            _body(canvas, person.body, scale)
    for person in people:
        for hand in person.hands:
            _hand(canvas, hand, scale)
        if person.face is not None:
            for x, y in person.face[np.isfinite(person.face).all(1)].tolist():
                canvas.disc((x, y), FACE * scale, FACE_POINT)
    return canvas.picture()


def _body(canvas: Canvas, points: Points, scale: float) -> None:
    for (start, end), (r, g, b) in zip(BODY_EDGES, BODY_COLOURS, strict=False):
        colour = (round(r * LIMB_BRIGHTNESS), round(g * LIMB_BRIGHTNESS), round(b * LIMB_BRIGHTNESS))
        _limb(canvas, points[start], points[end], LIMB * scale, colour)
    for point, colour in zip(points, BODY_COLOURS, strict=True):
        if np.isfinite(point).all():
            canvas.disc((float(point[0]), float(point[1])), JOINT * scale, colour)


def _limb(canvas: Canvas, start: np.ndarray, end: np.ndarray, radius: float, colour: Colour) -> None:
    """An ellipse between two points, which is narrow at its ends."""
    if not np.isfinite([start, end]).all():
        return
    centre, (dx, dy) = (start + end) / 2, (end - start) / 2
    half = max(float(np.hypot(dx, dy)), 1e-6)
    reach = max(half, radius) + 1
    left, top = (int(np.floor(max(value - reach, 0))) for value in centre)
    right, bottom = np.ceil(np.minimum(centre + reach, (canvas.width, canvas.height))).astype(int).tolist()
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right) + 0.5 - centre[0]
    y = (np.arange(top, bottom) + 0.5 - centre[1])[:, None]
    along, across = (x * dx + y * dy) / half, (y * dx - x * dy) / half
    inside = 1 - np.hypot(along / half, across / radius)  # 0 on the edge of the ellipse
    canvas.blend(left, top, np.clip(inside * radius + 0.5, 0, 1), colour)


def _hand(canvas: Canvas, points: Points, scale: float) -> None:
    for number, (start, end) in enumerate(HAND_EDGES):
        if np.isfinite(points[[start, end]]).all():
            r, g, b = colorsys.hsv_to_rgb(number / len(HAND_EDGES), 1, 1)
            colour = (round(255 * r), round(255 * g), round(255 * b))
            canvas.line(tuple(points[start].tolist()), tuple(points[end].tolist()), FINGER * scale, colour)
    for x, y in points[np.isfinite(points).all(1)].tolist():
        canvas.disc((x, y), JOINT * scale, HAND_POINT)
