import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xpose.geometry import (
    box_area,
    box_giou,
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    flip_boxes,
    pairwise_iou,
    scale_boxes,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)


def pairwise_giou(a, b):
    return box_giou(a[:, None], b[None])


# Eighths of a pixel: fine enough, and no sizes whose square vanishes in rounding.
coordinate = st.integers(-8000, 8000).map(lambda eighths: eighths / 8)


@st.composite
def corner_boxes(draw):
    corners = draw(arrays.arrays(np.float64, (draw(st.integers(0, 6)), 2, 2), elements=coordinate))
    return np.concatenate((corners.min(1), corners.max(1)), -1)


@pytest.mark.parametrize(
    ("convert", "given_box", "expected"),
    [
        (cxcywh_to_xyxy, [5, 6, 4, 2], [3, 5, 7, 7]),
        (xyxy_to_cxcywh, [3, 5, 7, 7], [5, 6, 4, 2]),
        (xywh_to_xyxy, [3, 5, 4, 2], [3, 5, 7, 7]),
        (xyxy_to_xywh, [3, 5, 7, 7], [3, 5, 4, 2]),
    ],
)
def test_formats_by_hand(make, convert, given_box, expected):
    result = convert(make([given_box]))
    assert type(result) is type(make([0]))
    assert result.tolist() == [expected]


@given(corner_boxes())
def test_formats_there_and_back(boxes):
    np.testing.assert_allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes, atol=1e-9)
    np.testing.assert_allclose(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes, atol=1e-9)


def test_scale_takes_the_unit_square_to_the_picture_and_back(make):
    unit = make([[0.5, 0.25, 1.0, 0.5]])
    pixels = scale_boxes(unit, 640, 480)
    assert pixels.tolist() == [[320, 120, 640, 240]]
    np.testing.assert_allclose(scale_boxes(pixels, 1 / 640, 1 / 480), unit)


def test_clip_keeps_inside_and_flattens_outside(make):
    boxes = make([[-5, -5, 5, 5], [1, 2, 3, 4], [20, 3, 30, 4]])
    assert clip_boxes(boxes, 10, 8).tolist() == [[0, 0, 5, 5], [1, 2, 3, 4], [10, 3, 10, 4]]


def test_flip_by_hand(make):
    assert flip_boxes(make([[1, 2, 4, 6]]), 10).tolist() == [[6, 2, 9, 6]]


@given(corner_boxes(), st.floats(1, 4000, width=32))
def test_flip_twice_is_identity_and_keeps_order_and_area(boxes, width):
    flipped = flip_boxes(boxes, width)
    np.testing.assert_allclose(flip_boxes(flipped, width), boxes, atol=1e-9)
    np.testing.assert_allclose(box_area(flipped), box_area(boxes), rtol=1e-6, atol=1e-6)
    assert (flipped[:, 2] >= flipped[:, 0]).all()


@pytest.mark.parametrize(
    ("why", "a", "b", "iou", "giou"),
    [
        ("the same box", [0, 0, 2, 2], [0, 0, 2, 2], 1, 1),
        ("half beside each other: 2 of 6, hull 6", [0, 0, 2, 2], [1, 0, 3, 2], 2 / 6, 2 / 6),
        ("corner overlap: 1 of 7, hull 9", [0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, 1 / 7 - 2 / 9),
        ("apart: hull 4 of which 2 empty", [0, 0, 1, 1], [3, 0, 4, 1], 0, -0.5),
        ("touching along an edge", [0, 0, 1, 1], [1, 0, 2, 1], 0, 0),
        ("a point on itself", [1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
        ("a box and an empty one inside", [0, 0, 2, 2], [1, 1, 1, 1], 0, 0),
        ("inside out counts as empty", [0, 0, 2, 2], [2, 2, 0, 0], 0, 0),
    ],
)
def test_overlap_by_hand(make, why, a, b, iou, giou):
    assert float(box_iou(make(a), make(b))) == pytest.approx(iou), why
    assert float(box_giou(make(a), make(b))) == pytest.approx(giou), why


@given(corner_boxes(), corner_boxes())
def test_overlap_properties(a, b):
    iou, giou = pairwise_iou(a, b), pairwise_giou(a, b)
    assert iou.shape == giou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all()
    assert ((giou >= -1 - 1e-9) & (giou <= iou + 1e-9)).all()
    np.testing.assert_allclose(iou, pairwise_iou(b, a).T, atol=1e-12)
    moved = np.array([10.0, -4.0, 10.0, -4.0])
    np.testing.assert_allclose(pairwise_giou(a * 2 + moved, b * 2 + moved), giou, atol=1e-5)


@given(corner_boxes(), corner_boxes())
def test_numpy_and_torch_agree(a, b):
    np.testing.assert_allclose(pairwise_giou(torch.from_numpy(a), torch.from_numpy(b)), pairwise_giou(a, b), atol=1e-12)


def test_iou_equals_pycocotools():
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed (extra dev)")
    generator = np.random.default_rng(3)
    a, b = (xywh_to_xyxy(generator.uniform(0, 50, (20, 4))) for _ in range(2))
    expected = mask.iou(xyxy_to_xywh(a), xyxy_to_xywh(b), [0] * len(b))
    np.testing.assert_allclose(pairwise_iou(a, b), expected, atol=1e-12)


def test_gradients_stay_finite_for_empty_boxes():
    boxes = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]], requires_grad=True)
    pairwise_giou(boxes, boxes.detach()).sum().backward()
    assert boxes.grad.isfinite().all()


def test_wrong_shape_says_which_rule_is_broken(make):
    with pytest.raises(ValueError, match=r"shape \(2, 3\); its last dimension must be 4"):
        box_area(make([[1, 2, 3], [4, 5, 6]]))


def test_lists_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"Got list.*numpy\.asarray"):
        box_area([0, 0, 1, 1])
