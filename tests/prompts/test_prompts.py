"""Prompts are checked where they are made."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.errors import PromptError, VocabularyError, XPoseError
from xpose.prompts import CombinedPrompt, TextPrompt, VisualPrompt, as_prompts, prompts_from_pairs
from xpose.prompts.annotations import read_points

PICTURE = np.zeros((50, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("prompt", "label", "count", "first"),
    [
        pytest.param(TextPrompt("person"), "person", 17, "nose", id="a category's own skeleton"),
        pytest.param(TextPrompt("face", skeleton="68_face_points"), "face", 68, None, id="the public name of the face"),
        pytest.param(TextPrompt("horse", keypoints=["nose"]), "horse", 1, "nose", id="a subset"),
        pytest.param(TextPrompt("horse", keypoints=["saddle"]), "horse", 1, "saddle", id="free words"),
        pytest.param(TextPrompt(keypoints=["left eye"]), "object", 1, "left eye", id="of any object"),
        pytest.param(TextPrompt("person", part="hand"), "person's hand", 0, None, id="a part is boxed"),
        pytest.param(
            TextPrompt("person", part="hand", skeleton="hand"), "person's hand", 21, None, id="a part's points"
        ),
    ],
)
def test_text(prompt: TextPrompt, label: str, count: int, first: str | None) -> None:
    assert prompt.resolved.label == label
    assert len(prompt.resolved.names) == count
    if first:
        assert prompt.resolved.names[0] == first


def test_names_keep_their_spelling_and_know_their_canonical_form() -> None:
    resolved = TextPrompt("person", keypoints=["LEFT_EYE", "Nose"]).resolved
    assert resolved.names == ("LEFT_EYE", "Nose")
    assert resolved.canonical == ("left eye", "nose")
    assert set(resolved.edges) <= {("Nose", "LEFT_EYE"), ("LEFT_EYE", "Nose")}
    assert resolved.edges


def test_an_unknown_object_needs_keypoints() -> None:
    """Only the weights know what it is, so the prompt can be made."""
    prompt = TextPrompt("hrose")
    assert prompt.label == "hrose"
    with pytest.raises(VocabularyError, match=r'"hrose"\. Did you mean "horse"\?.*--keypoints'):
        prompt.resolved  # noqa: B018
    assert TextPrompt("hrose", keypoints=[]).resolved.names == ()


@pytest.mark.parametrize("part", ["hand", "left hand", "LEFT_ARM", "eye", "face", "left foot"])
def test_parts_of_a_known_object(part: str) -> None:
    assert TextPrompt("person", part=part).label == f"person's {part}"
    assert TextPrompt("gearbox", part="wing").label == "gearbox's wing", "nobody knows the parts of a gearbox"


def test_a_skeleton_of_ones_own(tmp_path: Path) -> None:
    from xpose.vocabulary import load_skeleton

    subset = load_skeleton("hand").subset(["wrist"])
    assert TextPrompt("hand", skeleton=subset).resolved.names == ("wrist",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: TextPrompt(), "neither an object nor keypoints", id="nothing"),
        pytest.param(lambda: TextPrompt(""), "non-empty string", id="empty"),
        pytest.param(lambda: TextPrompt("  "), "non-empty string", id="blank"),
        pytest.param(lambda: TextPrompt(7), "non-empty string", id="a number"),  # type: ignore[arg-type]
        pytest.param(lambda: TextPrompt("x" * 400), "at most 300", id="endless"),
        pytest.param(lambda: TextPrompt("a", keypoints="nose"), "must be a list", id="a text for a list"),
        pytest.param(lambda: TextPrompt("a", keypoints=["nose", "nose"]), "more than once", id="twice"),
        pytest.param(lambda: TextPrompt("a", keypoints=[""]), "non-empty string", id="empty keypoint"),
        pytest.param(lambda: TextPrompt(part="hand"), "neither", id="only a part"),
        pytest.param(lambda: TextPrompt(part="hand", keypoints=["tip"]), "has no object", id="a part of nothing"),
        pytest.param(
            lambda: TextPrompt("person", part="wing"), 'part of "person": "wing". Its parts: head', id="no such part"
        ),
        pytest.param(lambda: TextPrompt("red car", part="wheell"), 'Did you mean "wheels"', id="a misspelt part"),
        pytest.param(lambda: TextPrompt("leaf") + VisualPrompt(PICTURE, [(1, 1)]), "have no names", id="numbers"),
        pytest.param(lambda: TextPrompt("a", skeleton="humann"), 'Did you mean "human"', id="misspelt skeleton"),
        pytest.param(
            lambda: TextPrompt("person", skeleton="person", keypoints=["left eyee"]), "left eye", id="misspelt keypoint"
        ),
        pytest.param(lambda: VisualPrompt(PICTURE), "no box and no visible", id="nothing shown"),
        pytest.param(lambda: VisualPrompt(PICTURE, {"a": (1,)}), "must be (x, y)", id="one number"),
        pytest.param(lambda: VisualPrompt(PICTURE, {"a": "xy"}), "must be (x, y)", id="letters"),
        pytest.param(lambda: VisualPrompt(PICTURE, {"a": (math.nan, 1)}), "must be (x, y)", id="NaN"),
        pytest.param(lambda: VisualPrompt(PICTURE, {"a": None}), "must be (x, y)", id="None"),  # type: ignore[dict-item]
        pytest.param(lambda: VisualPrompt(PICTURE, {"a": (1, 1)}, box=(5, 5, 1, 9)), "x1 < x2", id="box turned round"),
        pytest.param(lambda: VisualPrompt(PICTURE, {"a": (1, 1)}, box=(1, 2, 3)), "x1, y1, x2, y2", id="short box"),
        pytest.param(lambda: CombinedPrompt(TextPrompt("cat"), ()), "no example", id="no example"),
        pytest.param(lambda: TextPrompt("cat") + TextPrompt("dog"), "one text", id="two texts"),
        pytest.param(
            lambda: TextPrompt("cat", keypoints=["nose"]) + VisualPrompt(PICTURE, {"horn": (1, 1)}),
            "horn",
            id="strange",
        ),
        pytest.param(
            lambda: CombinedPrompt(None, (VisualPrompt(PICTURE, {"a": (1, 1)}),) * 6), "At most 5", id="six shots"
        ),
        pytest.param(lambda: as_prompts(","), "must name what", id="a comma"),
        pytest.param(lambda: as_prompts([]), "empty", id="empty list"),
        pytest.param(lambda: as_prompts(None), "is not a prompt", id="None for a prompt"),
        pytest.param(lambda: prompts_from_pairs(["a", "b"], ["face"]), "counts must be equal", id="unequal"),
    ],
)
def test_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(PromptError) as error:
        make()
    assert message in str(error.value)


def test_vocabulary_faults_are_prompt_faults() -> None:
    assert issubclass(VocabularyError, PromptError)


def test_lists_and_words() -> None:
    assert [p.resolved.label for p in as_prompts("person, horse,,")] == ["person", "horse"]
    assert len(as_prompts(["person, cat", TextPrompt("dog"), VisualPrompt(PICTURE, {"a": (1, 1)})])) == 4
    assert [p.resolved.skeleton for p in prompts_from_pairs(["face", "hand"], ["face", "hand"])] == ["face", "hand"]


def test_a_region_from_points() -> None:
    example = VisualPrompt(PICTURE, {"a": (20, 10), "b": (60, 30), "c": (None, None, False)})
    x1, y1, x2, y2 = example.region(80, 50)
    assert 0 <= x1 < 20 < 60 < x2 <= 80
    assert 0 <= y1 < 10 < 30 < y2 <= 50
    with pytest.raises(PromptError, match="outside the picture"):
        VisualPrompt(PICTURE, {"a": (200, 10)}).region(80, 50)
    with pytest.raises(PromptError, match="outside the picture"):
        VisualPrompt(PICTURE, {"a": (1, 1)}, box=(100, 100, 120, 120)).region(80, 50)


def test_examples_match_by_vocabulary() -> None:
    joined = TextPrompt("person", keypoints=["left eye"]) + VisualPrompt(PICTURE, {"left_eye": (1, 1)})
    assert joined.example_names(joined.examples[0]) == {"left eye": "left_eye"}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "cat", "keypoints": ["nose", "tail", "ear"], "skeleton": [[1, 3], [1, 2]]}],
        "annotations": [
            {
                "id": 7,
                "image_id": 1,
                "category_id": 3,
                "bbox": [5, 5, 30, 20],
                "keypoints": [8, 9, 2, 0, 0, 0, 20, 15, 1],
            }
        ],
    }
    path = tmp_path / "set.json"
    path.write_text(json.dumps(content))
    return path


def test_from_coco(coco: Path) -> None:
    example = VisualPrompt.from_coco(coco, 7)
    assert example.name == "cat"
    assert example.box == (5, 5, 35, 25)
    assert list(example.points) == ["nose", "ear"]
    assert example.edges == (("nose", "ear"),), "without the one to the tail, which is not labelled"
    with pytest.raises(PromptError, match="no annotation 8"):
        VisualPrompt.from_coco(coco, 8)
    with pytest.raises(PromptError, match="Give their folder"):
        VisualPrompt.from_coco(coco, 7, pictures=coco.parent / "elsewhere")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"annotations": 3}', '{"annotations": [{"id": 7}]}'])
def test_from_damaged_coco(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(PromptError):
        VisualPrompt.from_coco(path, 7)


def test_points_files(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text('{"nose": [3, 4], "ear": [1, 2, false]}')
    assert VisualPrompt(PICTURE, **read_points(path)).points["nose"] == (3, 4, True)
    path.write_text('{"keypoints": [[3, 4]], "box": [0, 0, 9, 9], "name": "cat"}')
    example = VisualPrompt(PICTURE, **read_points(path))
    assert (example.name, example.box, list(example.points)) == ("cat", (0, 0, 9, 9), ["p1"])
    for bad in ("[]", "3", "{}", "nonsense"):
        path.write_text(bad)
        with pytest.raises(PromptError):
            read_points(path)


def test_edges_of_examples(tmp_path: Path) -> None:
    """They come from the file, join the class whatever its words are, and replace those of a skeleton."""
    path = tmp_path / "points.json"
    points = {"tip": [3, 4], "stalk": [9, 9], "middle": [5, 5]}
    path.write_text(json.dumps({"keypoints": points, "edges": [["tip", "middle"], ["middle", "tip"]]}))
    leaf = VisualPrompt(PICTURE, **read_points(path))
    assert leaf.resolved.edges == (("middle", "tip"),), "each pair once"
    stalk = VisualPrompt(PICTURE, {"stalk": (1, 1), "middle": (2, 2)}, edges=[("stalk", "middle")])
    both = TextPrompt("leaf", keypoints=["stalk", "middle", "tip"]) + leaf + stalk
    assert both.resolved.edges == (("middle", "tip"), ("stalk", "middle"))
    eyes = {"LEFT_EYE": (1, 1), "nose": (2, 2), "right eye": (3, 3)}
    known = VisualPrompt(PICTURE, eyes, name="person")
    assert len(known.resolved.edges) > 1, "those of the skeleton"
    spelt = VisualPrompt(PICTURE, eyes, name="person", edges=[("LEFT_EYE", "nose")])
    assert spelt.resolved.edges == (("LEFT_EYE", "nose"),)
    named = TextPrompt("person", keypoints=["nose", "left eye", "right eye"]) + spelt
    assert named.resolved.edges == (("left eye", "nose"),), "in the spelling of the class"
    assert (TextPrompt("leaf") + stalk).resolved.names == ("stalk", "middle"), "words without keypoints take them"


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (3, "must be a list of pairs"),
        ([["tip"]], "must be a list of pairs"),
        ([["tip", "stork"]], 'names "stork", which is not a keypoint of the example. Did you mean "stalk"?'),
        ([["tip", []]], "not a keypoint"),
        ([["tip", "tip"]], "joins a keypoint to itself"),
    ],
)
def test_wrong_edges(edges: object, message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)):
        VisualPrompt(PICTURE, {"tip": (1, 1), "stalk": (2, 2)}, edges=edges)  # type: ignore[arg-type]


@given(st.one_of(st.none(), st.text(max_size=400)), st.one_of(st.none(), st.lists(st.text(max_size=30), max_size=4)))
def test_any_words_make_a_prompt_or_a_clear_error(words: str | None, points: list[str] | None) -> None:
    try:
        prompt = TextPrompt(words, keypoints=points)
        resolved = prompt.resolved
    except XPoseError:
        return
    assert len(resolved.names) == len(resolved.canonical) == len(resolved.aliases)
    assert hash(prompt)


@given(st.dictionaries(st.text(max_size=10), st.tuples(st.floats(), st.floats()) | st.text(max_size=3), max_size=4))
def test_any_points_make_an_example_or_a_clear_error(points: dict) -> None:
    try:
        example = VisualPrompt("x.png", points)
    except XPoseError:
        return
    assert all(math.isfinite(x) and math.isfinite(y) for x, y, visible in example.points.values() if visible)
