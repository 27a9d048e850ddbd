"""Records report all of their faults together."""

from __future__ import annotations

import math

import pytest

from xpose.data.datasets.converters.base import settle
from xpose.errors import DataError
from xpose.records import Category, Instance, Picture, Record, Skipped, Taxonomy

PERSON = Category("person", "person", ("nose", "left eye", "right eye"), (("nose", "left eye"),))
PICTURE = Picture("a.jpg", 100, 80)


def record(*instances: Instance, picture: Picture = PICTURE, **more: object) -> Record:
    fixed = {"source": "test", "split": "train", "licence": "CC0", "left_right": "anatomical"}
    return Record(picture, instances, **{**fixed, **more})


def person(points: dict | None = None, box: tuple = (10, 10, 20, 30), **more: object) -> Instance:
    return Instance(PERSON, box, points or {}, **more)


def test_a_good_record_has_no_faults() -> None:
    good = record(person({"nose": (12, 15, 2), "left eye": (11, 14, 1)}))
    assert good.faults() == []
    assert good.check() is good
    assert good.instances[0].point("nose") == (12, 15, 2)
    assert good.instances[0].point("right eye") == (0, 0, 0)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (record(picture=Picture("/a.jpg", 10, 10)), "not a relative path"),
        (record(picture=Picture("a\\b.jpg", 10, 10)), "not a relative path"),
        (record(picture=Picture("../b.jpg", 10, 10)), "not a relative path"),
        (record(picture=Picture("a.jpg", 0, 10)), "width is 0"),
        (record(picture=Picture("a.jpg", 10, 2.5)), "height is 2.5"),
        (record(person(box=(1, 2, 0, 4))), "no area"),
        (record(person(box=(1, 2, math.nan, 4))), "not four finite numbers"),
        (record(person(box=(1, 2, 3))), "not four finite numbers"),
        (record(person(box=(100, 2, 5, 4))), "lies outside"),
        (record(person(box=(-50, -50, 1e5, 1e5))), "far larger"),
        (record(person(area=math.inf)), "area inf"),
        (record(person({"tail": (1, 2, 2)})), '"tail": not a keypoint of "person"'),
        (record(person({"nose": (1, 2, 3)})), "visibility"),
        (record(person({"nose": (math.nan, 2, 2)})), "not two finite numbers"),
        (record(left_right="mirrored"), "left/right rule"),
        (record(licence=""), "licence is empty"),
        (record(Instance(Category("x", "x", ("a", "a")), (1, 1, 2, 2))), "more than once"),
        (record(Instance(Category("x", "x", ("a",), (("a", "b"),)), (1, 1, 2, 2))), '"b", which is not a keypoint'),
    ],
)
def test_faults_are_named(bad: Record, fault: str) -> None:
    assert any(fault in found for found in bad.faults())
    with pytest.raises(DataError, match=r"makes no valid record"):
        bad.check()


def test_all_faults_are_named_at_once() -> None:
    bad = record(person({"tail": (1, 2, 2)}, source_id="7"), person({"nose": (0, 0, 9)}), licence="", split="")
    assert len(bad.faults()) == 4
    assert "object 7" in bad.faults()[0]


def test_points_outside_are_moved_or_unlabelled_and_always_reported() -> None:
    points = {"nose": (100, 80, 2), "left eye": (-1.5, 5, 2), "right eye": (200, 5, 1)}
    settled = settle(record(person(points)))
    assert settled.instances[0].keypoints == {"nose": (100, 80, 2), "left eye": (0, 5, 2)}
    assert [(item.what, "moved" in item.reason) for item in settled.dropped] == [("point", True), ("point", False)]


def test_unlabelled_points_are_left_out() -> None:
    settled = settle(record(person({"nose": (0, 0, 0), "left eye": (5, 5, 2)})))
    assert set(settled.instances[0].keypoints) == {"left eye"}
    assert settled.dropped == ()


def test_a_bad_object_is_dropped_and_the_others_stay() -> None:
    settled = settle(record(person(), person(box=(1, 1, 0, 0), source_id="5")))
    assert len(settled.instances) == 1
    assert settled.dropped[0].what == "object"
    assert "object 5: the box [1, 1, 0, 0] has no area" in settled.dropped[0].reason


def test_a_picture_whose_objects_are_all_bad_is_no_empty_picture() -> None:
    with pytest.raises(DataError, match=r"none of its objects can be used.*no area"):
        settle(record(person(box=(1, 1, 0, 0))))
    with pytest.raises(DataError, match=r"none of its objects"):
        settle(record(dropped=[Skipped("a.jpg", "annotation 3: no box", "object")]))
    assert settle(record()).instances == ()


def test_taxonomy_round_trip() -> None:
    cat = Taxonomy("Felis catus", "Felidae", None, "Mammalia")
    assert Taxonomy.from_json(cat.to_json()) == cat
