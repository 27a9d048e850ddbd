"""The expected error of each keypoint goes wherever the scores go."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from tests.results.pose_cases import two_dogs_and_a_box

from xpose.drawing.figures import SIDES
from xpose.errors import ConfigError
from xpose.results import Poses
from xpose.results.formats import coco
from xpose.results.formats.csv import to_csv

NAN = float("nan")
DOGS = two_dogs_and_a_box(keypoint_errors=[[1, 12, 3], [4, NAN, 5.126], [NAN] * 3])


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ([[1, 2, 3]], "With these scores and names it must be"),
        ([[1, 2, -1], [1, 2, 3], [1, 2, 3]], "must be distances"),
        ([[1, 2, np.inf], [1, 2, 3], [1, 2, 3]], "must be distances"),
        ("far", "must be an array of numbers"),
    ],
)
def test_errors_that_do_not_fit_are_refused(errors, message):
    with pytest.raises(ValueError, match=f"keypoint_errors.*{message}"):
        two_dogs_and_a_box(keypoint_errors=errors)


def test_they_follow_their_poses():
    assert two_dogs_and_a_box().keypoint_errors is None
    np.testing.assert_array_equal(DOGS[1].keypoint_errors, [4, NAN, np.float32(5.126)])
    np.testing.assert_array_equal(DOGS.filter(threshold=0.6).keypoint_errors, [[1, 12, 3]])
    assert DOGS[0].keypoint_errors.tolist() == [1, 12, 3]
    assert DOGS[2].keypoint_errors.tolist() == []
    padded = two_dogs_and_a_box(keypoint_errors=[[1, 2, 3]] * 3)
    assert np.isnan(padded.keypoint_errors[2]).all(), "beyond a pose's own names"


def test_results_without_them_join_those_that_have_them():
    joined = Poses.concatenate([two_dogs_and_a_box()[:1], DOGS[1:2]])
    np.testing.assert_array_equal(joined.keypoint_errors, [[NAN] * 3, [4, NAN, np.float32(5.126)]])
    assert Poses.concatenate([two_dogs_and_a_box()] * 2).keypoint_errors is None


def test_own_json_keeps_them():
    back = Poses.from_json(DOGS.to_json())
    np.testing.assert_array_equal(back.keypoint_errors, np.float32([[1, 12, 3], [4, NAN, 5.13], [NAN] * 3]))
    assert "error" not in two_dogs_and_a_box().to_json()


def test_coco_has_them_as_a_further_key():
    expected = [[1, 12, 3], [4, None, 5.13], []]
    assert [entry["keypoint_errors"] for entry in coco.instances([DOGS])["annotations"]] == expected
    for entry, errors in zip(coco.results([DOGS]), expected[:2], strict=True):
        assert entry["keypoint_errors"] == [None if one is None else pytest.approx(one, abs=0.01) for one in errors]
    assert all("keypoint_errors" not in entry for entry in coco.results([two_dogs_and_a_box()]))


def test_csv_has_them_as_a_last_column():
    rows = list(csv.DictReader(io.StringIO(to_csv([DOGS]))))
    assert [row["keypoint_error"] for row in rows] == ["1.0", "12.0", "3.0", "4.0", "", "5.13", ""]
    assert "keypoint_error" not in to_csv([two_dogs_and_a_box()]).splitlines()[0].split(",")


def test_they_are_drawn_as_circles_around_points_that_are_there():
    picture = np.full((100, 200, 3), 128, np.uint8)
    plain = {"legend": "none", "boxes": False, "labels": False}
    without, circled = (np.asarray(DOGS.draw(picture, errors=errors, **plain)).astype(int) for errors in (False, True))
    moved = circled - without
    x, y = 30, 40  # the first dog's nose, 12 pixels
    assert moved[y, x + 11].any()
    assert not moved[y, x + 14].any()
    towards = np.array(SIDES["middle"]) - without[y, x + 8]
    assert (moved[y, x + 8] * towards >= 0).all()
    assert not moved[35, 45].any(), "a hidden point has no circle"
    with pytest.raises(ConfigError, match="have no keypoint_errors"):
        two_dogs_and_a_box().draw(errors=True, **plain)
