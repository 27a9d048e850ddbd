"""Clicks become visual prompts, and every step can be taken back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.demo.conftest import saved

from xpose.demo.examples import ClickedExample, ExampleSet
from xpose.demo.pictures import UploadedPicture
from xpose.errors import PromptError
from xpose.prompts import CombinedPrompt, TextPrompt, VisualPrompt

SIZE = (100, 80)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> UploadedPicture:
    return saved(tmp_path_factory.mktemp("pictures"), "example.png", size=SIZE)


def examples_of(shown: UploadedPicture, *names: str, count: int = 1) -> ExampleSet:
    examples = ExampleSet().with_names(names)
    for _ in range(count):
        examples = examples.add(ClickedExample(shown, *SIZE))
    return examples


def test_clicks_place_the_names_in_order(shown: UploadedPicture):
    examples = examples_of(shown, "nose", "left eye", "tail")
    for spot in ((10, 11), (30, 31), (50, 51)):
        examples = examples.click(*spot)
    prompt = examples.prompt("fish")
    assert isinstance(prompt, VisualPrompt)
    assert prompt.points == {"nose": (10, 11, True), "left eye": (30, 31, True), "tail": (50, 51, True)}
    assert prompt.name == "fish"
    assert prompt.box is None


def test_a_click_without_names_makes_points_that_can_be_named(shown: UploadedPicture):
    examples = examples_of(shown).click(5, 6).rename("  left   fin ").click(50, 60)
    assert examples.prompt(None).resolved.names == ("left fin", "point 1")


def test_a_chosen_name_is_placed_next_and_the_others_follow(shown: UploadedPicture):
    examples = examples_of(shown, "a", "b", "c").choose("b").click(1, 2)
    assert (examples.shot.points, examples.current) == ({"b": (1, 2)}, "a")


def test_a_point_is_moved_after_it_was_chosen_by_name_or_by_a_click_on_it(shown: UploadedPicture):
    examples = examples_of(shown, "a", "b").click(10, 10).click(50, 50)
    assert examples.choose("a").click(70, 20).shot.points == {"a": (70, 20), "b": (50, 50)}
    clicked = examples.click(50.5, 50)
    assert (clicked.current, clicked.tool) == ("b", "move")
    assert clicked.click(20, 70).shot.points == {"a": (10, 10), "b": (20, 70)}
    assert set(examples.click(80, 10).shot.points) == {"a", "b", "point 1"}, "an unplanned click moves nothing"


def test_a_hidden_point_needs_no_place_and_can_come_back(shown: UploadedPicture):
    examples = examples_of(shown, "a", "b").click(1, 2).choose("b").toggle_hidden()
    assert examples.prompt(None).points["b"][2] is False  # type: ignore[union-attr]
    assert "b" not in examples.toggle_hidden().shot.points
    assert examples.choose("b").click(50, 60).shot.points["b"] == (50, 60)


def test_a_box_from_any_two_corners_and_removed_again(shown: UploadedPicture):
    examples = examples_of(shown, "a").draw_box().click(60, 50).click(-5, 10)
    assert examples.tool == "place"
    assert examples.prompt(None).box == (0, 10, 60, 50)  # type: ignore[union-attr]
    with pytest.raises(PromptError, match="No example shows"):
        examples.draw_box().prompt(None)
    with pytest.raises(PromptError, match="no area"):
        examples_of(shown).draw_box().click(5, 5).click(5.2, 60)


def test_several_examples_are_one_class_and_five_are_the_most(shown: UploadedPicture):
    examples = examples_of(shown, "a", "b", count=3).click(1, 1).go(0).click(20, 20).click(40, 40)
    prompt = examples.prompt("thing")
    assert isinstance(prompt, CombinedPrompt)
    assert [list(example.points) for example in prompt.examples] == [["a", "b"], ["a"]]  # the empty one is left out
    assert prompt.resolved.label == "thing"
    examples = examples.add(ClickedExample(shown, *SIZE)).add(ClickedExample(shown, *SIZE))
    with pytest.raises(PromptError, match="At most 5"):
        examples.add(ClickedExample(shown, *SIZE))
    for _ in range(5):
        examples = examples.drop()
    assert examples.shots == ()


def test_words_join_the_examples(shown: UploadedPicture):
    prompt = examples_of(shown, "beak").click(1, 1).prompt(None, TextPrompt("wren", keypoints=["beak", "tail"]))
    assert isinstance(prompt, CombinedPrompt)
    assert prompt.resolved.label == "wren"


def test_new_names_keep_the_points_that_are_still_named(shown: UploadedPicture):
    examples = examples_of(shown, "a", "b").click(1, 1).click(50, 50).with_names(["c", "b"])
    assert (set(examples.shot.points), examples.current) == ({"b"}, "c")


def test_the_drawing_shows_each_place(shown: UploadedPicture):
    examples = examples_of(shown, "a", "b").click(20, 20).click(70, 60)
    plain, drawn = np.asarray(shown.shown), np.asarray(examples.shot.draw("b", None))
    scale = plain.shape[1] / SIZE[0]
    changed = np.abs(plain.astype(int) - drawn).sum(axis=2) > 0
    for x, y in examples.shot.points.values():  # type: ignore[misc]
        assert changed[int(y * scale), int(x * scale)]
    assert not changed[int(20 * scale), int(70 * scale)]


BAD = [
    (lambda examples: examples.click(math.nan, 2), "no coordinates"),
    (lambda examples: examples.choose({"a": 1}), "no point"),
    (lambda examples: examples.go(7), "no example"),
    (lambda examples: examples.go("0"), "no example"),
    (lambda examples: examples.rename("   "), "empty"),
    (lambda examples: examples.rename("x" * 101), "longer than"),
    (lambda examples: examples.with_names(["a", "a"]), "more than once"),
    (lambda examples: examples.with_names([str(number) for number in range(301)]), "At most 300"),
    (lambda examples: examples.drop().click(1, 1), "no example picture yet"),
    (lambda examples: examples.drop().choose("a"), "no example picture yet"),
    (lambda examples: examples.drop().draw_box(), "no example picture yet"),
    (lambda examples: examples.with_names([]).toggle_hidden(), "No point is selected"),
]


@pytest.mark.parametrize(("step", "message"), BAD)
def test_what_cannot_be_is_refused(shown: UploadedPicture, step, message: str):
    with pytest.raises(PromptError, match=message):
        step(examples_of(shown, "a"))


NUMBERS = st.floats(-20, 120)
STEPS = st.one_of(
    st.tuples(st.just("click"), NUMBERS, NUMBERS),
    st.tuples(st.just("choose"), st.sampled_from("abx")),
    st.tuples(st.just("rename"), st.sampled_from(["a", "b", "new", " "])),
    st.tuples(st.sampled_from(["toggle_hidden", "remove_point", "clear", "drop", "draw_box"])),
    st.tuples(st.just("go"), st.integers(0, 2)),
)


@given(st.lists(STEPS, max_size=30))
def test_every_state_is_sound(steps: list[tuple]):
    picture = UploadedPicture(Path("none"), "none")
    examples = ExampleSet().with_names("ab").add(ClickedExample(picture, *SIZE)).add(ClickedExample(picture, *SIZE))
    for name, *values in steps:
        try:
            examples = getattr(examples, name)(*values)
        except PromptError:
            continue
        assert examples.current is None or examples.current in examples.names
        assert not examples.shots or 0 <= examples.at < len(examples.shots)
        for shot in examples.shots:
            assert set(shot.points) <= set(examples.names)
            for place in filter(None, shot.points.values()):
                assert 0 <= place[0] <= SIZE[0]
                assert 0 <= place[1] <= SIZE[1]
