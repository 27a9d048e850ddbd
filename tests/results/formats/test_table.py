"""The table of result formats: every row works, and the documentation has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.errors import ConfigError
from xpose.results import Poses
from xpose.results.formats.table import FORMATS, encoded, files

DOCS = Path(__file__).parents[3] / "docs" / "results.md"
PAIR = [two_dogs_and_a_box(), two_dogs_and_a_box()[:1]]


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_the_documentation_lists_the_format(row):
    line = next(line for line in DOCS.read_text("utf-8").splitlines() if f'`poses.save(path, "{row.name}")`' in line)
    assert row.used_by in line
    assert ("yes" if row.keypoint_errors else "no") in line.split("|")[-2]


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_several_pictures_in_one_file_where_the_format_can(row):
    if row.single:
        with pytest.raises(ConfigError, match="holds exactly one picture"):
            encoded(PAIR, row.name)
    else:
        assert len(encoded(PAIR, row.name)) > len(encoded(PAIR[:1], row.name))


@pytest.mark.filterwarnings("ignore::xpose.errors.XPoseWarning")  # OpenPose has no place for a dog with three points
@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_a_folder_of_results(row):
    """A file for each picture, named after it, or one for all; its content is that of a single file."""
    written = dict(files(PAIR, ["a", "sub/b"], row.name))
    if row.single:
        expected = [row.file.format(picture=name) for name in ("a", "sub/b")]
        assert [*written][:2] == expected
        assert written[expected[0]] == encoded(PAIR[:1], row.name)
    else:
        assert written == {row.file: encoded(PAIR, row.name)}


@given(any_poses())
def test_what_is_read_is_what_was_written(poses):
    content = encoded([poses], "json")
    assert encoded([Poses.from_json(content)], "json") == content


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError, match=r'Unknown format "cocoa"\. Did you mean "coco"'):
        two_dogs_and_a_box().save("never", "cocoa")
