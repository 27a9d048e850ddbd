"""What people type becomes prompts, or a message that helps."""

from __future__ import annotations

import pytest

from xpose.demo import words
from xpose.demo.words import AUTOMATIC
from xpose.errors import XPoseError
from xpose.vocabulary import list_skeletons, load_skeleton

GOOD = [
    ("person, horse", AUTOMATIC, "", [("person", 17), ("horse", 17)]),
    (" person ;; cat\n", None, "", [("person", 17), ("cat", 17)]),
    ("person, face", "person, face", "", [("person", 17), ("face", 68)]),
    ("cat, dog", "animal", "", [("cat", 17), ("dog", 17)]),
    ("leaf", AUTOMATIC, "tip, stalk", [("leaf", 2)]),
    ("", "animal", "tip,\nstalk", [("object", 2)]),
]


@pytest.mark.parametrize(("objects", "skeleton", "names", "expected"), GOOD)
def test_words(objects: str, skeleton: str | None, names: str, expected: list[tuple[str, int]]):
    prompts = words.text_prompts(objects, skeleton, names)
    assert [(prompt.resolved.label, len(prompt.resolved.names)) for prompt in prompts] == expected


BAD = [
    ("", AUTOMATIC, "", "empty"),
    (" , ;", AUTOMATIC, " , ", "empty"),
    (None, None, None, "empty"),
    ("person", "persom", "", 'Did you mean "person"'),
    ("person", AUTOMATIC, "nose, nose", "more than once"),
    ("cat, cat", AUTOMATIC, "", "more than once"),
    ("cat, dog", "animal, person, face", "", "paired by position"),
    ("x" * 400, AUTOMATIC, "", "characters long"),
    ("x" * 30_000, AUTOMATIC, "", "has 30000 characters"),
    (", ".join(f"thing {number}" for number in range(30)), AUTOMATIC, "", "At most 20"),
    ("person", "/etc/passwd.toml", "", "not the name of a skeleton"),
    ("person", "../person", "", "not the name of a skeleton"),
]


@pytest.mark.parametrize(("objects", "skeleton", "names", "message"), BAD)
def test_what_cannot_be_asked(objects: str | None, skeleton: str | None, names: str | None, message: str):
    with pytest.raises(XPoseError, match=message):
        words.text_prompts(objects, skeleton, names)


def test_no_file_of_the_server_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkeypoints = ["a"]')
    with pytest.raises(XPoseError, match="no files of the server"):
        words.skeleton_for("x", str(path), "")


def test_every_skeleton_can_be_chosen():
    for skeleton in list_skeletons():
        assert skeleton.name in words.skeleton_choices()
        assert words.skeleton_for("", skeleton.name, "")[0] is load_skeleton(skeleton.name)  # type: ignore[index]


def test_the_drawn_skeleton_is_the_one_that_is_searched():
    for fields in (("horse", AUTOMATIC, ""), ("leaf", AUTOMATIC, "tip, stalk"), ("cat", "animal_face", "")):
        drawn, reason = words.skeleton_for(*fields)  # type: ignore[misc]
        (prompt,) = words.text_prompts(*fields)
        assert tuple(point.name for point in drawn.points if not point.unused) == prompt.resolved.names
        assert reason
    assert words.skeleton_for(" ", AUTOMATIC, "") is None


def test_words_with_examples_take_the_points_that_were_clicked_unless_there_are_others():
    assert words.text_with_examples("wren", AUTOMATIC, "", ["beak", "tail"]).resolved.names == ("beak", "tail")
    assert len(words.text_with_examples("horse", "animal", "", ["nose"]).resolved.names) == 17


@pytest.mark.parametrize(("objects", "message"), [("", "0 objects"), ("cat, dog", "2 objects")])
def test_words_with_examples_are_one_class(objects: str, message: str):
    with pytest.raises(XPoseError, match=message):
        words.text_with_examples(objects, AUTOMATIC, "", ["nose"])
