"""supervision's objects: with a stand-in of either of its signatures, and with the real package where it is there."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tests.results.pose_cases import two_dogs_and_a_box

from xpose.errors import ConfigError, MissingExtraError
from xpose.results import Poses

DOGS = two_dogs_and_a_box()


class OldKeyPoints:
    """Fields as before 0.29."""

    def __init__(self, xy, class_id=None, confidence=None, data=None):
        self.values = SimpleNamespace(xy=xy, class_id=class_id, confidence=confidence, data=data)


class NewKeyPoints:
    """Fields since 0.29; the old name is still taken, with a warning."""

    def __init__(
        self,
        xy,
        class_id=None,
        keypoint_confidence=None,
        detection_confidence=None,
        visible=None,
        data=None,
        *,
        confidence=None,
    ):
        assert confidence is None
        self.values = SimpleNamespace(
            xy=xy,
            class_id=class_id,
            confidence=keypoint_confidence,
            scores=detection_confidence,
            visible=visible,
            data=data,
        )


@pytest.mark.parametrize("key_points", [OldKeyPoints, NewKeyPoints])
def test_points_that_are_not_there_stand_at_zero(key_points, monkeypatch):
    stand_in = ModuleType("supervision")
    stand_in.KeyPoints = key_points
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    found = DOGS.to_supervision().values
    assert found.xy.dtype == np.float32
    assert found.xy[1].tolist() == [[5, 5], [9, 9], [0, 0]]
    assert found.xy[2].tolist() == [[0, 0]] * 3
    assert found.class_id.tolist() == [0, 0, 1]
    assert found.data["class_name"].tolist() == ["dog", "dog", "hand"]
    assert np.isfinite(found.confidence).all()
    if key_points is NewKeyPoints:
        assert found.visible.tolist() == [[True] * 3, [True, True, False], [False] * 3]
        assert found.scores.tolist() == DOGS.scores.tolist()


def test_the_message_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"needs the package.*pip install supervision"):
        DOGS.to_supervision()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="kind is 'masks'"):
        DOGS.to_supervision("masks")


@pytest.mark.skipif(importlib.util.find_spec("supervision") is None, reason="supervision is not installed")
@pytest.mark.parametrize("poses", [DOGS, DOGS[:1], Poses.empty((3, 4)), DOGS["hand"]])
def test_the_real_package_takes_it(poses):
    import supervision

    points = poses.to_supervision()
    assert isinstance(points, supervision.KeyPoints)
    assert len(points) == len(poses)
    boxes = poses.to_supervision("boxes")
    assert isinstance(boxes, supervision.Detections)
    np.testing.assert_array_equal(boxes.xyxy, poses.boxes)
    if len(poses):
        picture = np.zeros((100, 200, 3), np.uint8)
        drawn = supervision.VertexAnnotator(radius=3).annotate(picture.copy(), points)
        assert drawn.any() == bool((poses.visibility > 0).any())
