"""The table of result formats: every row works, and the documentation has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.errors import ConfigError
from xpose.results import Poses
from xpose.results.formats.table import ASPECTS, FORMATS, ResultFormat, encoded, files

DOCS = Path(__file__).parents[3] / "docs" / "formats.md"
PAIR = [two_dogs_and_a_box(), two_dogs_and_a_box()[:1]]
NEEDS = {"parquet": "pyarrow", "deeplabcut-h5": "tables", "sleap": "sleap_io", "nwb": "ndx_pose"}


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def row(request: pytest.FixtureRequest) -> ResultFormat:
    pytest.importorskip(NEEDS.get(request.param.name, "numpy"))
    return request.param


def test_the_documentation_lists_the_format(row: ResultFormat) -> None:
    files = [row.file, *(row.shared([]) if row.shared else ())]
    shown = ", ".join(f"`{file.replace('{picture}', 'NAME')}`" for file in files)
    lost = ", ".join(name for name in ASPECTS if name not in row.keeps) or "nothing"
    line = f"| `{row.name}` | {row.used_by} | {shown} | {'yes' if row.readable else 'no'} | {lost} |"
    assert line in DOCS.read_text("utf-8").splitlines()


@pytest.mark.filterwarnings("ignore::xpose.errors.XPoseWarning")  # dogs are no people for 3-D lifting
def test_several_pictures_in_one_file_where_the_format_can(row: ResultFormat) -> None:
    if row.single:
        with pytest.raises(ConfigError, match="holds exactly one picture"):
            encoded(PAIR, row.name)
    else:
        assert encoded(PAIR, row.name) != encoded(PAIR[:1], row.name)


@pytest.mark.filterwarnings("ignore::xpose.errors.XPoseWarning")  # OpenPose has no place for a dog with three points
def test_a_folder_of_results(row: ResultFormat) -> None:
    """A file for each picture, named after it, or one for all; its content is that of a single file."""
    written = dict(files(PAIR, ["a", "sub/b"], row.name))
    if row.single:
        expected = [row.file.format(picture=name) for name in ("a", "sub/b")]
        assert [*written][:2] == expected
        assert written[expected[0]] == encoded(PAIR[:1], row.name)
    else:
        assert {*written} == {row.file, *(row.shared(PAIR) if row.shared else ())}
        assert row.name in ("nwb", "sleap", "deeplabcut-h5") or written[row.file] == encoded(
            PAIR, row.name
        )  # these state when


@given(any_poses())
def test_what_is_read_is_what_was_written(poses):
    content = encoded([poses], "json")
    assert encoded([Poses.from_json(content)], "json") == content


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError, match=r'Unknown format "cocoa"\. Did you mean "coco"'):
        two_dogs_and_a_box().save("never", "cocoa")
