"""Drawn objects with exactly known keypoints, used by `xpose.data.synthetic.scenes`.

To add a kind, write a function `(rng) -> PolygonFigure`, a row in `KINDS`, a skeleton file named `toy_KIND` and a row
in the categories; the tests check the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

import numpy as np

from xpose.data.synthetic.figure import Colour, Place, PolygonFigure, colour, ellipse, from_hsv, shade

Corner = tuple[float, float, float]
LIGHT = np.array([0.3, -0.5, 0.8])  # in camera space: x to the right, y into the picture, z up
DARK: Colour = (25, 22, 20)
TYRE: Colour = (30, 30, 34)
WHITE: Colour = (250, 250, 250)
GLASS: Colour = (70, 90, 110)
SIDES = (("left", 1), ("right", -1))


def draw_face(rng: np.random.Generator) -> PolygonFigure:
    """A frontal face with an irregular outline, moving brows and an opening mouth."""
    figure = PolygonFigure()
    skin = from_hsv(rng.uniform(0, 1), rng.uniform(0.2, 0.65), rng.uniform(0.6, 0.98))
    wide, turns = rng.uniform(0.32, 0.44), np.linspace(0, 2 * np.pi, 60, endpoint=False)
    wobble = sum(rng.normal(0, 0.018) * np.cos(k * turns + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    outline = np.stack([wide * np.sin(turns) * (1 + wobble), -0.48 * np.cos(turns) * (1 + wobble)], axis=1)
    hair = colour(rng, (0.2, 0.9), (0.1, 0.8))
    figure.polygon(outline * [1.12, 1.06] + [0, -0.05], hair)
    figure.polygon(outline, skin)
    look = rng.uniform(-0.045, 0.045, size=2)  # direction of the face
    eye_y, apart, mouth_y = -0.1 + look[1], rng.uniform(0.13, 0.19), 0.22 + look[1]
    points: dict[str, Place] = {}
    iris, size = colour(rng, (0.4, 0.9), (0.2, 0.7)), rng.uniform(0.04, 0.065)
    for side, sign in SIDES:
        eye = (sign * apart + look[0], eye_y + rng.normal(0, 0.008))
        figure.ellipse(eye, (size, size * rng.uniform(0.45, 0.95)), WHITE)
        figure.ellipse(eye, (size * 0.5, size * 0.5), iris)
        figure.ellipse(eye, (size * 0.25, size * 0.25), DARK)
        raised, tilt = rng.uniform(0.06, 0.12), rng.uniform(-0.35, 0.35)
        brow = np.array([eye[0], eye[1] - raised - size * 0.4])
        reach = np.array([np.cos(sign * tilt), np.sin(sign * tilt)]) * 0.065
        figure.limb(brow - reach, brow + reach, 0.026, hair)
        points |= {f"{side} eye": eye, f"{side} eyebrow": brow}
    nose = (look[0] * 1.5, 0.07 + look[1])
    figure.limb((look[0], eye_y + 0.04), nose, 0.03, shade(skin, 0.86), 0.07)
    half, smile, gape = rng.uniform(0.09, 0.17), rng.uniform(-0.05, 0.07), rng.uniform(0.012, 0.1)
    along = np.linspace(-1, 1, 15)
    bend = smile * (1 - along**2)
    upper = np.stack([look[0] + half * along, mouth_y + bend - gape * 0.35 * (1 - along**2)], axis=1)
    lower = np.stack([look[0] + half * along, mouth_y + bend + gape * (1 - along**2)], axis=1)
    figure.polygon(np.concatenate([upper, lower[::-1]]), (95, 15, 25))
    lips = from_hsv(rng.uniform(0.93, 1.03), 0.7, rng.uniform(0.5, 0.85))
    figure.curve(upper, 0.022, lips)
    figure.curve(lower, 0.022, lips)
    points |= {"nose": nose, "left mouth corner": upper[-1], "right mouth corner": upper[0]}
    points |= {"upper lip": upper[7], "lower lip": lower[7], "chin": outline[np.argmax(outline[:, 1])] - [0, 0.02]}
    figure.points = points
    return figure


def draw_fish(rng: np.random.Generator) -> PolygonFigure:
    """A fish from the side, facing left or right, bent like a bow or a wave."""
    figure = PolygonFigure()
    scales, fins = colour(rng, (0.3, 1.0), (0.45, 1.0)), colour(rng, (0.5, 1.0), (0.4, 0.9))
    along = np.linspace(0, 1, 24)
    bow, wave = rng.uniform(-0.22, 0.22), rng.uniform(-0.08, 0.08)
    spine = np.stack([along * 1.1 - 0.55, bow * (along - 0.5) ** 2 * 2 + wave * np.sin(2 * np.pi * along)], axis=1)
    slope = np.gradient(spine, axis=0)
    across = np.stack([-slope[:, 1], slope[:, 0]], axis=1) / np.linalg.norm(slope, axis=1, keepdims=True)
    deep = rng.uniform(0.1, 0.2)
    half = deep * np.sqrt(np.clip(along, 0, None)) * (1 - along) ** 0.75 * 2.1 + 0.022
    half[0] = 0.004

    def at(place: float, side: float) -> np.ndarray:
        """A place along the body (0 snout, 1 tail base), `side` half-depths towards the belly."""
        index = place * (len(along) - 1)
        x, y, dx, dy, reach = (np.interp(index, range(len(along)), column) for column in (*spine.T, *across.T, half))
        return np.array([x + side * dx * reach, y + side * dy * reach])

    dorsal, pelvic = at(0.55, -rng.uniform(1.7, 2.3)), at(0.52, rng.uniform(1.6, 2.2))
    end, tail = at(1.0, 0.0), rng.uniform(0.12, 0.2)
    out = slope[-1] / np.linalg.norm(slope[-1])
    fork = end + out * tail
    top, bottom = fork - across[-1] * tail * rng.uniform(0.7, 1.0), fork + across[-1] * tail * rng.uniform(0.7, 1.0)
    figure.polygon([at(0.3, -0.9), dorsal, at(0.72, -0.9)], fins)
    figure.polygon([at(0.35, 0.9), pelvic, at(0.58, 0.9)], fins)
    figure.polygon([at(0.94, 0.0), top, end + out * tail * 0.45, bottom], fins)
    figure.polygon(np.concatenate([spine - across * half[:, None], (spine + across * half[:, None])[::-1]]), scales)
    for place in np.arange(0.3, 0.9, rng.uniform(0.09, 0.3)):
        figure.limb(at(place, -0.75), at(place, 0.75), 0.014, shade(scales, 0.7))
    eye = at(0.13, -0.3)
    figure.ellipse(eye, (0.03, 0.03), WHITE)
    figure.ellipse(eye, (0.016, 0.016), DARK)
    figure.points = {"snout": at(0.0, 0.0), "eye": eye, "dorsal fin": dorsal, "pelvic fin": pelvic}
    figure.points |= {"tail base": at(0.96, 0.0), "tail fin top": top, "tail fin bottom": bottom}
    return figure if rng.uniform() < 0.5 else figure.moved(np.diag([-1.0, 1.0]), np.zeros(2))


def draw_plant(rng: np.random.Generator) -> PolygonFigure:
    """A plant; leaves alternate between sides."""
    figure = PolygonFigure()
    green = from_hsv(rng.uniform(0.22, 0.42), rng.uniform(0.45, 0.95), rng.uniform(0.3, 0.8))
    petal, heart = colour(rng, (0.3, 1.0), (0.7, 1.0)), from_hsv(rng.uniform(0.05, 0.17), 0.9, rng.uniform(0.5, 1.0))
    along = np.linspace(0, 1, 22)
    bend, wave = rng.uniform(-0.3, 0.3), rng.uniform(-0.07, 0.07)
    stem = np.stack([bend * along**2 + wave * np.sin(2 * np.pi * along), 0.5 - 0.85 * along], axis=1)
    figure.curve(stem, rng.uniform(0.02, 0.035), shade(green, 0.8))
    figure.points = {"stem base": stem[0], "flower centre": stem[-1]}
    sign = 1.0 if rng.uniform() < 0.5 else -1.0
    heights = np.sort(rng.uniform(0.1, 0.75, 3)) + np.array([0, 0.05, 0.1])
    for name, height in zip(("lower", "middle", "upper"), heights, strict=True):
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
        figure.points[f"{name} leaf tip"] = spine[-1]
        sign = -sign
    centre = stem[-1]
    petals, size = int(rng.integers(5, 10)), rng.uniform(0.07, 0.11)
    for turn in np.linspace(0, 2 * np.pi, petals, endpoint=False) + rng.uniform(0, 1):
        middle = centre + size * np.array([np.cos(turn), np.sin(turn)])
        figure.ellipse(middle, (size * 0.75, size * 0.38), shade(petal, rng.uniform(0.85, 1.1)), float(turn))
    figure.ellipse(centre, (size * 0.5, size * 0.5), heart)
    return figure


def draw_car(rng: np.random.Generator) -> PolygonFigure:
    """A car of two boxes, with points at wheels, lights and roof corners."""
    view = _view(rng.uniform(-np.pi, np.pi), rng.uniform(0.12, 0.45))
    paint = colour(rng, (0.4, 1.0), (0.45, 1.0))
    half, length, low, high = 0.36, 0.85, -0.2, rng.uniform(0.08, 0.16)
    top, front, rear = high + rng.uniform(0.24, 0.36), rng.uniform(0.2, 0.4), -rng.uniform(0.4, 0.75)
    roof = half * 0.82
    lower = _box((half, length, high), (half, length, low), (half, -length, high), (half, -length, low))
    cabin = _box(
        (roof, front - 0.14, top), (half, front + 0.1, high), (roof, rear + 0.1, top), (half, rear - 0.08, high)
    )
    wheels: dict[str, Corner] = {}
    lights: dict[str, Corner] = {}
    roofs: dict[str, Corner] = {}
    ends = (("front", "headlight", 1, front - 0.14), ("back", "tail light", -1, rear + 0.1))
    for (side, sx), (end, light, sy, y) in product(SIDES, ends):
        wheels[f"{side} {end} wheel"] = (sx * (half + 0.01), sy * length * 0.62, low)
        lights[f"{side} {light}"] = (sx * half * 0.72, sy * (length + 0.005), (low + high) / 2 + 0.03)
        roofs[f"{side} {end} roof corner"] = (sx * roof, y, top)
    near_left, near_front = view[1, 0] < 0, view[1, 1] < 0
    far_wheels = {name for name in wheels if name.startswith("left") != near_left}
    far_lights = {name for name in lights if ("headlight" in name) != near_front}
    figure = PolygonFigure()
    _draw_wheels(figure, view, (wheels[name] for name in wheels if name in far_wheels))
    _draw_box(figure, view, lower, paint)
    for name in (name for name in lights if name not in far_lights):
        lamp = (255, 244, 190) if "headlight" in name else (215, 20, 20)
        _draw_disc(figure, view, lights[name], (0, 2), (0.075, 0.05), lamp)
    _draw_wheels(figure, view, (wheels[name] for name in wheels if name not in far_wheels))
    _draw_box(figure, view, cabin, paint, windows=4)
    figure.points = {name: _seen(view, np.array(corner)) for name, corner in (wheels | lights | roofs).items()}
    figure.hidden = far_wheels | far_lights
    return figure


def _view(yaw: float, pitch: float) -> np.ndarray:
    """A parallel projection [3, 3] to x, depth, height: the body is turned by `yaw`, the camera raised by `pitch`."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    c, s = np.cos(pitch), np.sin(pitch)
    # A body that looks at the camera has its left at the right of the picture and its front at negative depth.
    return np.asarray(0.62 * np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([1.0, -1.0, 1.0]) @ turn)


