"""Backgrounds that are no plain colour: noise of several scales, stripes, tiles, slopes, meaningless shapes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from xpose.data.synthetic.figure import colour


def draw_background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A background picture of that width and height."""
    width, height = size
    first, second = np.array(colour(rng, (0.05, 0.6), (0.15, 0.95))), np.array(colour(rng, (0.05, 0.6), (0.15, 0.95)))
    mix = _pattern(rng, width, height)
    mix = np.clip(mix + 0.35 * (noise(rng, width, height) - 0.5), 0, 1)[..., None]
    image = Image.fromarray((first * (1 - mix) + second * mix).astype(np.uint8))
    brush = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 9))):
        _clutter(rng, brush, width, height)
    return image


def noise(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Smooth noise of several scales, 0 to 1, as an array (height, width)."""
    total, weight = np.zeros((height, width)), 0.0
    for cells in (3, 8, 24, 72):
        rows = max(2, round(cells * height / max(width, height)))
        columns = max(2, round(cells * width / max(width, height)))
        grid = Image.fromarray(rng.integers(0, 256, (rows, columns), dtype=np.uint8))
        part = float(rng.uniform(0.2, 1.0))
        total += part * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), dtype=float) / 255
        weight += part
    return total / weight


def _pattern(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    period = rng.uniform(0.04, 0.25) * max(width, height)
    chosen = rng.integers(4)
    if chosen == 0:
        return noise(rng, width, height)
    if chosen == 1:
        return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * along / period))
    if chosen == 2:
        return ((along // period + across // period) % 2).astype(float)
    return np.asarray((along - along.min()) / max(float(np.ptp(along)), 1.0))


def _clutter(rng: np.random.Generator, brush: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """A shape without keypoints, so that a network cannot take every shape for an object."""
    middle = rng.uniform(0, 1, 2) * (width, height)
    size = rng.uniform(0.02, 0.2) * max(width, height)
    corners = [tuple(middle + size * rng.uniform(-1, 1, 2)) for _ in range(int(rng.integers(2, 6)))]
    paint = colour(rng, (0.05, 0.8), (0.1, 0.95))
    if len(corners) == 2:
        brush.line([*corners[0], *corners[1]], fill=paint, width=max(1, round(size / 10)))
    elif rng.uniform() < 0.4:
        reach = size * rng.uniform(0.3, 1.0, 2)
        brush.ellipse([*(middle - reach), *(middle + reach)], fill=paint)
    else:
        brush.polygon([float(value) for corner in corners for value in corner], fill=paint)
