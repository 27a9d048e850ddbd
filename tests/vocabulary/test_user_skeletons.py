"""Skeleton files that users write: what may be left out, and what the faults read like."""

from pathlib import Path

import pytest

from xpose.errors import ConfigError
from xpose.vocabulary import load_skeleton

FIVE_FAULTS = """
name = "broken"
colour = "red"
left_right = "mirrored"
keypoints = [
  { name = "left fin", flip = "right fun", sigma = 0.05 },
  { name = "right fin", sigma = -1 },
  { name = "tail" },
]
edges = [["tail", "right fin"], ["tail", "left fins"]]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_list_of_names_is_a_skeleton(tmp_path: Path) -> None:
    file = written(tmp_path, 'keypoints = ["left eye", "right eye", "left fork tip"]')
    skeleton = load_skeleton(str(file))
    assert skeleton.name == "mine"
    assert skeleton.flips == {"left eye": "right eye", "right eye": "left eye", "left fork tip": "left fork tip"}
    assert skeleton.sigmas == (0.025, 0.025, 0.05)
    assert skeleton.left_right == "anatomical"
    assert skeleton.layout is None
    assert skeleton.aliases == skeleton.keypoints


def test_points_without_partners_need_no_rule(tmp_path: Path) -> None:
    assert load_skeleton(written(tmp_path, 'keypoints = ["cap", "spout"]')).left_right == "none"


def test_all_five_faults_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_skeleton(written(tmp_path, FIVE_FAULTS))
    message = str(caught.value)
    assert "has 5 faults" in message
    assert message.count("\n  - ") == 5
    for fault in (
        'skeleton: unknown key "colour"',
        "left_right = 'mirrored' must be one of anatomical, viewer, disputed, none",
        "flip = 'right fun' is not a keypoint of this skeleton. Did you mean \"right fin\"",
        "sigma = -1 must be a number above 0 and at most 1",
        '"left fins" is not a keypoint of this skeleton. Did you mean "left fin"',
    ):
        assert fault in message
    assert "docs/vocabulary.md" in message


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "at least one keypoint"),
        ("keypoints = []", "at least one keypoint"),
        ("keypoints = [1]", "keypoint 1: needs a name"),
        ('keypoints = [{ part = "head" }]', "keypoint 1: needs a name"),
        ('keypoints = ["eye", "Eye"]', "the name is used twice"),
        ('keypoints = [{ name = "a", sigma = nan }]', "sigma = nan"),
        ('keypoints = [{ name = "a", sigma = true }]', "sigma = True"),
        ('keypoints = [{ name = "a", layout = [0.5, 2] }]', "with both in 0..1"),
        ('keypoints = [{ name = "a", layout = 0.5 }]', "must be [x, y]"),
        ('keypoints = [{ name = "a", source_names = "b" }]', "must be a list of texts"),
        ('keypoints = [{ name = "a", unused = 1 }]', "must be true or false"),
        ('keypoints = [{ name = "a", sigmas = 1 }]', 'unknown key "sigmas". Did you mean "sigma"'),
        ('keypoints = [{ name = "a", flip = "b" }, { name = "b" }, { name = "c", flip = "b" }]', "flips go both ways"),
        (
            'left_right = "none"\nkeypoints = [{ name = "a", flip = "b" }, { name = "b", flip = "a" }]',
            "nothing changes",
        ),
        ('released = "person"\nkeypoints = ["nose"]', "has no alias"),
        ('keypoints = ["a", "b"]\nedges = [["a", "b"], ["b", "a"]]', "is there twice"),
        ('keypoints = ["a"]\nedges = [["a", "a"]]', "joins a keypoint to itself"),
        ('keypoints = ["a", "b"]\nedges = [[0, 1]]', "must be a pair of keypoint names"),
        ('keypoints = ["a"]\nedges = "a-b"', "must be a list of pairs"),
        ('keypoints = ["a"]\nsource = "me"', "must be a table"),
        ("name = 3\nkeypoints = ['a']", "must be a text"),
        ("keypoints = [", "is not TOML"),
    ],
)
def test_each_fault_has_its_words(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_skeleton(written(tmp_path, text))
    assert fault in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read the skeleton file"):
        load_skeleton(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="Cannot read the skeleton file"):
        load_skeleton(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not TOML in UTF-8"):
        load_skeleton(binary)
    large = tmp_path / "large.toml"
    large.write_text("#" * 1_000_001)
    with pytest.raises(ConfigError, match="at most 1000000"):
        load_skeleton(large)
    deep = tmp_path / "deep.toml"
    deep.write_text("keypoints = " + "[" * 5000)
    with pytest.raises(ConfigError):
        load_skeleton(deep)
