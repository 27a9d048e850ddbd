import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xpose.geometry import oks, scale_keypoints

SIGMAS = np.array([0.026, 0.025, 0.107])


def pairwise_oks(predicted, labelled, visible, areas, sigmas):
    return oks(predicted[:, None], labelled[None], visible[None], areas[None], sigmas)


def test_scale(make):
    assert scale_keypoints(make([[0.5, 0.25]]), 640, 480).tolist() == [[320, 120]]
    with pytest.raises(ValueError, match=r"shape \(1, 3\); its last dimension must be 2: a point is x and y"):
        scale_keypoints(make([[1, 2, 3]]), 2, 2)


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
def test_by_hand(make, why, predicted, visible, expected):
    labelled = make([[1, 1], [4, 4], [8, 8]])
    result = oks(make(predicted), labelled, make(visible), make(100.0), SIGMAS)
    assert float(result) == pytest.approx(expected, abs=1e-9), why


def test_a_distance_of_two_sigma_root_area_gives_exp_minus_a_half(make):
    """By the definition: d = 2 sigma sqrt(area) makes the exponent -1/2."""
    area, sigma = 400.0, 0.05
    distance = 2 * sigma * math.sqrt(area)
    result = oks(make([[distance, 0]]), make([[0, 0]]), make([1]), make(area), [sigma])
    assert float(result) == pytest.approx(math.exp(-0.5), abs=1e-12)


def test_pairwise_equals_pycocotools():
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
def test_properties(seed, factor):
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
