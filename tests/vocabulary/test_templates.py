"""The sentences for the text encoders."""

import pytest

from xpose.vocabulary import (
    hierarchical_text,
    load_skeleton,
    released_keypoint_text,
    released_object_text,
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Person", "a photo of person"),
        ("spider-monkey", "a photo of spider monkey"),
        ("grebe_body", "a photo of grebe body"),
    ],
)
def test_released_object(name: str, text: str) -> None:
    assert released_object_text(name) == text


@pytest.mark.parametrize(
    ("alias", "text"),
    [
        ("left_eye", "a photo of left eye"),
        ("ankle left ", "a photo of ankle left "),
        ("thumb’s first knuckle", "a photo of thumb’s first knuckle"),
        ("T-shirt hem", "a photo of t-shirt hem"),
    ],
)
def test_released_keypoint_keeps_hyphens_and_oddities(alias: str, text: str) -> None:
    assert released_keypoint_text(alias) == text


def test_the_alias_and_not_the_name_goes_to_the_released_checkpoint() -> None:
    point = load_skeleton("animal").point("tail base")
    assert point.alias is not None
    assert released_keypoint_text(point.alias) == "a photo of root of tail"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "a photo of left eye"),
        ({"part": "head"}, "a photo of a head's left eye"),
        ({"of": "Lynx"}, "a photo of a lynx's left eye"),
        ({"of": "lynx", "part": "head"}, "a photo of a lynx's head's left eye"),
        ({"style": "cartoon"}, "a cartoon photo of left eye"),
        ({"style": "cartoon", "of": "lynx", "part": "head"}, "a cartoon photo of a lynx's head's left eye"),
    ],
)
def test_hierarchical(parts: dict[str, str], text: str) -> None:
    assert hierarchical_text("left eye", **parts) == text
