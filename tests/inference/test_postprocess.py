"""Thresholds and duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from xpose.errors import ConfigError
from xpose.inference.encoded import EncodedClass
from xpose.inference.postprocess import sigmas_of, suppress_boxes, suppress_poses, thresholds_for
from xpose.prompts import TextPrompt
from xpose.vocabulary import list_skeletons


@pytest.mark.parametrize(
    ("asked", "shipped", "expected"),
    [
        pytest.param(None, {}, [0.1, 0.1], id="the released rule"),
        pytest.param(None, {"dog": 0.4, "": 0.2}, [0.4, 0.2], id="shipped with the weights"),
        pytest.param(0.3, {"dog": 0.4}, [0.3, 0.3], id="one number for all"),
        pytest.param({"cat": 0.6}, {"dog": 0.4}, [0.4, 0.6], id="by class, over the shipped ones"),
        pytest.param(0.0, {}, [0.0, 0.0], id="everything"),
    ],
)
def test_thresholds(asked: object, shipped: dict, expected: list) -> None:
    np.testing.assert_allclose(thresholds_for(["dog", "cat"], asked, shipped), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [1.5, -0.1, "high", True, float("nan")])
def test_thresholds_out_of_range(bad: object) -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        thresholds_for(["dog"], {"dog": bad}, {})  # type: ignore[dict-item]


def test_boxes_that_overlap() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 20, 30, 30], [0, 0, 10, 5]], dtype=float)
    assert suppress_boxes(boxes, np.array([1, 0, 2, 3]), 0.9).tolist() == [1, 2, 3]
    assert suppress_boxes(boxes, np.array([1, 0, 2, 3]), 0.4).tolist() == [1, 2]
    assert suppress_boxes(boxes, np.array([], dtype=int), 0.9).tolist() == []


def test_poses_that_are_the_same() -> None:
    """Two people who embrace have one box but two poses; one person with two boxes has one pose."""
    boxes = np.array([[0, 0, 100, 100]] * 3, dtype=float)
    one = np.array([[20.0, 20], [30, 80], [np.nan, np.nan]])
    other = np.array([[80.0, 20], [70, 80], [np.nan, np.nan]])
    xy = np.stack((one, one + 0.5, other))
    scores, sigmas = np.ones((3, 3)), np.full((3, 3), 0.05)
    assert suppress_poses(xy, scores, boxes, np.array([0, 1, 2]), sigmas, 0.9).tolist() == [0, 2]
    nothing = np.full_like(xy, np.nan)
    assert suppress_poses(nothing, scores, boxes, np.array([0, 1, 2]), sigmas, 0.9).tolist() == [0, 1, 2]


def test_pose_similarity_is_the_coco_one() -> None:
    """With full confidence the matrix is OKS as pycocotools has it."""
    from xpose.geometry import oks

    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 50, (2, 5, 2))
    sigmas = rng.uniform(0.03, 0.1, 5)
    expected = float(oks(b, a, np.ones(5, bool), np.float64(2500.0), sigmas))
    boxes = np.array([[0, 0, 50, 50]] * 2, dtype=float)
    kept = [
        suppress_poses(np.stack((a, b)), np.ones((2, 5)), boxes, np.array([0, 1]), np.stack((sigmas, sigmas)), limit)
        for limit in (expected * 0.999, min(expected * 1.001, 1.0))
    ]
    assert [len(k) for k in kept] == [1, 2]


def test_sigmas_are_those_of_the_skeleton_files() -> None:
    for skeleton in list_skeletons():
        names = TextPrompt("object", skeleton=skeleton.name).resolved
        (row,) = sigmas_of([EncodedClass(names, np.zeros(2), np.zeros((len(names.names), 2)))], len(names.names))
        assert row.tolist() == [skeleton.point(name).sigma for name in names.canonical]
