"""Jointed figures: a person from the front or from behind, a four-legged animal from its left or its right."""

from __future__ import annotations

import numpy as np

from xpose.data.synthetic.toys.figure import Colour, Figure, Place, colour, from_hsv, shade, step

SKIN = ((0.07, 0.45, 0.95), (0.06, 0.55, 0.8), (0.06, 0.6, 0.55), (0.05, 0.6, 0.38))
DARK: Colour = (25, 22, 20)
WHITE: Colour = (250, 250, 250)


def draw_person(rng: np.random.Generator) -> Figure:
    """A person in shirt and trousers; the face, or only hair, tells the front from the back."""
    figure = Figure()
    front = bool(rng.uniform() < 0.7)
    towards = 1.0 if front else -1.0  # where in the picture the person's left is
    skin, shirt, trousers, hair = (
        from_hsv(*SKIN[rng.integers(4)]),
        colour(rng),
        colour(rng),
        colour(rng, (0.2, 0.8), (0.1, 0.7)),
    )
    width, thick = rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.3)
    lean = rng.uniform(-0.12, 0.12)
    hips = (0.0, 0.06)
    neck = step(hips, -0.31, lean)
    head = step(neck, -0.12, lean + rng.uniform(-0.2, 0.2))
    points: dict[str, Place] = {"neck": neck}
    for side, sign in (("left", towards), ("right", -towards)):
        shoulder = (neck[0] + sign * 0.105 * width, neck[1] + 0.035 + sign * lean * 0.1)
        hip = (hips[0] + sign * 0.065 * width, hips[1])
        raised = rng.uniform(-0.3, 2.6)
        elbow = step(shoulder, 0.16, sign * raised)
        wrist = step(elbow, 0.15, sign * (raised + rng.uniform(-0.3, 1.6)))
        spread = rng.uniform(-0.1, 0.6)
        knee = step(hip, 0.21, sign * spread)
        ankle = step(knee, 0.2, sign * (spread - rng.uniform(0.0, 0.6)))
        names = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        places = (shoulder, elbow, wrist, hip, knee, ankle)
        points |= {f"{side} {name}": place for name, place in zip(names, places, strict=True)}
    _draw_body(figure, points, thick, (skin, shirt, trousers))
    figure.ellipse(head, (0.072, 0.09), hair, angle=lean)
    nose = (head[0], head[1] + 0.02)
    if front:
        figure.ellipse((head[0], head[1] + 0.018), (0.06, 0.07), skin, angle=lean)
        for sign in (-1, 1):
            figure.ellipse((head[0] + sign * 0.025, head[1]), (0.009, 0.011), DARK)
        figure.limb((head[0] - 0.02, head[1] + 0.058), (head[0] + 0.02, head[1] + 0.058), 0.008, (150, 50, 50))
        figure.ellipse(nose, (0.009, 0.013), shade(skin, 0.75))
    else:
        figure.hidden.add("nose")
    figure.points = {"nose": nose, **points}
    return figure


def _draw_body(figure: Figure, points: dict[str, Place], thick: float, colours: tuple[Colour, Colour, Colour]) -> None:
    skin, shirt, trousers = colours
    for side, dim in (("left", 1.0), ("right", 0.86)):
        figure.limb(points[f"{side} hip"], points[f"{side} knee"], 0.085 * thick, shade(trousers, dim), 0.065 * thick)
        figure.limb(points[f"{side} knee"], points[f"{side} ankle"], 0.065 * thick, shade(trousers, dim), 0.045 * thick)
        figure.ellipse(points[f"{side} ankle"], (0.038, 0.026), DARK)
    trunk = [points[f"{side} {joint}"] for side, joint in _ROUND]
    figure.polygon(trunk, shirt)
    for start, end in zip(trunk, [*trunk[1:], trunk[0]], strict=True):
        figure.limb(start, end, 0.06 * thick, shirt)
    neck = points["neck"]
    figure.limb((neck[0], neck[1] - 0.04), (neck[0], neck[1] + 0.02), 0.055, skin)
    for side, dim in (("left", 0.92), ("right", 0.8)):
        figure.limb(points[f"{side} shoulder"], points[f"{side} elbow"], 0.06 * thick, shade(shirt, dim), 0.05 * thick)
        figure.limb(points[f"{side} elbow"], points[f"{side} wrist"], 0.045 * thick, skin, 0.035 * thick)
        figure.ellipse(points[f"{side} wrist"], (0.026, 0.026), skin)


_ROUND = (("left", "shoulder"), ("right", "shoulder"), ("right", "hip"), ("left", "hip"))


