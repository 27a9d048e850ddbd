from pathlib import PurePosixPath

import pytest

from xpose import errors
from xpose.errors import counted, did_you_mean, missing_extra, quote, unknown

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if not issubclass(kind, Warning)])
def test_every_error_is_caught_as_one_and_prints_its_message_plainly(kind):
    message = 'Unknown skeleton "humann". Did you mean "human"?'
    with pytest.raises(errors.XPoseError) as caught:
        raise kind(message)
    assert str(caught.value) == message


def test_the_three_parts_of_an_unknown_name():
    error = unknown("skeleton", "humann", ["human", "fly"], "List them with: xpose skeletons")
    assert str(error) == 'Unknown skeleton "humann". Did you mean "human"? List them with: xpose skeletons'
    assert isinstance(error, errors.PromptError)
    assert isinstance(error, KeyError)


@pytest.mark.parametrize(
    ("why", "value", "known", "expected"),
    [
        ("near", "lef eye", ["left eye", "tail"], ' Did you mean "left eye"?'),
        ("case does not count, and its own spelling comes back", "ap-10k", ["AP-10K"], ' Did you mean "AP-10K"?'),
        (
            "two near ones, the nearest first",
            "left eyes",
            ["left ear", "left eye"],
            ' Did you mean "left eye" or "left ear"?',
        ),
        ("nothing near", "zebra", ["hand", "face"], ""),
        ("nothing known", "zebra", [], ""),
        ("nothing given", "", ["hand"], ""),
    ],
)
def test_did_you_mean(why, value, known, expected):
    assert did_you_mean(value, known) == expected, why


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("dog", '"dog"'),
        (7, '"7"'),
        ("x" * 80, f'"{"x" * 80}"'),
        ("x" * 81, f'"{"x" * 77}..."'),
        (PurePosixPath("x" * 81, "a.png"), f'"{"x" * 81}/a.png"'),
    ],
)
def test_quote_shortens_all_but_paths(value, expected):
    assert quote(value) == expected


def test_a_missing_extra_names_itself():
    error = missing_extra("Reading SLEAP files", "sleap-io", "data")
    assert isinstance(error, ImportError)
    assert str(error) == (
        'Reading SLEAP files needs the package "sleap-io", which is not installed. '
        'Install it with: pip install "xpose[data]"'
    )


def test_counted_nouns_agree_with_their_numbers():
    assert counted(1, "step") == "1 step"
    assert counted(0, "step") == "0 steps"
    assert counted(2000, "object or point", "objects or points") == "2,000 objects or points"
