import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xpose.geometry import (
    box_of_keypoints,
    flip_keypoints,
    flip_values,
    points_inside,
    scale_keypoints,
)

SWAP_EYES = [0, 2, 1]  # nose, left eye, right eye

points_of_three = arrays.arrays(np.float64, (4, 3, 2), elements=st.floats(-1000, 1000, width=32))


def test_scale(make):
    assert scale_keypoints(make([[0.5, 0.25]]), 640, 480).tolist() == [[320, 120]]


def test_flip_mirrors_and_trades_names(make):
    nose, left, right = [5, 1], [7, 2], [4, 3]
    flipped = flip_keypoints(make([nose, left, right]), 10, SWAP_EYES)
    assert flipped.tolist() == [[5, 1], [6, 3], [3, 2]]
    assert flip_values(make([0.1, 0.2, 0.3]), SWAP_EYES).tolist() == [0.1, 0.3, 0.2]


@given(points_of_three, st.floats(1, 4000, width=32))
def test_flip_twice_is_identity(points, width):
    twice = flip_keypoints(flip_keypoints(points, width, SWAP_EYES), width, SWAP_EYES)
    np.testing.assert_allclose(twice, points, atol=1e-9)


@pytest.mark.parametrize("permutation", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_a_permutation_that_does_not_fit_is_refused(make, permutation):
    with pytest.raises(ValueError, match=r"does not fit 3 keypoints"):
        flip_keypoints(make([[0, 0]] * 3), 10, permutation)


@pytest.mark.parametrize(
    ("why", "visible", "margin", "expected"),
    [
        ("all points", None, 0, [1, 2, 5, 10]),
        ("only the visible ones", [2, 1, 0], 0, [1, 2, 3, 4]),
        ("a quarter of its size on every side", None, 0.25, [0, 0, 6, 12]),
        ("one point is an empty box", [0, 0, 2], 0.5, [5, 10, 5, 10]),
    ],
)
def test_box_of_keypoints_by_hand(make, why, visible, margin, expected):
    points = make([[1, 4], [3, 2], [5, 10]])
    box = box_of_keypoints(points, None if visible is None else make(visible), margin)
    assert box.tolist() == expected, why


def test_box_of_nothing_is_nan_and_nan_points_do_not_count(make):
    nan = float("nan")
    boxes = box_of_keypoints(make([[[1, 2], [nan, 9], [3, 4]], [[nan, nan]] * 3]))
    assert boxes[0].tolist() == [1, 2, 3, 4]
    assert bool((boxes[1] != boxes[1]).all())


def test_box_of_whole_number_points():
    assert box_of_keypoints(np.array([[1, 2], [3, 5]]), margin=0.5).tolist() == [0, 0.5, 4, 6.5]
    assert box_of_keypoints(torch.tensor([[1, 2], [3, 5]])).tolist() == [1, 2, 3, 5]


@given(points_of_three)
def test_the_box_of_points_holds_them(points):
    assert points_inside(points, box_of_keypoints(points)).all()


def test_points_inside_counts_edges_and_refuses_nan(make):
    points = make([[0, 0], [2, 3], [2.1, 1], [float("nan"), 1]])
    assert points_inside(points, make([0, 0, 2, 3])).tolist() == [True, True, False, False]


def test_wrong_shape_says_which_rule_is_broken(make):
    with pytest.raises(ValueError, match=r"shape \(1, 3\); its last dimension must be 2: a point is x and y"):
        scale_keypoints(make([[1, 2, 3]]), 2, 2)
