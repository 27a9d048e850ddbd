"""The labels of one picture: what clicks, drags and keys do, and what never happens whatever they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.demo.labelling.objects import LabelledObject, LabelledPicture, Mark
from xpose.errors import PromptError, XPoseError

NAMES = ("tip", "stalk", "edge")


@pytest.fixture
def empty() -> LabelledPicture:
    return LabelledPicture(NAMES, 100, 80).go(0)


def test_clicks_place_the_keypoints_in_their_order(empty: LabelledPicture):
    assert empty.current == "tip"
    labels = empty.click(10, 20).click(30, 40)
    assert labels.objects == (LabelledObject({"tip": Mark(10, 20), "stalk": Mark(30, 40)}),)
    assert labels.current == "edge"
    with pytest.raises(PromptError, match="All keypoints of this object are placed"):
        labels.click(1, 1).click(2, 2)


def test_a_chosen_keypoint_is_placed_or_moved_and_the_next_open_one_follows(empty: LabelledPicture):
    labels = empty.choose("edge").click(5, 5)
    assert labels.selected.points == {"edge": Mark(5, 5)}
    assert labels.current == "tip"
    moved = labels.select(0, "edge").click(7, 8)
    assert moved.selected.points == {"edge": Mark(7, 8)}
    assert moved.current == "tip"
    assert labels.select(0, "edge").deselect().current == "tip"


def test_hidden_keypoints_keep_that_when_they_move(empty: LabelledPicture):
    labels = empty.toggle_hidden().click(10, 10)
    assert labels.selected.points["tip"] == Mark(10, 10, visible=False)
    assert labels.click(1, 1).selected.points["stalk"] == Mark(1, 1), "only one click"
    assert labels.drag(0, "tip", 30, 30).selected.points["tip"] == Mark(30, 30, visible=False)
    assert labels.select(0, "tip").click(20, 20).selected.points["tip"] == Mark(20, 20, visible=False)
    assert labels.select(0, "tip").toggle_hidden().selected.points["tip"] == Mark(10, 10)
    assert not empty.toggle_hidden().toggle_hidden().hiding


def test_what_is_not_visible_is_passed_over(empty: LabelledPicture):
    labels = empty.toggle_absent()
    assert labels.selected.points == {"tip": None}
    assert labels.current == "stalk"
    again = labels.choose("tip")
    assert again.toggle_absent().selected.points == {}
    assert again.toggle_absent().current == "tip"
    assert again.click(3, 3).selected.points == {"tip": Mark(3, 3)}


def test_several_objects(empty: LabelledPicture):
    labels = empty.click(1, 1).add_object()
    assert labels.add_object() == labels, "one that is empty is enough"
    labels = labels.click(50, 50)
    assert [item.points for item in labels.objects] == [{"tip": Mark(1, 1)}, {"tip": Mark(50, 50)}]
    dragged = labels.drag(0, "tip", 2, 3)
    assert dragged.at == 0
    assert dragged.objects[0].points == {"tip": Mark(2, 3)}
    assert labels.go(0).remove_object().objects == labels.objects[1:]
    assert labels.remove_object().remove_object().objects == ()
    with pytest.raises(PromptError, match="no object"):
        labels.go(2)


def test_a_change_makes_a_proposal_a_label_and_saving_all_of_them():
    proposal = LabelledObject({"tip": Mark(1, 1)}, proposed=True)
    labels = LabelledPicture(NAMES, 100, 80, (proposal, proposal, LabelledObject())).go(0)
    assert [item.proposed for item in labels.drag(1, "tip", 5, 5).objects] == [True, False, False]
    assert labels.labels == (LabelledObject({"tip": Mark(1, 1)}),) * 2


@pytest.mark.parametrize("spot", [(None, 1), ("1", 1), (math.nan, 1), (1, math.inf), (1, [2])])
def test_clicks_without_a_place_are_refused(empty: LabelledPicture, spot: tuple):
    with pytest.raises(PromptError, match="no coordinates"):
        empty.click(*spot)


@pytest.mark.parametrize("values", [(0, "stalk"), (0, None), (7, "tip"), (None, "tip"), (True, "tip"), (0, "<b>")])
def test_marks_that_are_not_there_are_refused(empty: LabelledPicture, values: tuple):
    with pytest.raises(PromptError):
        empty.click(1, 1).select(*values)


PLACES = st.floats(-50, 200) | st.sampled_from([math.nan, None, "x"])
ACTIONS = st.one_of(
    st.tuples(st.just("click"), PLACES, PLACES),
    st.tuples(st.just("drag"), st.integers(-1, 3), st.sampled_from([*NAMES, "other"]), PLACES, PLACES),
    st.tuples(st.just("select"), st.integers(-1, 3), st.sampled_from(NAMES)),
    st.tuples(st.just("choose"), st.sampled_from([*NAMES, None])),
    st.tuples(st.just("go"), st.integers(-1, 3)),
    st.tuples(st.sampled_from(["toggle_hidden", "toggle_absent", "add_object", "remove_object", "deselect"])),
)


@given(st.lists(ACTIONS, max_size=25))
def test_whatever_is_done_the_labels_stay_valid(actions: list[tuple]):
    labels = LabelledPicture(NAMES, 100, 80).go(0)
    for method, *values in actions:
        before = labels
        try:
            labels = getattr(labels, method)(*values)
        except XPoseError:
            assert labels == before
        assert labels.current is None or labels.current in NAMES
        assert 0 <= labels.at < max(1, len(labels.objects))
        for item in labels.objects:
            assert item == item.within(100, 80)
            assert set(item.points) <= set(NAMES)
        for item in labels.labels:
            x1, y1, x2, y2 = item.bounds(100, 80)
            assert 0 <= x1 < x2 <= 100
            assert 0 <= y1 < y2 <= 80
            assert all(x1 <= mark.x <= x2 and y1 <= mark.y <= y2 for mark in item.marks.values())


def test_a_given_box_grows_with_its_marks_and_stays_in_the_picture():
    item = LabelledObject({"tip": Mark(50, 60)}, (-5, 10, 40, 300))
    assert item.bounds(100, 80) == (0, 10, 50, 80)
