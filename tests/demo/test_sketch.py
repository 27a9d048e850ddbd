"""Clicks become visual prompts, and every step can be taken back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.demo.sketch import Sketch
from xpose.errors import PromptError
from xpose.prompts import CombinedPrompt, TextPrompt, VisualPrompt

SIZE = (100, 80)


def pixels_of(_: str) -> np.ndarray:
    return np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


def sketch_with(*names: str, shots: int = 1) -> Sketch:
    sketch = Sketch()
    sketch.name_points(names)
    for number in range(shots):
        sketch.add(f"id{number}", *SIZE)
    return sketch


def click(sketch: Sketch, x: float, y: float) -> None:
    sketch.act({"kind": "place", "x": x, "y": y})


def test_clicks_place_the_names_in_order():
    sketch = sketch_with("nose", "left eye", "tail")
    for spot in ((10, 11), (20, 21), (30, 31)):
        click(sketch, *spot)
    prompt = sketch.prompt(pixels_of, "fish")
    assert isinstance(prompt, VisualPrompt)
    assert prompt.points == {"nose": (10, 11, True), "left eye": (20, 21, True), "tail": (30, 31, True)}
    assert prompt.name == "fish"
    assert prompt.box is None


def test_a_click_without_names_makes_points_that_can_be_named():
    sketch = sketch_with()
    click(sketch, 5, 6)
    sketch.act({"kind": "rename", "name": "  left   fin "})
    click(sketch, 7, 8)
    assert sketch.prompt(pixels_of, None).resolved.names == ("left fin", "point 2")


def test_a_chosen_name_is_placed_next_and_the_others_follow():
    sketch = sketch_with("a", "b", "c")
    sketch.act({"kind": "choose", "name": "b"})
    click(sketch, 1, 2)
    click(sketch, 3, 4)
    assert {name: (mark.x, mark.y) for name, mark in sketch.board.shot.marks.items()} == {"b": (1, 2), "c": (3, 4)}
    assert sketch.board.current == "a"


def test_moving_a_point_keeps_whether_it_is_hidden():
    sketch = sketch_with("a", "b")
    click(sketch, 1, 2)
    sketch.act({"kind": "choose", "name": "a"})
    sketch.act({"kind": "hide"})
    sketch.act({"kind": "move", "name": "a", "x": 50, "y": 60})
    click(sketch, 9, 9)  # never moves the chosen one
    mark = sketch.board.shot.marks["a"]
    assert (mark.x, mark.y, mark.hidden) == (50, 60, True)
    points = sketch.prompt(pixels_of, None).points  # type: ignore[union-attr]
    assert points["a"][2] is False
    assert points["b"] == (9, 9, True)


def test_a_point_can_be_hidden_without_a_place_and_come_back():
    sketch = sketch_with("a", "b")
    sketch.act({"kind": "choose", "name": "b"})
    sketch.act({"kind": "hide"})
    assert sketch.board.shot.marks["b"].hidden
    sketch.act({"kind": "hide"})
    assert "b" not in sketch.board.shot.marks


def test_a_box_drawn_in_any_direction_and_removed_again():
    sketch = sketch_with("a")
    sketch.act({"kind": "tool", "tool": "box"})
    sketch.act({"kind": "box", "x1": 60, "y1": 50, "x2": -5, "y2": 10})
    assert sketch.board.tool == "point"
    assert sketch.prompt(pixels_of, None).box == (0, 10, 60, 50)  # type: ignore[union-attr]
    sketch.act({"kind": "unbox"})
    with pytest.raises(PromptError, match="No example shows"):
        sketch.prompt(pixels_of, None)


def test_several_examples_are_one_class_and_five_are_the_most():
    sketch = sketch_with("a", "b", shots=3)
    click(sketch, 1, 1)
    sketch.act({"kind": "go", "at": 0})
    click(sketch, 2, 2)
    click(sketch, 3, 3)
    prompt = sketch.prompt(pixels_of, "thing")
    assert isinstance(prompt, CombinedPrompt)
    assert [list(example.points) for example in prompt.examples] == [["a", "b"], ["a"]]  # the empty one is left out
    assert prompt.resolved.label == "thing"
    for number in (3, 4):
        sketch.add(f"id{number}", *SIZE)
    with pytest.raises(PromptError, match="At most 5"):
        sketch.add("one too many", *SIZE)
    for _ in range(5):
        sketch.act({"kind": "drop"})
    assert sketch.board.shots == ()


def test_words_join_the_examples():
    sketch = sketch_with("beak", "tail")
    click(sketch, 1, 1)
    prompt = sketch.prompt(pixels_of, None, TextPrompt("wren", keypoints=["beak", "tail"]))
    assert isinstance(prompt, CombinedPrompt)
    assert prompt.resolved.label == "wren"


def test_new_names_keep_the_points_that_are_still_named():
    sketch = sketch_with("a", "b")
    click(sketch, 1, 1)
    click(sketch, 2, 2)
    sketch.name_points(["c", "b"])
    assert set(sketch.board.shot.marks) == {"b"}
    assert sketch.board.current == "c"


BAD = [
    ({"kind": "explode"}, "does not exist"),
    ({}, "does not exist"),
    ({"kind": ["place"]}, "does not exist"),
    ({"kind": "place", "x": "1", "y": 2}, "number of pixels"),
    ({"kind": "place", "x": math.nan, "y": 2}, "number of pixels"),
    ({"kind": "place", "y": 2}, "number of pixels"),
    ({"kind": "place", "x": True, "y": 2}, "number of pixels"),
    ({"kind": "move", "name": "b", "x": 1, "y": 2}, "no point"),
    ({"kind": "move", "name": None, "x": 1, "y": 2}, "no point"),
    ({"kind": "choose", "name": {"a": 1}}, "no point"),
    ({"kind": "box", "x1": 5, "y1": 5, "x2": 5.2, "y2": 60}, "no area"),
    ({"kind": "go", "at": 7}, "no example"),
    ({"kind": "go", "at": "0"}, "no example"),
    ({"kind": "rename", "name": "   "}, "empty name"),
    ({"kind": "rename", "name": 5}, "empty name"),
    ({"kind": "rename", "name": "x" * 101}, "too long"),
]


@pytest.mark.parametrize(("action", "message"), BAD)
def test_what_cannot_be_is_refused_and_nothing_changes(action: dict[str, Any], message: str):
    sketch = sketch_with("a")
    before = sketch.board
    with pytest.raises(PromptError, match=message):
        sketch.act(action)
    assert sketch.board is before


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "a"], "more than once"), (["a", " "], "empty"), ([f"{n}" for n in range(301)], "most")],
)
def test_names_that_cannot_be(names: list[str], message: str):
    with pytest.raises(PromptError, match=message):
        Sketch().name_points(names)


@pytest.mark.parametrize("kind", ["place", "move", "hide", "remove", "box", "unbox", "drop", "clear"])
def test_without_a_picture_there_is_nothing_to_click(kind: str):
    sketch = Sketch()
    sketch.name_points(["a"])
    with pytest.raises(PromptError):
        sketch.act({"kind": kind, "name": "a", "x": 1, "y": 1, "x1": 1, "y1": 1, "x2": 9, "y2": 9})


NUMBERS = st.floats(-20, 120)
ACTIONS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("place"), "x": NUMBERS, "y": NUMBERS}),
    st.fixed_dictionaries({"kind": st.just("move"), "name": st.sampled_from("abx"), "x": NUMBERS, "y": NUMBERS}),
    st.fixed_dictionaries({"kind": st.just("choose"), "name": st.sampled_from("abx")}),
    st.fixed_dictionaries({"kind": st.just("rename"), "name": st.sampled_from(["a", "b", "new", " "])}),
    st.fixed_dictionaries({"kind": st.sampled_from(["hide", "remove", "clear", "drop", "unbox"])}),
    st.fixed_dictionaries({"kind": st.just("go"), "at": st.integers(0, 2)}),
    st.fixed_dictionaries({"kind": st.just("box"), "x1": NUMBERS, "y1": NUMBERS, "x2": NUMBERS, "y2": NUMBERS}),
)


@given(st.lists(ACTIONS, max_size=30))
def test_undoing_everything_leads_back_and_every_board_in_between_is_sound(actions: list[dict[str, Any]]):
    sketch = sketch_with("a", "b", shots=2)
    start = sketch.board
    undone = len(sketch._before)
    for action in actions:
        try:
            sketch.act(action)
        except PromptError:
            continue
        board = sketch.board
        assert board.current is None or board.current in board.names
        assert not board.shots or 0 <= board.at < len(board.shots)
        for shot in board.shots:
            assert set(shot.marks) <= set(board.names)
            for mark in shot.marks.values():
                assert mark.x is None or (0 <= mark.x <= SIZE[0] and 0 <= (mark.y or 0) <= SIZE[1])
            if shot.says_something:
                assert sketch.examples(pixels_of, None)[0].region(*SIZE)
    while len(sketch._before) > undone:
        sketch.act({"kind": "undo"})
    assert sketch.board.shots == start.shots
    assert sketch.board.names == start.names
