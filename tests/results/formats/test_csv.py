"""CSV: a row for each point, and no name that a spreadsheet would run."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.results.formats.csv import COLUMNS, safe_cell, to_csv

DOGS = two_dogs_and_a_box()


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_point_has_a_row():
    found = rows(to_csv([DOGS, DOGS[:1]]))
    assert len(found) == 3 + 3 + 1 + 3
    nose = found[1]
    assert list(nose.values()) == [
        *("dogs.jpg", "1", "dog", "0.9", "10.0", "20.0", "110.0", "70.0"),
        *("nose", "nose", "30.13", "40.0", "0.8", "1"),
    ]
    absent = found[5]
    assert (absent["object"], absent["keypoint"], absent["canonical_name"]) == ("2", "tail", "tail tip")
    assert (absent["x"], absent["y"], absent["keypoint_score"], absent["visibility"]) == ("", "", "0.05", "0")
    assert (found[6]["category"], found[6]["keypoint"], found[6]["x"]) == ("hand", "", "")
    assert to_csv([]) == ",".join(COLUMNS) + "\n"


def test_tentative_poses_are_marked():
    poses = two_dogs_and_a_box(tentative=[False, True, True])
    assert [row["tentative"] for row in rows(to_csv([DOGS, poses]))] == [*"0000000", *"000", *"111", "1"]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("dog", "dog"),
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-left", "'-left"),
        ("@cmd", "'@cmd"),
        ("\tx", "'\tx"),
        ("  =1", "'  =1"),
        ("\r=1", "' =1"),
        ("two\nlines", "two lines"),
        ("left-eye", "left-eye"),
        ("", ""),
    ],
)
def test_formulas_get_a_quote(name, cell):
    assert safe_cell(name) == cell
    poses = two_dogs_and_a_box(
        categories=(name, "dog", "hand"), keypoint_names=((name, "b", "c"), (), ()), edges=(), canonical_names=(),
        visibility=[[2, 2, 2], [0] * 3, [0] * 3],
        xy=[[[20, 30]] * 3, [[float("nan")] * 2] * 3, [[float("nan")] * 2] * 3], source=name,
    )  # fmt: skip
    first = rows(to_csv([poses]))[0]
    assert (first["picture"], first["category"], first["keypoint"], first["canonical_name"]) == (cell,) * 4


def test_negative_numbers_stay_numbers():
    poses = two_dogs_and_a_box(boxes=[[-10, 20, 110, 70], [0, 0, 50, 40], [150, 50, 200, 100]])
    assert rows(to_csv([poses]))[0]["box_x1"] == "-10.0"


@given(any_poses())
def test_any_result_reads_back_with_all_its_points(poses):
    found = rows(to_csv([poses]))
    assert len(found) == sum(max(1, len(names)) for names in poses.keypoint_names)
    assert "nan" not in {value for row in found for key, value in row.items() if key not in ("keypoint", "category")}
    for row in found:
        assert None not in row
        assert not str(row["keypoint"]).startswith(("=", "+", "-", "@"))
