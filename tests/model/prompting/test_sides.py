"""Names spelt out, and the code of sides and numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.model.prompting.sides import DIM, side_code, side_codes, spell_out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("left_eye", "left eye"),
        ("Left  Eye ", "left eye"),
        ("leftEye", "left eye"),
        ("L_Eye", "left eye"),
        ("eyeL", "eye left"),
        ("r eye", "right eye"),
        ("L_center", "left centre"),
        ("eye (R)", "eye right"),
        ("leftear", "left ear"),
        ("earright", "ear right"),
        ("legs leftbottomcorner", "legs left bottom corner"),
        ("paw1LH_top", "paw 1 left hind top"),
        ("LHPaw", "left hind paw"),
        ("forelegR2", "foreleg right 2"),
        ("obsHigh_bot", "obs high bottom"),
        ("tailBase", "tail base"),
        ("antbase left", "antenna base left"),
        ("abdomen1", "abdomen 1"),
        ("base center", "base centre"),
        ("thumb’s tip", "thumb's tip"),
        ("steel L-beam", "steel l-beam"),
        ("vertebra L4", "vertebra l 4"),
        ("L4", "l 4"),
        ("L", "l"),
        ("l'oeil", "l'oeil"),
        ("leftover food", "leftover food"),
        ("bright copyright", "bright copyright"),
        ("３rd ｌｅｇ", "3rd leg"),
        ("右目", "右目"),
        ("", ""),
    ],
)
def test_names_are_spelt_out(name, words):
    assert spell_out(name) == words


def fields(text: str) -> dict[str, float]:
    """The direction fields that are not zero."""
    names = ("side", "second side", "front", "upper", "second upper", "inner", "middle", "base")
    return {name: float(value) for name, value in zip(names, side_code(text)[:8], strict=True) if value}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nose", {}),
        ("left eye", {"side": -1}),
        ("eyeR", {"side": 1}),
        ("left eye right", {"side": -1, "second side": 1}),
        ("left eye left", {"side": -1, "second side": -1}),
        ("lower lip upper edge", {"upper": -1, "second upper": 1}),
        ("left front paw", {"side": -1, "front": 1}),
        ("right hindleg tip", {"side": 1, "front": -1, "base": -1}),
        ("paw4RH_bot", {"side": 1, "front": -1, "upper": -1}),
        ("midleg left base", {"side": -1, "middle": 1, "base": 1}),
        ("forehead", {}),
        ("forefinger", {}),
        ("upright piano", {}),
        ("lower lip inter edge", {"upper": -1, "inner": 1}),
        ("left cuff outside", {"side": -1, "inner": -1}),
        ("posterior dorsal fin", {"front": -1, "upper": 1}),
        ("tail fin centre", {"middle": 1}),
        ("person's left hand", {"side": -1}),
    ],
)
def test_directions(text, wanted):
    assert fields(text) == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abdomen 1", "abdomen1"),
        ("first segment", "segment 1"),
        ("1st segment", "segment one"),
        ("leg II", "leg 2"),
        ("leg I", "leg 1"),
        ("flange end b", "flange end 2"),
        ("left eye", "eye left"),
        ("front left paw", "left front paw"),
        ("jaw_07", "jaw 7"),
    ],
)
def test_two_ways_to_say_the_same(one, other):
    np.testing.assert_array_equal(side_code(one), side_code(other))


def test_numbers_are_smooth_and_all_different():
    codes = side_codes(f"jaw {n}" for n in range(68))
    gaps = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    assert gaps[~np.eye(68, dtype=bool)].min() > 0.04, "no two numbers alike"
    assert np.linalg.norm(np.diff(codes, axis=0), axis=1).max() < 1, "neighbours differ less than left from no side"
    assert (np.diff(codes[:, 8]) > 0).all(), "the size grows"


def test_of_two_numbers_the_last_counts_most():
    last = [8, *range(10, 14)]
    np.testing.assert_array_equal(side_code("finger 2 joint 3")[last], side_code("joint 3")[last])
    assert not side_code("joint 3")[[9, 14, 15]].any()
    assert np.linalg.norm(side_code("flange 1 end 1") - side_code("flange 2 end 1")) > 0.8


def test_the_sides_differ_in_one_number_only():
    left, right = side_code("left lower eyelid 2"), side_code("right lower eyelid 2")
    assert np.flatnonzero(left != right).tolist() == [0]
    assert left[0] == -right[0]


@given(st.text(max_size=40))
def test_any_text_has_a_code(text):
    code = side_code(text)
    assert code.shape == (DIM,)
    assert code.dtype == np.float32
    assert np.isfinite(code).all()
    assert np.abs(code).max() <= 1
    np.testing.assert_array_equal(code, side_code(text))


def test_enormous_numbers_and_no_texts():
    assert np.isfinite(side_code("9" * 5000)).all()
    assert side_codes([]).shape == (0, 16)
