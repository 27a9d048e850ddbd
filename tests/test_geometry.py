"""Geometry on boxes and keypoints. Every test that takes `make` runs once on numpy arrays and once on torch tensors."""

import math

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
    oks,
    pairwise_iou,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)

SIGMAS = np.array([0.026, 0.025, 0.107])
# Eighths of a pixel: fine enough, and no sizes whose square vanishes in rounding.
coordinate = st.integers(-8000, 8000).map(lambda eighths: eighths / 8)


@pytest.fixture(params=["numpy", "torch"])
def make(request):
    """A function from nested lists to an array of the kind under test, in double precision."""
    if request.param == "numpy":
        return lambda values: np.asarray(values, dtype=np.float64)
    return lambda values: torch.as_tensor(np.asarray(values, dtype=np.float64))


def pairwise_giou(a, b):
    return box_giou(a[:, None], b[None])


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
    with pytest.raises(ValueError, match=r"shape \(1, 3\); its last dimension must be 2: a point is x and y"):
        oks(make([[1, 2, 3]]), make([[1, 2]]), make([1]), make(1.0), [0.1])


def test_lists_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"Got list.*numpy\.asarray"):
        box_area([0, 0, 1, 1])


def pairwise_oks(predicted, labelled, visible, areas, sigmas):
    return oks(predicted[:, None], labelled[None], visible[None], areas[None], sigmas)


@pytest.mark.parametrize(
    ("why", "predicted", "visible", "expected"),
    [
        ("exact", [[1, 1], [4, 4], [8, 8]], [2, 2, 2], 1.0),
        ("one of three far away", [[1, 1], [4, 4], [900, 900]], [2, 2, 2], 2 / 3),
        ("the far one is not labelled", [[1, 1], [4, 4], [900, 900]], [2, 1, 0], 1.0),
        ("a point that was not found", [[1, 1], [4, 4], [math.nan, math.nan]], [1, 1, 1], 2 / 3),
        ("nothing labelled", [[1, 1], [4, 4], [8, 8]], [0, 0, 0], 0.0),
    ],
)
def test_oks_by_hand(make, why, predicted, visible, expected):
    labelled = make([[1, 1], [4, 4], [8, 8]])
    result = oks(make(predicted), labelled, make(visible), make(100.0), SIGMAS)
    assert float(result) == pytest.approx(expected, abs=1e-9), why


def test_a_distance_of_two_sigma_root_area_gives_exp_minus_a_half(make):
    """By the definition: d = 2 sigma sqrt(area) makes the exponent -1/2."""
    area, sigma = 400.0, 0.05
    distance = 2 * sigma * math.sqrt(area)
    result = oks(make([[distance, 0]]), make([[0, 0]]), make([1]), make(area), [sigma])
    assert float(result) == pytest.approx(math.exp(-0.5), abs=1e-12)


def test_oks_equals_pycocotools():
    coco = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed (extra dev)")
    generator = np.random.default_rng(0)
    predicted, labelled, visible, areas = _random_poses(generator, n=7, m=5)
    evaluation = coco.COCOeval(iouType="keypoints")
    evaluation.params.kpt_oks_sigmas = SIGMAS
    evaluation.params.maxDets = [100]
    evaluation._gts = {
        (1, 1): [
            {"keypoints": np.column_stack((p, v)).ravel().tolist(), "area": a, "bbox": [0, 0, 1, 1]}
            for p, v, a in zip(labelled, visible, areas, strict=True)
        ]
    }
    scores = np.linspace(1, 0.1, len(predicted))  # falling, as pycocotools sorts by score
    evaluation._dts = {
        (1, 1): [
            {"keypoints": np.column_stack((p, np.ones(3))).ravel().tolist(), "score": s}
            for p, s in zip(predicted, scores, strict=True)
        ]
    }
    expected = evaluation.computeOks(1, 1)
    assert expected.max() > 0.1  # else the comparison would show nothing
    np.testing.assert_allclose(pairwise_oks(predicted, labelled, visible, areas, SIGMAS), expected, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_oks_properties(seed, factor):
    predicted, labelled, visible, areas = _random_poses(np.random.default_rng(seed), n=3, m=4)
    result = pairwise_oks(predicted, labelled, visible, areas, SIGMAS)
    assert ((result >= 0) & (result <= 1)).all()
    scaled = pairwise_oks(predicted * factor, labelled * factor, visible, areas * factor**2, SIGMAS)
    np.testing.assert_allclose(scaled, result, atol=1e-6, err_msg="the size of the picture must not matter")
    order = [2, 0, 1]
    reordered = pairwise_oks(predicted[:, order], labelled[:, order], visible[:, order], areas, SIGMAS[order])
    np.testing.assert_allclose(reordered, result, atol=1e-12, err_msg="the order of keypoints must not matter")
    tensors = [torch.from_numpy(array) for array in (predicted, labelled, visible, areas)]
    np.testing.assert_allclose(pairwise_oks(*tensors, SIGMAS), result, atol=1e-12)


def test_no_poses_give_empty_tables(make):
    some, none = np.zeros((2, 3, 2)), np.zeros((0, 3, 2))
    assert pairwise_oks(none, some, np.ones((2, 3)), np.ones(2), SIGMAS).shape == (0, 2)
    assert pairwise_oks(some, none, np.ones((0, 3)), np.ones(0), SIGMAS).shape == (2, 0)


def test_gradients_pass_unlabelled_nan():
    predicted = torch.zeros(3, 2, requires_grad=True)
    labelled = torch.tensor([[1.0, 1.0], [math.nan, math.nan], [1.0, 0.0]])
    oks(predicted, labelled, torch.tensor([2, 0, 1]), torch.tensor(100.0), SIGMAS).backward()
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[1] == 0).all()
    assert (predicted.grad[0] > 0).all()


def test_sigmas_of_another_skeleton_are_refused(make):
    with pytest.raises(ValueError, match=r"shape \(3,\) for 2 keypoints.*skeleton\.sigmas"):
        oks(make([[0, 0]] * 2), make([[0, 0]] * 2), make([1, 1]), make(1.0), SIGMAS)


def _random_poses(generator, n, m):
    labelled = generator.uniform(0, 100, (m, 3, 2)).round()
    predicted = labelled[generator.integers(0, m, n)] + generator.normal(0, 4, (n, 3, 2))
    visible = generator.integers(0, 3, (m, 3))
    visible[:, 0] = 2  # pycocotools has a rule of its own for objects without any label
    return predicted, labelled, visible, generator.uniform(500, 5000, m)