def draw_quadruped(rng: np.random.Generator) -> Figure:
    """An animal in profile. The viewer sees the left of one that looks to the left; the far legs are darker."""
    figure = Figure()
    coat = from_hsv(rng.uniform(0.02, 0.14), rng.uniform(0.05, 0.7), rng.uniform(0.25, 0.95))
    leg, body, thick = rng.uniform(0.2, 0.36), rng.uniform(0.5, 0.7), rng.uniform(0.8, 1.3)
    back = -0.12
    chest, rump = (-body / 2, back), (body / 2, back + rng.uniform(-0.03, 0.03))
    neck = step(chest, -rng.uniform(0.12, 0.3), rng.uniform(0.2, 1.0))
    nose = step(neck, rng.uniform(0.14, 0.22), -rng.uniform(0.9, 1.5))
    tail = step(rump, 0.02, np.pi / 2)
    tip = step(tail, rng.uniform(0.12, 0.32), rng.uniform(0.1, 2.2))
    points: dict[str, Place] = {"nose": nose, "neck": neck, "tail base": tail, "tail tip": tip}
    legs: dict[str, tuple[Place, Place, Place]] = {}
    near, far = "left", "right"
    for side, shift in ((near, 0.0), (far, 0.035)):
        for end, root, joint in (("front", chest, "front knee"), ("back", rump, "hock")):
            start = (root[0] + (0.06 if end == "front" else -0.06) + shift, back + 0.13)
            swing = rng.uniform(-0.45, 0.45)
            knee = step(start, leg * 0.55, swing)
            paw = step(knee, leg * 0.55, swing + rng.uniform(-0.5, 0.1) * (1 if end == "front" else -1))
            legs[f"{side} {end}"] = (start, knee, paw)
            points |= {f"{side} {joint}": knee, f"{side} {end} paw": paw}
    for name, places in legs.items():
        if name.startswith(far):
            _draw_leg(figure, places, shade(coat, 0.6), thick)
    figure.limb(tail, tip, 0.035 * thick, shade(coat, 0.8), 0.02 * thick)
    trunk = ((chest[0] + rump[0]) / 2, back + 0.07)
    figure.ellipse(trunk, (body / 2 + 0.06, 0.125 * thick), coat)
    for _ in range(int(rng.integers(0, 7))):
        spot = (trunk[0] + rng.uniform(-0.8, 0.8) * body / 2, trunk[1] + rng.uniform(-0.5, 0.5) * 0.12)
        figure.ellipse(spot, (rng.uniform(0.02, 0.06), rng.uniform(0.015, 0.04)), shade(coat, 0.55), rng.uniform(0, 3))
    for name, places in legs.items():
        if name.startswith(near):
            _draw_leg(figure, places, shade(coat, 0.9), thick)
    figure.limb((chest[0] + 0.05, back + 0.06), neck, 0.17 * thick, coat, 0.1 * thick)
    _draw_head(figure, rng, neck, nose, coat)
    figure.points = points
    if rng.uniform() < 0.5:
        return figure
    other = {"left": "right", "right": "left"}
    mirrored = figure.moved(np.diag([-1.0, 1.0]), np.zeros(2))
    mirrored.points = {
        " ".join(other.get(word, word) for word in name.split()): place for name, place in mirrored.points.items()
    }
    return mirrored


def _draw_leg(figure: Figure, places: tuple[Place, Place, Place], coat: Colour, thick: float) -> None:
    start, knee, paw = places
    figure.limb(start, knee, 0.09 * thick, coat, 0.055 * thick)
    figure.limb(knee, paw, 0.05 * thick, coat, 0.035 * thick)
    figure.ellipse(paw, (0.036 * thick, 0.024 * thick), shade(coat, 0.6))


def _draw_head(figure: Figure, rng: np.random.Generator, neck: Place, nose: Place, coat: Colour) -> None:
    figure.limb(neck, nose, 0.12, coat, 0.06)
    ear = step((neck[0] + 0.01, neck[1] - 0.02), -rng.uniform(0.08, 0.14), -rng.uniform(0.1, 0.7))
    figure.limb((neck[0] + 0.01, neck[1] - 0.02), ear, 0.05, shade(coat, 0.75), 0.01)
    eye = (neck[0] * 0.65 + nose[0] * 0.35, neck[1] * 0.65 + nose[1] * 0.35 - 0.018)
    figure.ellipse(eye, (0.016, 0.016), WHITE)
    figure.ellipse(eye, (0.009, 0.009), DARK)
    figure.ellipse(nose, (0.022, 0.02), DARK)
