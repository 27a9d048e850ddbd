"""The result object: what it accepts, how it is indexed, filtered and joined."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose import Poses
from xpose.errors import ConfigError, DataError, VocabularyError, XPoseError
from xpose.results import Pose
from xpose.results.formats import coco
from xpose.results.formats.csv import to_csv

NAN = float("nan")
DOGS = two_dogs_and_a_box()
TWO_POINTS = {"xy": np.zeros((3, 2, 2)), "keypoint_scores": np.zeros((3, 2)), "visibility": np.zeros((3, 2))}


@pytest.mark.parametrize(
    ("why", "changes", "expected"),
    [
        ("a score too few", {"scores": [0.9, 0.5]}, "boxes has shape (3, 4)"),
        ("a score above 1", {"scores": [1.5, 0.5, 0.25]}, "scores holds 1.5. Its values must lie in 0..1"),
        ("no score", {"scores": [NAN, 0.5, 0.25]}, "scores holds nan"),
        ("scores in a table", {"scores": [[0.9, 0.5, 0.25]]}, "scores has shape (1, 3)"),
        ("scores of text", {"scores": ["high", "low", "low"]}, "must be an array of numbers"),
        ("a box by centre and size", {"boxes": [[60, 45, 10, 5]] * 3}, "Box 0 is [60.0, 45.0, 10.0, 5.0]"),
        ("an endless box", {"boxes": [[0, 0, np.inf, 5]] * 3}, "boxes holds inf. Its values must be finite"),
        ("boxes of three numbers", {"boxes": np.zeros((3, 3))}, "it must be (3, 4)"),
        ("one category for all", {"categories": "dog"}, "categories has 1 entries for 3 poses"),
        ("a category of another type", {"categories": ("dog", 3, "hand")}, "one text for each pose"),
        ("less room than names", TWO_POINTS, "room for 2 keypoints, and a pose has 3 names"),
        ("three coordinates", {"xy": np.zeros((3, 3, 3))}, "xy has shape (3, 3, 3)"),
        ("infinite points", {"xy": np.full((3, 3, 2), np.inf)}, "xy holds inf. Its values must be finite"),
        ("points beyond the names", {"xy": np.zeros((3, 3, 2))}, "values beyond a pose's own names"),
        ("a visible point nowhere", {"xy": np.full((3, 3, 2), NAN)}, "NaN coordinates has visibility above 0"),
        ("visible beyond the names", {"visibility": np.ones((3, 3))}, "NaN coordinates has visibility above 0"),
        ("v of 3", {"visibility": np.full((3, 3), 3)}, "visibility holds 3. Its values must be 0"),
        ("visibility of one pose", {"visibility": np.zeros((1, 3))}, "visibility has shape (1, 3)"),
        ("confidence in percent", {"keypoint_scores": np.full((3, 3), 90)}, "keypoint_scores holds 90"),
        ("names of two poses", {"keypoint_names": (("a",), ("b",))}, "keypoint_names has 2 entries for 3 poses"),
        ("a name twice", {"keypoint_names": (("a", "a"), (), ()), "edges": ()}, 'has the keypoint "a" twice'),
        ("no canonical name", {"canonical_names": ((), (), ())}, "3 keypoint_names and 0 canonical_names"),
        ("an edge to nowhere", {"edges": ((("nose", "ear"),), (), ())}, "Pose 0 has the edge ('nose', 'ear')"),
        ("an edge of one", {"edges": ((("nose",),), (), ())}, "Pose 0 has the edge"),
        ("edges of one pose", {"edges": ((),)}, "edges has 1 entries for 3 poses"),
        ("no height", {"image_size": (0, 200)}, "image_size is (0, 200)"),
        ("a size of three", {"image_size": (100, 200, 3)}, "Take image.shape[:2]"),
    ],
)
def test_what_does_not_fit_is_refused(why, changes, expected):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared below
        two_dogs_and_a_box(**changes)
    assert expected in str(refused.value), why
    assert str(refused.value).count(". ") >= 2, "value, rule, way out"


def test_types_are_what_the_documentation_says():
    poses = two_dogs_and_a_box(visibility=np.array([[2, 1, 2], [2, 2, 0], [0, 0, 0]], np.int64), image_size=[100, 200])
    assert [poses.boxes.dtype, poses.scores.dtype, poses.xy.dtype, poses.keypoint_scores.dtype] == [np.float32] * 4
    assert poses.visibility.dtype == np.uint8
    assert poses.image_size == (100, 200)
    assert poses.keypoint_names[2] == ()
    assert repr(poses) == "<Poses: 2 dog, 1 hand; 200 x 100 pixels>"


def test_a_result_does_not_change():
    boxes = np.zeros((1, 4))
    one = DOGS[:1]
    with pytest.raises(ValueError, match="read-only"):
        one.boxes[0, 0] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.scores = boxes
    mine = Poses(**{f.name: getattr(one, f.name) for f in dataclasses.fields(one)} | {"boxes": boxes})
    boxes[0] = 5
    assert (mine.boxes == 0).all()


def test_names_default_to_those_of_the_prompt():
    poses = two_dogs_and_a_box(canonical_names=(), edges=())
    assert poses.canonical_names == poses.keypoint_names
    assert poses.edges == ((), (), ())


def test_one_pose_is_read_by_name():
    dog, _, hand = DOGS
    assert (dog.category, dog.box.tolist(), round(dog.score, 3)) == ("dog", [10, 20, 110, 70], 0.9)
    assert list(dog.points) == ["left eye", "nose", "tail"]
    x, y, score, v = dog["nose"]
    assert (round(x, 3), y, round(score, 3), v) == (30.126, 40.0, 0.8, 1)
    assert dog["tail tip"] == dog["tail"] == dog["TAIL"] == dog.get("Tail"), "canonical names and other spellings work"
    assert dog.sides == ("left", "middle", "middle")
    assert dog.area == 5000
    assert "tail" in dog
    assert "beak" not in dog
    assert dog.get("beak") is None
    assert hand.points == {}
    with pytest.raises(VocabularyError, match=r'"nos".*Did you mean "nose"'):
        dog["nos"]
    with pytest.raises(VocabularyError, match=r'"nosee".*Did you mean "nose"'):
        dog.points["nosee"]
    assert dog.points["TAIL"] == dog["tail"]
    assert list(dog.points) == list(dog.names)


def same_pose(one: Pose, other: Pose) -> None:
    for field in dataclasses.fields(Pose):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_number_gives_the_pose_that_iterating_gives():
    assert [type(pose) for pose in DOGS] == [Pose] * 3
    for row, pose in enumerate(DOGS):
        for key in (row, row - 3, np.int64(row)):
            same_pose(DOGS[key], pose)
    assert DOGS[1].xy.tolist() == DOGS.xy[1, : len(DOGS.keypoint_names[1])].tolist()


@pytest.mark.parametrize(
    ("why", "key", "expected"),
    [
        ("a slice", slice(1, None), [1, 2]),
        ("backwards", slice(None, None, -1), [2, 1, 0]),
        ("a list, in its order", [2, 0], [2, 0]),
        ("an array, twice the same", np.array([1, 1]), [1, 1]),
        ("nothing", [], []),
        ("a mask", np.array([True, False, True]), [0, 2]),
        ("a mask as a list", [False, False, True], [2]),
        ("a category", "dog", [0, 1]),
        ("a category that is not there", "cat", []),
    ],
)
def test_an_index_keeps_everything_aligned(why, key, expected):
    part = DOGS[key]
    assert part.scores.tolist() == DOGS.scores[expected].tolist(), why
    for one, row in zip(part, expected, strict=True):
        same_pose(one, DOGS[row])
    assert part.image_size == DOGS.image_size
    assert part.source == "dogs.jpg"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (3, "cannot index these 3 poses: index 3 is out of bounds"),
        ([0, -4], "index -4 is out of bounds"),
        ([True, False], "boolean index did not match"),
        (True, "cannot index"),
        (1.0, "A float cannot index"),
        ([0.5], "A list cannot index"),
        ([[0], [1]], "A list cannot index"),
        ([[0], [1, 2]], "A list cannot index"),
        (None, "cannot index"),
    ],
)
def test_a_wrong_index_says_so(key, expected):
    with pytest.raises(IndexError) as refused:
        DOGS[key]
    assert expected in str(refused.value)


def test_tentative_poses_are_told_apart_everywhere():
    assert DOGS.tentative.tolist() == [False] * 3
    poses = two_dogs_and_a_box(tentative=[False, True, True])
    assert [pose.tentative for pose in poses] == [False, True, True]
    assert poses[~poses.tentative].scores.tolist() == [pytest.approx(0.9)]
    assert Poses.concatenate([poses["hand"], DOGS[:1]]).tentative.tolist() == [False, True]
    assert [row.get("tentative", False) for row in poses.to_dict()["poses"]] == [False, True, True]
    assert [row.get("tentative", False) for row in coco.instances([poses])["annotations"]] == [False, True, True]
    for wrong in ([True], [0.0, 1.0, 0.5]):
        with pytest.raises(ValueError, match=r"tentative is .* bool for each of the 3 poses"):
            two_dogs_and_a_box(tentative=wrong)


def test_track_ids_are_kept_everywhere():
    assert DOGS.track_ids is None
    assert DOGS[0].track_id is None
    poses = two_dogs_and_a_box(track_ids=[7, 3, 9])
    assert [pose.track_id for pose in poses] == [7, 3, 9]
    assert poses[[2, 0]].track_ids.tolist() == [9, 7]
    assert Poses.from_json(poses.to_json()).track_ids.tolist() == [7, 3, 9]
    assert [row["track_id"] for row in coco.instances([poses])["annotations"]] == [7, 3, 9]
    assert [line.rpartition(",")[2] for line in to_csv([poses]).splitlines()] == ["track_id", *"777", *"333", "9"]
    assert Poses.concatenate([poses["hand"], poses["dog"]]).track_ids.tolist() == [7, 3, 9]
    assert Poses.concatenate([poses["hand"], DOGS["dog"]]).track_ids is None
    for wrong in ([1, 2], [1.5, 2, 3]):
        with pytest.raises(ValueError, match=r"track_ids is .* whole number for each of the 3 poses"):
            two_dogs_and_a_box(track_ids=wrong)


def test_nothing_found_is_a_result_like_any_other():
    none = Poses.empty((3, 4), source="a.png")
    assert (len(none), list(none), none.count(), none.boxes.shape, none.xy.shape) == (0, [], {}, (0, 4), (0, 0, 2))
    assert none == none[:] == none.filter(threshold=0.5) == Poses.concatenate([none, none])
    assert repr(none) == "<Poses: nothing found; 4 x 3 pixels>"
    assert none != DOGS
    assert none != "nothing"


@pytest.mark.parametrize(
    ("why", "rules", "expected"),
    [
        ("no rule", {}, [0, 1, 2]),
        ("scores above, as detect does", {"threshold": 0.5}, [0]),
        ("by category", {"threshold": {"dog": 0.4}}, [0, 1, 2]),
        ("by category, and for the rest", {"threshold": {"dog": 0.6, "": 0.3}}, [0]),
        ("one category", {"categories": "hand"}, [2]),
        ("categories", {"categories": ["hand", "dog"]}, [0, 1, 2]),
        ("all at once", {"threshold": 0.6, "categories": ["dog"]}, [0]),
    ],
)
def test_filter_keeps(why, rules, expected):
    assert DOGS.filter(**rules) == DOGS[expected], why


def test_the_keypoint_threshold_decides_anew_which_points_are_there():
    assert DOGS.filter(keypoint_threshold=0.75).visibility.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert DOGS.filter(keypoint_threshold=0.05)["dog"].visibility.tolist() == [[2, 1, 2], [2, 2, 2]], "the tail is back"
    np.testing.assert_array_equal(DOGS.filter(keypoint_threshold=0.75).xy, DOGS.xy)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"threshold": 2}, 'threshold of "" is 2. It must be a number from 0 to 1'),
        ({"threshold": {"dog": "much"}}, "threshold of \"dog\" is 'much'"),
        ({"keypoint_threshold": -0.1}, "keypoint_threshold is -0.1"),
        ({"keypoint_threshold": True}, "keypoint_threshold is True"),
        ({"threshold": NAN}, "is nan"),
    ],
)
def test_filter_refuses(rules, expected):
    with pytest.raises(ConfigError) as refused:
        DOGS.filter(**rules)
    assert expected in str(refused.value)


def test_counts_by_category():
    assert DOGS.count() == {"dog": 2, "hand": 1}


def test_concatenate_pads_and_sorts():
    hand, dogs = DOGS["hand"], DOGS["dog"]
    short = dataclasses.replace(hand, xy=np.zeros((1, 0, 2)), keypoint_scores=np.zeros((1, 0)), visibility=[[]])
    joined = Poses.concatenate([short, dogs])
    assert joined == DOGS
    other = dataclasses.replace(dogs, source="elsewhere.jpg")
    assert Poses.concatenate([hand, other]).source is None
    with pytest.raises(ValueError, match="Only results on one picture"):
        Poses.concatenate([DOGS, Poses.empty((1, 1))])
    with pytest.raises(ValueError, match="At least one"):
        Poses.concatenate([])


def test_the_dictionary_says_what_is_not_there():
    found = DOGS.to_dict()
    assert found["image"] == {"path": "dogs.jpg", "height": 100, "width": 200}
    assert "EXIF orientation applied" in found["coordinates"]
    assert "not applied" in two_dogs_and_a_box(exif_applied=False).to_dict()["coordinates"]
    assert len(found["classes"]) == 2, "names and edges stand once for both dogs"
    assert found["classes"][0]["canonical_names"] == ["left eye", "nose", "tail tip"]
    first, second, third = found["poses"]
    assert first["box"] == [10, 20, 110, 70]
    assert first["score"] == 0.9
    assert first["keypoints"]["nose"] == {"x": 30.13, "y": 40.0, "score": 0.8, "v": 1}
    assert second["keypoints"]["tail"] == {"x": None, "y": None, "score": 0.05, "v": 0}
    assert third["keypoints"] == {}


@given(any_poses())
def test_json_is_strict_and_comes_back(poses):
    def no_constant(name):
        raise AssertionError(f"{name} in JSON")

    values = json.loads(poses.to_json(), parse_constant=no_constant)
    assert values == poses.to_dict()
    assert poses.to_json().isascii()
    again = Poses.from_json(poses.to_json())
    assert again.to_dict() == values
    assert again.visibility.tolist() == poses.visibility[:, : again.xy.shape[1]].tolist()


@pytest.mark.parametrize(
    ("why", "text", "expected"),
    [
        ("no JSON", "{", "is not JSON"),
        ("very deep", "[" * 100_000, "JSON"),
        ("another thing", "[]", 'The format is "list"'),
        ("another format", '{"format": "coco"}', 'The format is "coco"'),
        ("from the future", '{"format": "xpose poses", "version": 2}', "reads version 1"),
        ("half of it", '{"format": "xpose poses", "version": 1}', "'poses' is missing"),
        (
            "a class that is not there",
            '{"format": "xpose poses", "version": 1, "classes": [], "poses": [{"class": 0}]}',
            "index",
        ),
    ],
)
def test_foreign_json_is_refused(why, text, expected):
    with pytest.raises(DataError) as refused:
        Poses.from_json(text)
    assert expected in str(refused.value), why


@given(any_poses(), st.data())
def test_damaged_dictionaries_are_refused_or_valid(poses, data):
    """Whatever stands in a file, reading it gives a valid result or a DataError."""
    values = poses.to_dict()
    places = [values, values["image"], *values["classes"], *values["poses"]]
    places += [point for pose in values["poses"] for point in pose["keypoints"].values()]
    spot = data.draw(st.sampled_from(places))
    if not spot:
        return
    key = data.draw(st.sampled_from(sorted(spot)))
    spot[key] = data.draw(st.sampled_from([None, "a", [], {}, -1, 1e400, [1, 2], 10**400, True]))
    with contextlib.suppress(DataError):
        assert isinstance(Poses.from_dict(values), Poses)


@given(any_poses(), st.floats(0, 1), st.floats(0, 1))
def test_filtering_twice_is_filtering_once(poses, threshold, keypoint_threshold):
    rules = {"threshold": threshold, "keypoint_threshold": keypoint_threshold}
    once = poses.filter(**rules)
    assert once.filter(**rules) == once
    assert len(once) <= len(poses)
    assert (once.scores.astype(float) > threshold).all()


@given(any_poses(), st.data())
def test_any_slice_is_the_poses_in_it(poses, data):
    cut = data.draw(st.slices(len(poses)))
    part, rows = poses[cut], range(len(poses))[cut]
    assert part == poses[np.array(rows, dtype=int)]
    assert [one.category for one in part] == [poses.categories[row] for row in rows]
    assert [str(one.points) for one in part] == [str(poses[row].points) for row in rows]


@given(any_poses(), any_poses())
def test_concatenation_keeps_every_pose_best_first(one, other):
    other = dataclasses.replace(other, image_size=one.image_size)
    joined = Poses.concatenate([one, other])
    assert (np.diff(joined.scores) <= 0).all()
    texts = [str((pose.category, pose.box, pose.points)) for pose in joined]
    assert sorted(texts) == sorted(
        str((pose.category, pose.box, pose.points)) for part in (one, other) for pose in part
    )


@pytest.mark.parametrize("kind", ["json", "coco", "coco-results", "csv", "yolo"])
def test_saving_replaces_the_file_and_makes_its_folder(kind, tmp_path):
    path = tmp_path / "new" / f"out.{kind}"
    DOGS[:0].save(path, kind)
    before = path.read_bytes()
    DOGS.save(str(path), kind)
    assert path.read_bytes() != before
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no temporary file is left"


def test_what_is_saved_is_what_the_methods_return(tmp_path):
    DOGS.save(tmp_path / "a")
    DOGS.save(tmp_path / "b", "csv")
    DOGS.save(tmp_path / "c", "coco", image_ids=[7], category_ids={"dog": 3, "hand": 4})
    assert json.loads((tmp_path / "a").read_text()) == DOGS.to_dict()
    assert (tmp_path / "b").read_text("utf-8") == to_csv([DOGS])
    expected = coco.instances([DOGS], image_ids=[7], category_ids={"dog": 3, "hand": 4})
    assert json.loads((tmp_path / "c").read_text()) == expected


@pytest.mark.parametrize("place", [".", "file/below.csv", "a\0b"])
def test_saving_where_one_cannot_says_so(place, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(XPoseError, match=r"could not be written.*choose another place"):
        DOGS.save(tmp_path / place, "csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "poses.csv"
    path.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(XPoseError, match="No space left on device"):
        DOGS.save(path, "csv")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["poses.csv"]
