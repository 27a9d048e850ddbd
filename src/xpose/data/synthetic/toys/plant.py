"""A plant: a bent stem, three leaves counted from the ground, a flower."""

from __future__ import annotations

import numpy as np

from xpose.data.synthetic.toys.figure import Figure, colour, from_hsv, shade


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
