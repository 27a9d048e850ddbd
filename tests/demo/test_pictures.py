"""Uploaded files are checked, shown in a size that fits, and kept whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.demo.conftest import png, saved

from xpose.demo.pictures import Limits, read_picture
from xpose.errors import ImageError


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "a.png", "empty file"),
        (b"hello", "notes.txt", "not a picture"),
        (png()[:150], "cut.png", "damaged"),
        (b"x" * 2000, "long.png", "larger than 0.001 MB"),
        (png(size=(200, 200)), "wide.png", "40000|200 x 200"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, name: str, message: str):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        read_picture(tmp_path / "file", name, Limits(file_bytes=1000, pixels=30_000))
    assert name in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_gone(tmp_path: Path):
    with pytest.raises(ImageError, match="Upload it again"):
        read_picture(tmp_path / "none", "none.png", Limits())


@pytest.mark.parametrize(("size", "shown"), [((4000, 20), (1600, 8)), ((300, 150), (960, 480)), ((1000, 5), (1000, 5))])
def test_a_picture_is_shown_in_a_size_that_fits_and_kept_whole(tmp_path: Path, size, shown):
    picture = saved(tmp_path, "a.png", size=size)
    assert picture.shown.size == shown
    assert picture.pixels.shape[1::-1] == size


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../x.png", "x.png"),
        ("", "picture"),
        ("a/", "picture"),
        ("\x00\x1b[31m", "[31m"),
        ("C:\\me\\é\n.png", "é .png"),
    ],
)
def test_names_of_files_are_only_names(tmp_path: Path, name: str, expected: str):
    (tmp_path / "file").write_bytes(png())
    assert read_picture(tmp_path / "file", name, Limits()).name == expected
