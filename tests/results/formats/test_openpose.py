"""OpenPose's JSON: people by name, faces, hands and animals."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.errors import ConfigError, XPoseWarning
from xpose.results import Poses
from xpose.results.formats.openpose import BODY_18, BODY_25, encode
from xpose.vocabulary import load_skeleton


def one(skeleton: str, category: str, seed: int = 0, **changes: object) -> Poses:
    """One object with all points of a skeleton, all of them seen."""
    names = load_skeleton(skeleton).keypoints
    rng = np.random.default_rng(seed)
    values: dict = {
        "boxes": [[0, 0, 300, 200]],
        "scores": [0.9],
        "categories": (category,),
        "xy": rng.uniform(0, 200, (1, len(names), 2)).round(1),
        "keypoint_scores": rng.uniform(0.5, 1, (1, len(names))),
        "visibility": np.full((1, len(names)), 2),
        "keypoint_names": (names,),
        "image_size": (200, 300),
    }
    return Poses(**(values | changes))


def triples(flat):
    return np.array(flat).reshape(-1, 3)


def test_a_person_in_openpose_order_with_the_neck_between_the_shoulders():
    person = one("person", "person")
    found = person.to_openpose()
    assert (found["canvas_width"], found["canvas_height"]) == (300, 200)
    (entry,) = found["people"]
    body = triples(entry["pose_keypoints_2d"])
    assert len(body) == 18
    pose = person[0]
    for name, row in zip(BODY_18, body, strict=True):
        if name != "neck":
            assert row == pytest.approx(pose[name][:3], abs=6e-3)
    shoulders = pose["left shoulder"], pose["right shoulder"]
    assert body[1] == pytest.approx(
        [*np.mean([p[:2] for p in shoulders], 0), min(p.score for p in shoulders)], abs=0.01
    )
    assert entry["face_keypoints_2d"] == entry["hand_left_keypoints_2d"] == entry["hand_right_keypoints_2d"] == []


def test_the_orders_are_openposes_own():
    """As OpenPose's documentation numbers them."""
    assert (BODY_18[2], BODY_18[5], BODY_18[8], BODY_18[14], BODY_18[17]) == (
        *("right shoulder", "left shoulder", "right hip", "right eye", "left ear"),
    )
    assert len(BODY_25) == 25
    assert (BODY_25[8], BODY_25[9], BODY_25[15], BODY_25[18], BODY_25[19], BODY_25[22]) == (
        *("middle of the hips", "right hip", "right eye", "left ear", "left big toe", "right big toe"),
    )


def test_a_missing_point_is_three_zeros_and_takes_the_neck_with_it():
    visibility = np.full((1, 17), 2)
    visibility[0, load_skeleton("person").index("left shoulder")] = 0
    body = triples(one("person", "person", visibility=visibility).to_openpose()["people"][0]["pose_keypoints_2d"])
    assert body[BODY_18.index("left shoulder")].tolist() == [0, 0, 0]
    assert body[BODY_18.index("neck")].tolist() == [0, 0, 0]


def test_a_whole_body_fills_all_lists():
    (entry,) = one("person_wholebody", "person").to_openpose("body_25")["people"]
    lengths = {name: len(values) // 3 for name, values in entry.items() if name != "person_id"}
    assert lengths == {
        "pose_keypoints_2d": 25,
        "face_keypoints_2d": 70,
        "hand_left_keypoints_2d": 21,
        "hand_right_keypoints_2d": 21,
    }
    body = triples(entry["pose_keypoints_2d"])
    assert (body[:, 2] > 0).all(), "toes and heels too"
    assert (triples(entry["face_keypoints_2d"])[68:] == 0).all(), "we have no pupils"


@pytest.mark.parametrize(
    ("skeleton", "category", "filled"),
    [
        ("face", "face", "face_keypoints_2d"),
        ("hand", "left hand", "hand_left_keypoints_2d"),
        ("hand", "person's right hand", "hand_right_keypoints_2d"),
    ],
)
def test_a_part_alone(skeleton, category, filled):
    (entry,) = one(skeleton, category).to_openpose()["people"]
    assert [name for name, values in entry.items() if values and name != "person_id"] == [filled]


@pytest.mark.parametrize("skeleton", ["animal", "ap10k"])
def test_animals_stand_in_the_order_of_ap10k(skeleton):
    animal = one(skeleton, "dog")
    found = animal.to_openpose()
    assert found["people"] == []
    order = load_skeleton("ap10k").keypoints
    for name, row in zip(order, found["animals"][0], strict=True):
        assert row == pytest.approx(animal[0][name][:3], abs=6e-3)


@pytest.mark.parametrize(("skeleton", "category"), [("hand", "hand"), ("car", "car"), ("animal_face", "cat face")])
def test_what_has_no_place_is_left_out_with_a_warning(skeleton, category):
    with pytest.warns(XPoseWarning, match=f'1 of 1 objects \\("{category}"\\) are omitted'):
        assert one(skeleton, category).to_openpose()["people"] == []


def test_one_warning_for_several_pictures():
    with pytest.warns(XPoseWarning, match=r'2 of 3 objects \("car"\) are omitted') as caught:
        contents = encode([one("car", "car"), one("person", "person"), one("hand", "hand")])
    assert len(caught) == 1
    assert [len(content["people"]) for content in contents] == [0, 1, 0]


def test_a_person_with_other_spellings_and_no_scores():
    names = tuple(name.upper().replace(" ", "_") for name in load_skeleton("person").keypoints)
    canonical = load_skeleton("person").keypoints
    person = one(
        "person",
        "human",
        keypoint_names=(names,),
        canonical_names=(canonical,),
        keypoint_scores=np.full((1, 17), np.nan),
    )
    body = triples(person.to_openpose()["people"][0]["pose_keypoints_2d"])
    assert (body[:, 2] == 1).all()
    faint = one("person", "human", keypoint_scores=np.zeros((1, 17))).to_openpose()["people"][0]["pose_keypoints_2d"]
    assert (triples(faint)[:, 2] > 0).all(), "0 would say that the point is not there"


@given(any_poses())
def test_any_result_gives_strict_json(poses):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XPoseWarning)
        json.dumps(poses.to_openpose(), allow_nan=False)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ConfigError, match="layout is 'body_21'"):
        two_dogs_and_a_box().to_openpose("body_21")
