"""Tracked objects on the frame of a video: skeletons, boxes in the colours of the tracks, and trails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

from xpose.drawing import figures as sizes
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import INK, Colour, Figure, Place, numbered_colour
from xpose.drawing.labels import write_labels
from xpose.drawing.overlay import draw_box, draw_edges, draw_points

Trail = Sequence[Place]  # where an object has been, the oldest place first


def draw_tracks(
    pixels: np.ndarray, figures: Sequence[Figure], ids: Sequence[int], trails: Sequence[tuple[int, Trail]]
) -> np.ndarray:
    """A copy of RGB bytes [h, w, 3] with figures (best first) and trails, both with the numbers of their tracks."""
    canvas = Canvas(Image.fromarray(pixels))
    largest, size = sizes.picture_radius(canvas.width, canvas.height), sizes.text_size(canvas.width, canvas.height)
    colours = [numbered_colour(track_id) for track_id in ids]
    for track_id, trail in trails:
        _draw_trail(canvas, trail, numbered_colour(track_id), 0.45 * largest)
    for figure, colour in reversed(list(zip(figures, colours, strict=True))):
        draw_box(canvas, figure, colour, largest)
    for figure in reversed(figures):
        radius = sizes.point_radius(figure, largest)
        draw_edges(canvas, figure, radius)
        draw_points(canvas, figure, radius)
    write_labels(canvas, figures, colours, size, [])
    return canvas.pixels


def _draw_trail(canvas: Canvas, trail: Trail, colour: Colour, radius: float) -> None:
    """Draw a line that fades towards its oldest place."""
    radius = max(0.6, radius)
    steps = list(pairwise(trail))
    for width, ink, strength in ((1.8 * radius, INK, 0.35), (radius, colour, 0.95)):
        for number, (start, end) in enumerate(steps):
            opacity = (strength * number / len(steps), strength * (number + 1) / len(steps))
            canvas.line(start, end, width, ink, opacity)
