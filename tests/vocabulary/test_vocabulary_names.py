"""Rules on bare names."""

import pytest

from xpose.vocabulary import flip_name, normalise, side_of, sigma_for


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        ("left eye", "right eye"),
        ("Right_Eye", "Left_Eye"),
        ("upper lip outer right", "upper lip outer left"),
        ("right eye left", "left eye right"),
        ("nose", "nose"),
        ("leftover", "leftover"),
        ("bright spot", "bright spot"),
    ],
)
def test_flip_name(name: str, mirrored: str) -> None:
    assert flip_name(name) == mirrored
    assert flip_name(mirrored) == name


@pytest.mark.parametrize(
    ("name", "side"),
    [("left eye", "left"), ("upper lip outer right", "right"), ("nose", "middle"), ("bright", "middle")],
)
def test_side_of(name: str, side: str) -> None:
    assert side_of(name) == side


def test_normalise_ignores_what_people_type_differently() -> None:
    assert normalise("  Left_Eye ") == normalise("left-eye") == "left eye"
    assert normalise("thumb’s  root") == "thumb's root"
    assert normalise("nose center") == "nose centre"


@pytest.mark.parametrize(
    ("name", "sigma"),
    [
        ("nose", 0.026),
        ("left_shoulder", 0.079),
        ("right front paw", 0.062),
        ("root of tail", 0.035),
        ("left front elbow", 0.072),
        ("left hock", 0.089),
        ("upper lip", 0.025),
        ("left thumb tip", 0.035),
        ("right hindleg tip", 0.035),
        ("left sleeve", 0.05),
        ("antler tip", 0.05),
    ],
)
def test_sigma_for(name: str, sigma: float) -> None:
    assert sigma_for(name) == sigma
