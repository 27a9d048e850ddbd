"""Pose maps: the colours of OpenPose at their places, in any size."""

from __future__ import annotations

import numpy as np
import pytest

from xpose.drawing.pose_map import BODY_COLOURS, BODY_EDGES, HAND_EDGES, MapPerson, draw_pose_map
from xpose.results.formats.openpose import BODY_18


def test_joints_and_limbs_have_openposes_colours() -> None:
    body = np.full((18, 2), np.nan)
    body[BODY_18.index("neck")], body[BODY_18.index("right shoulder")] = (60, 50), (20, 50)
    pixels = np.asarray(draw_pose_map([MapPerson(body)], (100, 120)))
    assert pixels[50, 60].tolist() == list(BODY_COLOURS[1])
    assert pixels[50, 20].tolist() == list(BODY_COLOURS[2])
    assert pixels[50, 40].tolist() == [153, 0, 0], "a limb is darker than its joints"
    assert pixels[50 + 3, 40].any(), "the ellipse is 4 pixels wide to each side in its middle"
    assert not pixels[50 + 6, 40].any()
    assert not pixels[:40].any()


def test_edges_are_those_of_the_body_and_the_hand() -> None:
    named = {frozenset((BODY_18[start], BODY_18[end])) for start, end in BODY_EDGES}
    assert {frozenset(("neck", "nose")), frozenset(("left hip", "left knee")), frozenset(("nose", "left eye"))} <= named
    assert len(named) == 17
    assert HAND_EDGES[:5] == ((0, 1), (1, 2), (2, 3), (3, 4), (0, 5))
    assert len(HAND_EDGES) == 20


@pytest.mark.parametrize("side", [16, 512, 1024])
def test_hands_and_faces_in_any_size(side: int) -> None:
    share = side / 512
    face, hand = np.full((70, 2), np.nan), np.full((21, 2), np.nan)
    face[0], hand[0], hand[1] = (100 * share, 100 * share), (300 * share, 300 * share), (400 * share, 300 * share)
    pixels = np.asarray(draw_pose_map([MapPerson(face=face, hands=[hand])], (side, side)))
    row, column = int(100 * share), int(300 * share)
    assert pixels[row, row].tolist() == [255, 255, 255]
    assert pixels[column, column, 2] > 0
    if side >= 512:
        assert pixels[column, column].tolist() == [0, 0, 255]
        assert pixels[column, int(350 * share)].tolist() == [255, 0, 0]


def test_points_outside_the_picture_are_no_fault() -> None:
    body = np.random.default_rng(0).uniform(-1e4, 1e4, (18, 2))
    draw_pose_map([MapPerson(body, [np.full((21, 2), -5.0)], np.full((70, 2), 1e6))], (30, 40))
    assert np.asarray(draw_pose_map([], (3, 4))).shape == (3, 4, 3)