def _seen(view: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Project corners [..., 3] to the picture."""
    return np.asarray((corners @ view.T)[..., [0, 2]] * [1, -1])


def _box(front_top: Corner, front_low: Corner, back_top: Corner, back_low: Corner) -> list[np.ndarray]:
    """The faces (ends, sides, top, bottom) of a symmetric body, from the left corners of its ends."""
    left = np.array([front_top, front_low, back_low, back_top])
    right = left * [-1, 1, 1]
    rings = [np.array([left[a], right[a], right[b], left[b]]) for a, b in ((0, 1), (3, 2), (0, 3), (1, 2))]
    return [*rings[:2], left, right, *rings[2:]]


def _draw_box(
    figure: PolygonFigure, view: np.ndarray, faces: Sequence[np.ndarray], paint: Colour, windows: int = 0
) -> None:
    """Add the visible faces; the first `windows` faces get a window."""
    middle = np.mean([corners.mean(axis=0) for corners in faces], axis=0)
    visible = []
    for number, corners in enumerate(faces):
        outward = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        outward = outward * np.sign(outward @ (corners.mean(axis=0) - middle))
        normal = view @ outward / np.linalg.norm(view @ outward)
        if normal[1] < -1e-6:
            visible.append(((corners @ view.T)[:, 1].mean(), number, 0.72 + 0.35 * max(0.0, float(normal @ LIGHT))))
    for _, number, tone in sorted(visible, reverse=True):
        corners = faces[number]
        figure.polygon(_seen(view, corners), shade(paint, tone))
        if number < windows:
            centre = corners.mean(axis=0)
            figure.polygon(_seen(view, centre + 0.8 * (corners - centre)), shade(GLASS, tone))


def _draw_wheels(figure: PolygonFigure, view: np.ndarray, wheels: Iterable[Corner]) -> None:
    for wheel in wheels:
        _draw_disc(figure, view, wheel, (1, 2), (0.19, 0.19), TYRE)
        _draw_disc(figure, view, wheel, (1, 2), (0.095, 0.095), (170, 170, 175))


def _draw_disc(
    figure: PolygonFigure, view: np.ndarray, centre: Corner, axes: tuple[int, int], radii: Place, paint: Colour
) -> None:
    outline = ellipse((0.0, 0.0), radii)
    ring = np.tile(np.array(centre), (len(outline), 1))
    ring[:, axes] += outline
    figure.polygon(_seen(view, ring), paint)


# Kind -> the function that draws one, different each time. Its category is "toy KIND", its skeleton "toy_KIND".
KINDS: Mapping[str, Callable[[np.random.Generator], PolygonFigure]] = {
    "car": draw_car,
    "face": draw_face,
    "fish": draw_fish,
    "plant": draw_plant,
}
