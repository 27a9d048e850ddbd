"""Skeleton pictures, looked at through their pixels."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from xpose.drawing.figures import LEFT, MIDDLE, RIGHT, Colour
from xpose.drawing.skeletons import circle_layout, contact_sheet, draw_skeleton


@dataclass
class Cross:
    """A small skeleton with one point on each side."""

    name: str = "cross"
    title: str = "A cross"
    keypoints: tuple[str, ...] = ("left end", "right end", "top", "bottom")
    layout: tuple[tuple[float, float], ...] | None = ((0.9, 0.5), (0.1, 0.5), (0.5, 0.1), (0.5, 0.9))
    sides: tuple[str, ...] = ("left", "right", "middle", "middle")
    edges: list[tuple[int, int]] = field(default_factory=lambda: [(2, 3), (0, 2), (1, 2)])

    def edge_indices(self) -> list[tuple[int, int]]:
        return self.edges


def count(picture: Image.Image, colour: Colour) -> int:
    """How many pixels have about this colour; smoothing shifts it a little."""
    return int((abs(np.asarray(picture).astype(int) - colour) <= 40).all(axis=-1).sum())


def test_left_right_and_middle_have_their_colours_at_their_places() -> None:
    size = 600
    picture = draw_skeleton(Cross(), size=size)
    head = picture.height - size
    drawing = np.asarray(picture)[head:, :size]
    # A margin of 6.5 % surrounds the layout.
    place = {0.1: round((0.065 + 0.1 * 0.87) * size), 0.5: round(0.5 * size), 0.9: round((0.065 + 0.9 * 0.87) * size)}
    for index, colour in enumerate((LEFT, RIGHT, MIDDLE, MIDDLE)):
        x, y = Cross().layout[index]
        assert tuple(drawing[place[y], place[x]]) == colour


def test_edges_are_drawn() -> None:
    assert count(draw_skeleton(Cross()), MIDDLE) > count(draw_skeleton(Cross(edges=[])), MIDDLE)


def test_the_legend_grows_with_the_names() -> None:
    long = Cross(
        keypoints=("left end of the long arm of the cross that lies to the left", "right end", "top", "bottom")
    )
    assert draw_skeleton(long).width > draw_skeleton(Cross()).width


@pytest.mark.parametrize("number", [1, 2, 41, 133])
def test_any_number_of_points_without_layout_or_edges(number: int) -> None:
    names = tuple(f"point {index}" for index in range(number))
    picture = draw_skeleton(Cross(keypoints=names, layout=None, sides=("middle",) * number, edges=[]))
    assert count(picture, MIDDLE) > number


def test_the_circle_keeps_points_apart() -> None:
    places = np.array(circle_layout(12))
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(12)
    assert distances.min() > 0.1
    assert (places >= 0).all()
    assert (places <= 1).all()


def test_the_contact_sheet_has_a_tile_for_each() -> None:
    sheet = contact_sheet([Cross()] * 5, columns=3, tile=240)
    assert sheet.size == (720, 2 * 284)
    one = contact_sheet([Cross()], columns=3, tile=240)
    assert count(one, RIGHT) > 0
    assert count(sheet, RIGHT) == 5 * count(one, RIGHT)
    assert contact_sheet([]).width > 0
