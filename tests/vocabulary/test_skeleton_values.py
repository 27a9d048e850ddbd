"""What a loaded skeleton can do: look up, mirror, take subsets."""

import pytest

from xpose.errors import PromptError, VocabularyError
from xpose.vocabulary import load_skeleton


@pytest.mark.parametrize("spelling", ["person", "Person", "PERSON 17", "human", "coco-person"])
def test_skeletons_are_found_under_all_their_names(spelling: str) -> None:
    assert load_skeleton(spelling).name == "person"


def test_an_unknown_skeleton_proposes_near_ones() -> None:
    with pytest.raises(VocabularyError, match=r'Unknown skeleton "persn"\. Did you mean "person".*xpose skeletons'):
        load_skeleton("persn")


@pytest.mark.parametrize("spelling", ["left eye", "left_eye", "Left-Eye", "  LEFT  eye "])
def test_points_are_found_however_they_are_typed(spelling: str) -> None:
    skeleton = load_skeleton("person")
    assert skeleton.index(spelling) == 1
    assert spelling in skeleton


def test_american_spelling_finds_british_names() -> None:
    assert load_skeleton("face").point("chin center").name == "chin centre"


def test_an_unknown_point_proposes_near_ones() -> None:
    with pytest.raises(VocabularyError, match=r'"lefteye".*Did you mean.*"left eye".*xpose skeletons person'):
        load_skeleton("person").point("lefteye")


def test_a_name_goes_before_an_alias() -> None:
    """The released dress has left and right exchanged in its side points: the name must win over the alias."""
    dress = load_skeleton("short_sleeved_dress")
    point = dress.point("left side 1")
    assert (point.name, point.alias) == ("left side 1", "right side 1")


def test_the_exact_spelling_goes_first() -> None:
    """Released strings count brows from 1, the field names of the 68-point files from 0."""
    face = load_skeleton("face")
    assert face.index("right eyebrow 1") == 17
    assert face.index("right_eyebrow_1") == 18


def test_an_alias_of_several_points_finds_none() -> None:
    assert "none" not in load_skeleton("car")


def test_a_subset_keeps_order_names_and_edges() -> None:
    arm = load_skeleton("person").subset(["left wrist", "left_elbow", "nose"])
    assert arm.keypoints == ("left wrist", "left elbow", "nose")
    assert arm.edges == (("left elbow", "left wrist"),)
    assert arm.index("nose") == 2
    assert arm.edge_indices() == ((1, 0),)


def test_a_subset_needs_points_and_takes_each_once() -> None:
    person = load_skeleton("person")
    with pytest.raises(PromptError, match="at least one"):
        person.subset([])
    with pytest.raises(PromptError, match=r'"left eye".*more than once'):
        person.subset(["left eye", "nose", "left_eye"])


def test_sides_and_parts() -> None:
    person = load_skeleton("person")
    assert person.sides[:3] == ("middle", "left", "right")
    assert person.parts["left arm"] == ("left elbow", "left wrist")
    # A salmon is seen from one side: nothing is renamed, so nothing is left or right.
    assert set(load_skeleton("salmon").sides) == {"middle"}


def test_skeletons_are_frozen_and_shared() -> None:
    assert load_skeleton("person") is load_skeleton("human")
    with pytest.raises(AttributeError):
        load_skeleton("person").name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        load_skeleton("person").flips["nose"] = "left eye"  # type: ignore[index]
