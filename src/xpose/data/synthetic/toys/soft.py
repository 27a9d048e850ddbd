"""Soft bodies: a face with many expressions, a fish that bends."""

from __future__ import annotations

import numpy as np

from xpose.data.synthetic.toys.figure import Colour, Figure, Place, colour, from_hsv, shade

DARK: Colour = (25, 22, 20)
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
