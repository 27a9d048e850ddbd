"""Joints of Human3.6M for lifting: their order, the derived ones, and tracks over frames."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from tests.results.pose_cases import tracked_people, two_dogs_and_a_box

from xpose.errors import ConfigError, XPoseWarning
from xpose.results.formats.human36m import JOINTS, joints_of, to_human36m
from xpose.results.formats.table import FORMATS

PEOPLE = tracked_people()


def test_tracks_over_frames() -> None:
    arrays = np.load(io.BytesIO(to_human36m(PEOPLE)))
    assert arrays["keypoints"].shape == (2, 3, 17, 3)
    assert arrays["track_ids"].tolist() == [7, 2]
    assert arrays["frames"].tolist() == [0, 1, 2]
    assert arrays["image_size"].tolist() == [180, 120]
    assert arrays["joints"].tolist() == list(JOINTS)
    first, second = arrays["keypoints"]
    np.testing.assert_allclose(second[1], joints_of(PEOPLE[1][0]), atol=1e-4)
    assert not first[1:].any(), "the first person is only in the first frame"
    assert not second[2].any()


def test_joints_and_the_derived_ones() -> None:
    pose = PEOPLE[0][0]
    joints = dict(zip(JOINTS, joints_of(pose), strict=True))
    assert next(iter(JOINTS)) == "pelvis"
    assert list(JOINTS)[7:11] == ["spine", "thorax", "nose", "head"]
    assert joints["right elbow"][:2] == pytest.approx(pose["right elbow"][:2])
    assert joints["right elbow"][2] == pytest.approx(pose["right elbow"].score)
    left, right = pose["left hip"], pose["right hip"]
    middle = ((left.x + right.x) / 2, (left.y + right.y) / 2)
    assert joints["pelvis"] == pytest.approx([*middle, min(left.score, right.score)])
    assert joints["spine"][:2] == pytest.approx((joints["pelvis"] + joints["thorax"])[:2] / 2)
    hidden = dataclasses.replace(PEOPLE[0], visibility=np.zeros_like(PEOPLE[0].visibility))
    assert not joints_of(hidden[0]).any(), "absent points are zero"


def test_what_is_no_person_is_said() -> None:
    with pytest.warns(XPoseWarning, match="3 objects without"):
        assert len(np.load(io.BytesIO(to_human36m([two_dogs_and_a_box()])))["keypoints"]) == 0
    with pytest.raises(ConfigError, match="different sizes"):
        to_human36m([PEOPLE[0], dataclasses.replace(PEOPLE[1], image_size=(5, 5))])
    ears = sum(int((poses.visibility[:, 3:5] > 0).sum()) for poses in PEOPLE)
    loss = FORMATS["human36m"].losses(PEOPLE)[0]
    assert loss == f"{ears} keypoints that it has no place for (right ear, left ear)"
