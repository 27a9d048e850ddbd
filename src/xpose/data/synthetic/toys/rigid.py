"""Rigid bodies seen from any side: corners in three dimensions, faces painted from the farthest to the nearest.

The body's own coordinates: x to its left, y to its front, z up. The camera looks from far away, a little from above.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xpose.data.synthetic.toys.figure import Colour, Figure, Place, colour, ellipse, shade

Corner = tuple[float, float, float]
LIGHT = np.array([0.3, -0.5, 0.8])  # in camera space: x to the right, y into the picture, z up
DARK: Colour = (30, 30, 34)


@dataclass
class Camera:
    """A parallel view of a body turned by `yaw`, from `pitch` above the horizon (radians)."""

    yaw: float
    pitch: float
    scale: float = 1.0
    matrix: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        # A body that looks at the camera has its left at the right of the picture and its front at negative depth.
        face = np.diag([1.0, -1.0, 1.0])
        tilt = np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])
        self.matrix = tilt @ face @ turn

    def see(self, corners: np.ndarray) -> np.ndarray:
        """Corners (N, 3) as x to the right, depth, height."""
        seen: np.ndarray = self.scale * corners @ self.matrix.T
        return seen

    def place(self, corner: Corner | np.ndarray) -> Place:
        """Where a corner is in the picture."""
        x, _, height = self.see(np.asarray(corner, dtype=float))
        return float(x), float(-height)


@dataclass
class Body:
    """Flat faces, each with a colour and decals that lie on it."""

    faces: list[tuple[np.ndarray, Colour]] = field(default_factory=list)
    decals: list[tuple[int, np.ndarray, Colour]] = field(default_factory=list)  # number of the face, corners, colour

    def paint(self, figure: Figure, camera: Camera) -> list[bool]:
        """Add what can be seen to a figure; which faces these are."""
        middle = np.mean([corners.mean(axis=0) for corners, _ in self.faces], axis=0)
        seen, depths = [], []
        for corners, _ in self.faces:
            outward = np.cross(corners[1] - corners[0], corners[2] - corners[0])
            outward = outward * np.sign(outward @ (corners.mean(axis=0) - middle))
            normal = camera.see(outward / np.linalg.norm(outward))
            seen.append(bool(normal[1] < -1e-6))
            depths.append((camera.see(corners)[:, 1].mean(), float(normal @ LIGHT) / camera.scale))
        for number in sorted(range(len(self.faces)), key=lambda face: -depths[face][0]):
            if seen[number]:
                corners, base = self.faces[number]
                tone = 0.72 + 0.35 * max(0.0, depths[number][1])
                figure.polygon([camera.place(corner) for corner in corners], shade(base, tone))
                for face, shape, paint in self.decals:
                    if face == number:
                        figure.polygon([camera.place(corner) for corner in shape], shade(paint, tone))
        return seen


def _quad(*corners: Corner) -> np.ndarray:
    return np.asarray(corners, dtype=float)


def draw_crate(rng: np.random.Generator) -> Figure:
    """A box with a label on its front."""
    camera = Camera(rng.uniform(-np.pi, np.pi), rng.uniform(0.25, 0.7), 0.9)
    x, y, z = rng.uniform(0.3, 0.55, size=3)
    wood, label = colour(rng, (0.3, 0.7)), colour(rng, (0.7, 1.0), (0.8, 1.0))
    corners = {
        f"{side} {end} {level} corner": (sx * x, sy * y, sz * z)
        for end, sy in (("front", 1), ("back", -1))
        for level, sz in (("top", 1), ("bottom", -1))
        for side, sx in (("left", 1), ("right", -1))
    }
    body = Body()
    hidden: dict[str, list[int]] = {name: [] for name in corners}
    for axis in range(3):
        for sign in (1, -1):
            names = [name for name, corner in corners.items() if corner[axis] * sign > 0]
            ring = [names[0], names[1], names[3], names[2]]
            for name in ring:
                hidden[name].append(len(body.faces))
            body.faces.append((_quad(*(corners[name] for name in ring)), wood))
    front = 2  # the second axis, positive
    stripe = [(sx * x * 0.7, y, sz * z * 0.45) for sx, sz in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    body.decals.append((front, _quad(*stripe), label))
    arrow = [(0.0, y, z * 0.4), (x * 0.3, y, -z * 0.3), (-x * 0.3, y, -z * 0.3)]
    body.decals.append((front, _quad(*arrow), shade(label, 0.4)))
    # The top is always seen: a band along its front edge tells where the front is when its label is on the far side.
    top = 4
    band = [(sx * x, y * depth, z) for sx, depth in ((1, 1.0), (-1, 1.0), (-1, 0.6), (1, 0.6))]
    body.decals.append((top, _quad(*band), label))
    figure = Figure()
    seen = body.paint(figure, camera)
    figure.points = {name: camera.place(corner) for name, corner in corners.items()}
    figure.hidden = {name for name, faces in hidden.items() if not any(seen[face] for face in faces)}
    return figure


def draw_car(rng: np.random.Generator) -> Figure:
    """A car of two boxes; wheels, lights and roof corners are its points."""
    camera = Camera(rng.uniform(-np.pi, np.pi), rng.uniform(0.12, 0.45), 0.62)
    paint = colour(rng, (0.4, 1.0), (0.45, 1.0))
    half, length, low, high = 0.36, 0.85, -0.2, rng.uniform(0.08, 0.16)
    top, front, rear = high + rng.uniform(0.24, 0.36), rng.uniform(0.2, 0.4), -rng.uniform(0.4, 0.75)
    roof = half * 0.82
    figure = Figure()
    lower = _box((half, length, high), (half, length, low), (half, -length, high), (half, -length, low), paint)
    cabin = _box(
        (roof, front - 0.14, top), (half, front + 0.1, high), (roof, rear + 0.1, top), (half, rear - 0.08, high), paint
    )
    glass = (70, 90, 110)
    cabin.decals = [(face, _shrunk(corners, 0.8), glass) for face, (corners, _) in enumerate(cabin.faces) if face < 4]
    wheels = {
        f"{side} {end} wheel": (sx * (half + 0.01), sy * length * 0.62, low)
        for side, sx in (("left", 1), ("right", -1))
        for end, sy in (("front", 1), ("back", -1))
    }
    lights = {
        f"{side} {name}": (sx * half * 0.72, sy * (length + 0.005), (low + high) / 2 + 0.03)
        for side, sx in (("left", 1), ("right", -1))
        for name, sy in (("headlight", 1), ("tail light", -1))
    }
    roofs = {
        f"{side} {end} roof corner": (sx * roof, y, top)
        for side, sx in (("left", 1), ("right", -1))
        for end, y in (("front", front - 0.14), ("back", rear + 0.1))
    }
    near_left = camera.see(np.array([1.0, 0, 0]))[1] < 0
    near_front = camera.see(np.array([0, 1.0, 0]))[1] < 0
    _draw_wheels(figure, camera, {n: c for n, c in wheels.items() if n.startswith("left") != near_left})
    lower.paint(figure, camera)
    _draw_lights(figure, camera, {n: c for n, c in lights.items() if ("headlight" in n) == near_front})
    _draw_wheels(figure, camera, {n: c for n, c in wheels.items() if n.startswith("left") == near_left})
    cabin.paint(figure, camera)
    figure.points = {name: camera.place(corner) for name, corner in (wheels | lights | roofs).items()}
    figure.hidden = {name for name in wheels if name.startswith("left") != near_left}
    figure.hidden |= {name for name in lights if ("headlight" in name) != near_front}
    return figure


def _box(front_top: Corner, front_low: Corner, back_top: Corner, back_low: Corner, paint: Colour) -> Body:
    """A body that is the same on both sides, from the left corners of its ends; faces: ends, sides, top, bottom."""
    left = [front_top, front_low, back_low, back_top]
    right = [(-x, y, z) for x, y, z in left]
    rings = [
        (left[0], right[0], right[1], left[1]),
        (left[3], right[3], right[2], left[2]),
        tuple(left),
        tuple(right),
        (left[0], right[0], right[3], left[3]),
        (left[1], right[1], right[2], left[2]),
    ]
    return Body([(_quad(*ring), paint) for ring in rings])


def _shrunk(corners: np.ndarray, factor: float) -> np.ndarray:
    middle = corners.mean(axis=0)
    smaller: np.ndarray = middle + factor * (corners - middle)
    return smaller


def _draw_wheels(figure: Figure, camera: Camera, wheels: dict[str, Corner]) -> None:
    for x, y, z in wheels.values():
        for radius, paint in ((0.19, DARK), (0.095, (170, 170, 175))):
            ring = [(x, y + dy, z + dz) for dy, dz in ellipse((0.0, 0.0), (radius, radius))]
            figure.polygon([camera.place(corner) for corner in ring], paint)


def _draw_lights(figure: Figure, camera: Camera, lights: dict[str, Corner]) -> None:
    for name, (x, y, z) in lights.items():
        paint = (255, 244, 190) if "headlight" in name else (215, 20, 20)
        ring = [(x + dx, y, z + dz) for dx, dz in ellipse((0.0, 0.0), (0.075, 0.05))]
        figure.polygon([camera.place(corner) for corner in ring], paint)
