"""People, faces and hands are joined to people of 133 keypoints, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
from tests.results.pose_cases import tracked_people

from xpose.results import Poses
from xpose.results.whole_body import SKELETON, join_whole_body
from xpose.vocabulary import load_skeleton

WHOLE = load_skeleton(SKELETON).keypoints
BODY, FACE, HAND = (load_skeleton(name).keypoints for name in ("person", "face", "hand"))
HEADS = {"nose": (0, 0), "left eye": (4, -4), "right eye": (-4, -4), "left ear": (9, -2), "right ear": (-9, -2)}


def part(category: str, names: tuple[str, ...], centre: tuple[float, float], size: float, seed: int) -> Poses:
    """An object with its keypoints around a place, the first of them in it."""
    rng = np.random.default_rng(seed)
    xy = np.add(centre, rng.uniform(-size / 2, size / 2, (1, len(names), 2)))
    xy[0, 0] = centre
    return Poses(
        boxes=[[*np.subtract(centre, size / 2), *np.add(centre, size / 2)]],
        scores=[0.25 + seed / 100],
        categories=(category,),
        xy=xy,
        keypoint_scores=rng.uniform(0.5, 1, (1, len(names))),
        visibility=np.full((1, len(names)), 2),
        keypoint_names=(names,),
        image_size=(300, 400),
    )


def person(left: float, seed: int) -> Poses:
    """A person whose head is at (left + 50, 40), and whose wrists are 50 to the right and left of it at 150."""
    poses = part("person", BODY, (left + 50, 150), 200, seed)
    xy = poses.xy.copy()
    places = {name: (left + 50 + x, 40 + y) for name, (x, y) in HEADS.items()}
    places |= {"left wrist": (left + 100, 150), "right wrist": (left, 150)}
    for name, place in places.items():
        xy[0, BODY.index(name)] = place
    return Poses(**{**vars(poses), "xy": xy})


PARTS = [
    person(20, 1),
    person(220, 2),
    part("face", FACE, (70, 42), 30, 3),
    part("face", FACE, (272, 39), 30, 4),
    part("hand", HAND, (118, 152), 30, 5),  # the left hand of the first person
    part("hand", HAND, (222, 148), 30, 6),  # the right hand of the second one
    part("hand", HAND, (20, 290), 20, 7),  # nobody's
]


@pytest.mark.parametrize("order", [range(7), [6, 3, 1, 5, 0, 2, 4]])
def test_parts_belong_to_the_person_they_are_at(order) -> None:
    joined = join_whole_body(Poses.concatenate([PARTS[number] for number in order]), Poses)
    first, second = sorted(joined, key=lambda pose: pose.box[0])
    assert first.names == second.names == WHOLE
    for pose, body, face, hand, side in ((first, 0, 2, 4, "left"), (second, 1, 3, 5, "right")):
        assert pose.score == pytest.approx(PARTS[body].scores[0])
        for source, names in ((body, BODY), (face, FACE), (hand, HAND)):
            for name, point in PARTS[source][0].points.items():
                whole = name if names is not HAND else f"{side} hand wrist" if name == "wrist" else f"{side} {name}"
                assert pose[whole] == point
        other = "right" if side == "left" else "left"
        assert {name for name, point in pose.points.items() if not point.v} == {
            *(name for name in WHOLE[17:23]),
            f"{other} hand wrist",
            *(f"{other} {name}" for name in HAND[1:]),
        }


def test_a_face_alone_is_a_person_and_an_empty_picture_stays_empty() -> None:
    alone = join_whole_body(PARTS[2], Poses)
    assert (len(alone), int((alone.visibility > 0).sum())) == (1, 68)
    assert len(join_whole_body(Poses.empty((5, 5)), Poses)) == 0
    tentative = Poses(**{**vars(PARTS[2]), "tentative": [True]})
    assert len(join_whole_body(tentative, Poses)) == 0


def test_whole_people_have_every_list_of_openpose() -> None:
    joined = join_whole_body(Poses.concatenate(PARTS), Poses)
    for entry in joined.to_openpose("body_25")["people"]:
        assert len(entry["pose_keypoints_2d"]) == 75
        assert len(entry["face_keypoints_2d"]) == 210
        assert len(entry["hand_left_keypoints_2d"]) == len(entry["hand_right_keypoints_2d"]) == 63


def test_the_pose_map_has_the_parts_of_the_people() -> None:
    together = Poses.concatenate(PARTS)
    image = together.pose_map()
    assert image.size == (400, 300)
    np.testing.assert_array_equal(image, join_whole_body(together, Poses).pose_map())
    assert PARTS[6].pose_map().getbbox() is not None, "a hand alone is drawn"
    assert tracked_people()[2].pose_map().getbbox() is None
