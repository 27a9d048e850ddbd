"""What people type becomes prompts, or a message that helps."""

from __future__ import annotations

import numpy as np
import pytest

from xpose.demo import asking
from xpose.demo.asking import AUTOMATIC, OWN
from xpose.demo.sketch import Sketch
from xpose.errors import XPoseError
from xpose.vocabulary import list_skeletons, load_skeleton

GOOD = [
    ("person, horse", AUTOMATIC, "", [("person", 17), ("horse", 17)]),
    (" person ;; cat\n", None, "", [("person", 17), ("cat", 17)]),
    ("person, face", "person, face", "", [("person", 17), ("face", 68)]),
    ("cat, dog", "animal", "", [("cat", 17), ("dog", 17)]),
    ("leaf", OWN, "tip, stalk", [("leaf", 2)]),
    ("", OWN, "tip,\nstalk", [("object", 2)]),
]


@pytest.mark.parametrize(("words", "skeleton", "own", "expected"), GOOD)
def test_words(words: str, skeleton: str | None, own: str, expected: list[tuple[str, int]]):
    asked = asking.text_prompts(words, skeleton, own)
    assert [(one.resolved.label, len(one.resolved.names)) for one in asked] == expected


BAD = [
    ("", AUTOMATIC, "", "empty"),
    (" , ;", AUTOMATIC, "", "empty"),
    (None, None, None, "empty"),
    ("person", "persom", "", 'Did you mean "person"'),
    ("person", OWN, " , ", "list of names is empty"),
    ("person", OWN, "nose, nose", "more than once"),
    ("cat, cat", AUTOMATIC, "", "more than once"),
    ("cat, dog", "animal, person, face", "", "paired by position"),
    ("x" * 400, AUTOMATIC, "", "characters long"),
    ("x" * 30_000, AUTOMATIC, "", "letters long"),
    (", ".join(f"thing {number}" for number in range(30)), AUTOMATIC, "", "At most 20"),
    ("person", "/etc/passwd.toml", "", "not the name of a skeleton"),
    ("person", "secret.toml", "", "not the name of a skeleton"),
    ("person", "../person", "", "not the name of a skeleton"),
]


@pytest.mark.parametrize(("words", "skeleton", "own", "message"), BAD)
def test_what_cannot_be_asked(words: str | None, skeleton: str | None, own: str | None, message: str):
    with pytest.raises(XPoseError, match=message):
        asking.text_prompts(words, skeleton, own)


def test_no_file_of_the_server_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkeypoints = ["a"]')
    for call in (lambda: asking.skeleton_names(str(path)), lambda: asking.skeleton_for("x", str(path), "")):
        with pytest.raises(XPoseError, match="Files of the server"):
            call()


def test_every_skeleton_can_be_chosen_drawn_and_clicked():
    for skeleton in list_skeletons():
        assert skeleton.name in asking.skeleton_choices()
        assert asking.skeleton_for("", skeleton.name, "")[0] is load_skeleton(skeleton.name)
        assert set(asking.skeleton_names(skeleton.name)) <= set(skeleton.keypoints)


def test_the_drawn_skeleton_is_the_one_that_is_looked_for():
    for words, skeleton, own in (("horse", AUTOMATIC, ""), ("leaf", OWN, "tip, stalk"), ("cat", "animal_face", "")):
        drawn, why = asking.skeleton_for(words, skeleton, own)
        (prompt,) = asking.text_prompts(words, skeleton, own)
        assert tuple(point.name for point in drawn.points if not point.unused) == prompt.resolved.names
        assert why
        assert asking.draw(drawn).width > 100


def sketch(*names: str) -> Sketch:
    made = Sketch()
    made.name_points(names)
    made.add("id", 50, 50)
    for number, _ in enumerate(names):
        made.act({"kind": "place", "x": number, "y": number})
    return made


def pixels_of(_: str) -> np.ndarray:
    return np.zeros((50, 50, 3), np.uint8)


def test_words_and_examples_look_for_the_points_that_were_clicked():
    prompt = asking.combined_prompt("wren", AUTOMATIC, "", sketch("beak", "tail"), pixels_of)
    assert prompt.resolved.label == "wren"
    assert prompt.resolved.names == ("beak", "tail")


def test_words_and_examples_may_have_a_skeleton_of_their_own():
    prompt = asking.combined_prompt("horse", "animal", "", sketch("nose"), pixels_of)
    assert len(prompt.resolved.names) == 17


@pytest.mark.parametrize(("words", "message"), [("", "0 objects"), ("cat, dog", "2 objects")])
def test_words_and_examples_are_one_class(words: str, message: str):
    with pytest.raises(XPoseError, match=message):
        asking.combined_prompt(words, AUTOMATIC, "", sketch("nose"), pixels_of)


def test_a_point_that_the_class_does_not_have():
    with pytest.raises(XPoseError, match="antler"):
        asking.combined_prompt("horse", "animal", "", sketch("antler"), pixels_of)
