"""Drawn objects with exactly known keypoints, which `xpose.data.synthetic.scenes` puts into its pictures.

To add a kind, write a function `(rng) -> Figure`, a row in `KINDS`, a skeleton file named `toy_KIND` and a row in the
categories; the tests check the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from xpose.data.synthetic.figure import Colour, Figure, Place, colour, ellipse, from_hsv, shade

Corner = tuple[float, float, float]
LIGHT = np.array([0.3, -0.5, 0.8])  # in camera space: x to the right, y into the picture, z up
DARK: Colour = (25, 22, 20)
TYRE: Colour = (30, 30, 34)
WHITE: Colour = (250, 250, 250)


def draw_face(rng: np.random.Generator) -> Figure:
    """A face seen from the front: wobbly outline, brows that rise, a mouth that opens."""
    figure = Figure()
    skin = from_hsv(rng.uniform(0, 1), rng.uniform(0.2, 0.65), rng.uniform(0.6, 0.98))
    wide, turns = rng.uniform(0.32, 0.44), np.linspace(0, 2 * np.pi, 60, endpoint=False)
    wobble = sum(rng.normal(0, 0.018) * np.cos(k * turns + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    outline = np.stack([wide * np.sin(turns) * (1 + wobble), -0.48 * np.cos(turns) * (1 + wobble)], axis=1)
    hair = colour(rng, (0.2, 0.9), (0.1, 0.8))
    figure.polygon(outline * [1.12, 1.06] + [0, -0.05], hair)
    figure.polygon(outline, skin)
    look = rng.uniform(-0.045, 0.045, size=2)  # where the face turns to
    eye_y, apart, mouth_y = -0.1 + look[1], rng.uniform(0.13, 0.19), 0.22 + look[1]
    points: dict[str, Place] = {}
    iris, size = colour(rng, (0.4, 0.9), (0.2, 0.7)), rng.uniform(0.04, 0.065)
    for side, sign in (("left", 1), ("right", -1)):
        eye = (sign * apart + look[0], eye_y + rng.normal(0, 0.008))
        figure.ellipse(eye, (size, size * rng.uniform(0.45, 0.95)), WHITE)
        figure.ellipse(eye, (size * 0.5, size * 0.5), iris)
        figure.ellipse(eye, (size * 0.25, size * 0.25), DARK)
        raised, tilt = rng.uniform(0.06, 0.12), rng.uniform(-0.35, 0.35)
        brow = (eye[0], eye[1] - raised - size * 0.4)
        reach = np.array([np.cos(sign * tilt), np.sin(sign * tilt)]) * 0.065
        figure.limb(tuple(np.array(brow) - reach), tuple(np.array(brow) + reach), 0.026, hair)
        points |= {f"{side} eye": eye, f"{side} eyebrow": brow}
    nose = (look[0] * 1.5, 0.07 + look[1])
    figure.limb((look[0], eye_y + 0.04), nose, 0.03, shade(skin, 0.86), 0.07)
    half, smile, gape = rng.uniform(0.09, 0.17), rng.uniform(-0.05, 0.07), rng.uniform(0.012, 0.1)
    middle = (look[0], mouth_y)
    along = np.linspace(-1, 1, 15)
    bend = smile * (1 - along**2)
    upper = np.stack([middle[0] + half * along, middle[1] + bend - gape * 0.35 * (1 - along**2)], axis=1)
    lower = np.stack([middle[0] + half * along, middle[1] + bend + gape * (1 - along**2)], axis=1)
    figure.polygon(np.concatenate([upper, lower[::-1]]), (95, 15, 25))
    lips = from_hsv(rng.uniform(0.93, 1.03), 0.7, rng.uniform(0.5, 0.85))
    figure.curve(upper, 0.022, lips)
    figure.curve(lower, 0.022, lips)
    chin = outline[np.argmax(outline[:, 1])]
    figure.points = {
        **points,
        "nose": nose,
        "left mouth corner": (float(upper[-1, 0]), float(upper[-1, 1])),
        "right mouth corner": (float(upper[0, 0]), float(upper[0, 1])),
        "upper lip": (float(upper[7, 0]), float(upper[7, 1])),
        "lower lip": (float(lower[7, 0]), float(lower[7, 1])),
        "chin": (float(chin[0]), float(chin[1]) - 0.02),
    }
    return figure


def draw_fish(rng: np.random.Generator) -> Figure:
    """A fish from the side, looking to the left or to the right, bent like a bow or a wave."""
    figure = Figure()
    scales, fins = colour(rng, (0.3, 1.0), (0.45, 1.0)), colour(rng, (0.5, 1.0), (0.4, 0.9))
    along = np.linspace(0, 1, 24)
    bow, wave = rng.uniform(-0.22, 0.22), rng.uniform(-0.08, 0.08)
    spine = np.stack([along * 1.1 - 0.55, bow * (along - 0.5) ** 2 * 2 + wave * np.sin(2 * np.pi * along)], axis=1)
    slope = np.gradient(spine, axis=0)
    across = np.stack([-slope[:, 1], slope[:, 0]], axis=1) / np.linalg.norm(slope, axis=1, keepdims=True)
    deep = rng.uniform(0.1, 0.2)
    half = deep * np.sqrt(np.clip(along, 0, None)) * (1 - along) ** 0.75 * 2.1 + 0.022
    half[0] = 0.004

    def at(place: float, side: float) -> tuple[float, float]:
        """A place along the body (0 snout, 1 tail base), `side` half-depths towards the belly."""
        index = place * (len(along) - 1)
        row = np.array([np.interp(index, range(len(along)), column) for column in (*spine.T, *across.T, half)])
        return float(row[0] + side * row[2] * row[4]), float(row[1] + side * row[3] * row[4])

    dorsal, pelvic = at(0.55, -rng.uniform(1.7, 2.3)), at(0.52, rng.uniform(1.6, 2.2))
    end, tail = at(1.0, 0.0), rng.uniform(0.12, 0.2)
    out = slope[-1] / np.linalg.norm(slope[-1])
    fork = np.array(end) + out * tail
    top, bottom = fork - across[-1] * tail * rng.uniform(0.7, 1.0), fork + across[-1] * tail * rng.uniform(0.7, 1.0)
    figure.polygon([at(0.3, -0.9), dorsal, at(0.72, -0.9)], fins)
    figure.polygon([at(0.35, 0.9), pelvic, at(0.58, 0.9)], fins)
    figure.polygon([at(0.94, 0.0), tuple(top), tuple(np.array(end) + out * tail * 0.45), tuple(bottom)], fins)
    figure.polygon(np.concatenate([spine - across * half[:, None], (spine + across * half[:, None])[::-1]]), scales)
    for place in np.arange(0.3, 0.9, rng.uniform(0.09, 0.3)):
        figure.limb(at(place, -0.75), at(place, 0.75), 0.014, shade(scales, 0.7))
    eye = at(0.13, -0.3)
    figure.ellipse(eye, (0.03, 0.03), WHITE)
    figure.ellipse(eye, (0.016, 0.016), DARK)
    figure.points = {
        "snout": at(0.0, 0.0),
        "eye": eye,
        "dorsal fin": dorsal,
        "pelvic fin": pelvic,
        "tail base": at(0.96, 0.0),
        "tail fin top": (float(top[0]), float(top[1])),
        "tail fin bottom": (float(bottom[0]), float(bottom[1])),
    }
    return figure if rng.uniform() < 0.5 else figure.moved(np.diag([-1.0, 1.0]), np.zeros(2))


def draw_plant(rng: np.random.Generator) -> Figure:
    """Leaves alternate, beginning on either side."""
    figure = Figure()
    green = from_hsv(rng.uniform(0.22, 0.42), rng.uniform(0.45, 0.95), rng.uniform(0.3, 0.8))
    petal, heart = colour(rng, (0.3, 1.0), (0.7, 1.0)), from_hsv(rng.uniform(0.05, 0.17), 0.9, rng.uniform(0.5, 1.0))
    along = np.linspace(0, 1, 22)
    bend, wave = rng.uniform(-0.3, 0.3), rng.uniform(-0.07, 0.07)
    stem = np.stack([bend * along**2 + wave * np.sin(2 * np.pi * along), 0.5 - 0.85 * along], axis=1)
    figure.curve(stem, rng.uniform(0.02, 0.035), shade(green, 0.8))
    points = {"stem base": (float(stem[0, 0]), float(stem[0, 1]))}
    sign = 1.0 if rng.uniform() < 0.5 else -1.0
    for name, height in zip(
        ("lower", "middle", "upper"), np.sort(rng.uniform(0.1, 0.75, 3)) + np.array([0, 0.05, 0.1]), strict=True
    ):
        root = np.array([np.interp(height, along, column) for column in stem.T])
        length, angle = rng.uniform(0.2, 0.34), sign * rng.uniform(0.75, 1.45)
        forward = np.array([np.sin(angle), -np.cos(angle)])
        side = np.array([-forward[1], forward[0]])
        t = np.linspace(0, 1, 12)
        droop = rng.uniform(-0.05, 0.12) * t[:, None] ** 2 * np.array([0, 1.0])
        spine = root + forward * length * t[:, None] + droop
        half = (rng.uniform(0.16, 0.3) * length * np.sin(np.pi * t**0.8))[:, None] * side
        leaf = shade(green, rng.uniform(0.85, 1.25))
        figure.polygon(np.concatenate([spine - half, (spine + half)[::-1]]), leaf)
        figure.curve(spine, 0.008, shade(leaf, 0.7))
        points[f"{name} leaf tip"] = (float(spine[-1, 0]), float(spine[-1, 1]))
        sign = -sign
    centre = (float(stem[-1, 0]), float(stem[-1, 1]))
    petals, size = int(rng.integers(5, 10)), rng.uniform(0.07, 0.11)
    for turn in np.linspace(0, 2 * np.pi, petals, endpoint=False) + rng.uniform(0, 1):
        middle = (centre[0] + size * float(np.cos(turn)), centre[1] + size * float(np.sin(turn)))
        figure.ellipse(middle, (size * 0.75, size * 0.38), shade(petal, rng.uniform(0.85, 1.1)), float(turn))
    figure.ellipse(centre, (size * 0.5, size * 0.5), heart)
    figure.points = {**points, "flower centre": centre}
    return figure


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
        for radius, paint in ((0.19, TYRE), (0.095, (170, 170, 175))):
            ring = [(x, y + dy, z + dz) for dy, dz in ellipse((0.0, 0.0), (radius, radius))]
            figure.polygon([camera.place(corner) for corner in ring], paint)


def _draw_lights(figure: Figure, camera: Camera, lights: dict[str, Corner]) -> None:
    for name, (x, y, z) in lights.items():
        paint = (255, 244, 190) if "headlight" in name else (215, 20, 20)
        ring = [(x + dx, y, z + dz) for dx, dz in ellipse((0.0, 0.0), (0.075, 0.05))]
        figure.polygon([camera.place(corner) for corner in ring], paint)


# Kind -> the function that draws one, different each time. Its category is "toy KIND", its skeleton "toy_KIND".
KINDS: Mapping[str, Callable[[np.random.Generator], Figure]] = {
    "car": draw_car,
    "face": draw_face,
    "fish": draw_fish,
    "plant": draw_plant,
}
