"""Names stay inside, numbers are numbers, pictures are whole."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xpose.data.datasets.sources import (
    Fields,
    SourceFolder,
    as_number,
    box_of_points,
    parse_number,
    safe_name,
)
from xpose.errors import DataError
from xpose.records import Picture


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.jpg", "a.jpg"),
        ("a//b/./c.jpg", "a/b/c.jpg"),
        ("clip\\frame7.jpg", "clip/frame7.jpg"),
        ("with blank/ü図.jpg", "with blank/ü図.jpg"),
        ("a..b/c...jpg", "a..b/c...jpg"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "/a",
        "\\a",
        "..",
        "../a",
        "a/../../b",
        "..\\a",
        "C:a",
        "c:\\a",
        "a\0b",
        "a\nb",
        "x" * 2000,
        None,
        7,
    ],
)
def test_refused_names(name: object) -> None:
    with pytest.raises(DataError):
        safe_name(name)


@given(st.text(max_size=60))
def test_no_name_ever_leaves_the_root(name: str) -> None:
    try:
        safe = safe_name(name)
    except DataError:
        return
    root = Path("/somewhere/root")
    assert root in (root / safe).parents
    assert ".." not in (root / safe).parts


def test_accents_match_in_either_form(tmp_path: Path) -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        name = unicodedata.normalize(form, f"{form} é.txt")
        (tmp_path / name).write_text("x")
        assert SourceFolder(tmp_path).has(unicodedata.normalize(other, name))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, 1e8, True, "1", None, [1]])
def test_what_is_no_number(value: object) -> None:
    assert as_number(value) is None
    with pytest.raises(DataError, match=r'"x" is .* but must be a finite number'):
        Fields({"x": value}, "image 1").number("x")


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "x", "", "1 2", "9" * 5000])
def test_texts_that_are_no_numbers(text: str) -> None:
    with pytest.raises(DataError, match=r"is not a finite number"):
        parse_number(text, "line 1")


def test_fields_name_what_is_wrong() -> None:
    fields = Fields({"a": 3.0, "b": [1, 2], "c": " ", "d": {"e": 1}, "k": [5, 6, 2, 0, 0, 0]}, "image 7")
    assert fields.integer("a") == 3
    assert fields.numbers("b", 2) == [1, 2]
    assert fields.object("d").integer("e") == 1
    assert fields.points("k", ["nose", "tail"]) == {"nose": (5, 6, 2)}
    for wrong in (
        lambda: fields.integer("b"),
        lambda: fields.numbers("b", 3),
        lambda: fields.text("c"),
        lambda: fields.list("missing"),
        lambda: fields.points("k", ["nose"]),
        lambda: fields.object("a"),
    ):
        with pytest.raises(DataError, match=r"image 7"):
            wrong()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    source = SourceFolder(tmp_path)
    (tmp_path / "a.json").write_text('{"a": [1, 2')
    (tmp_path / "b.json").write_bytes(b"\xff\xff\xff")
    (tmp_path / "c.json").write_text("[" * 100_000)
    (tmp_path / "d.csv").write_text("name,x\na,1\n")
    (tmp_path / "e.csv").write_text('name,y\n"a,1\n')
    for name, reason in (("a", "not JSON"), ("b", "not UTF-8"), ("c", "nested too deeply"), ("f", "missing")):
        with pytest.raises(DataError, match=rf'{name}\.json".*{reason}'):
            source.json(f"{name}.json")
    with pytest.raises(DataError, match=r'd\.csv" has no column "y"'):
        list(source.table("d.csv", ["y"]))
    with pytest.raises(DataError, match=r'e\.csv" is not a csv table'):
        list(source.table("e.csv", ["y"]))


def test_lines_split_at_line_ends_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\u2028still\n\nlast".encode())
    assert SourceFolder(tmp_path).lines("a.txt") == ["one", "two\u2028still", "", "last"]


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp", "tif"])
def test_pictures_are_measured_and_cut_ones_found(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    source = SourceFolder(tmp_path)
    assert source.picture(path.name) == Picture(path.name, 60, 40)
    assert source.picture(path.name, (60, 40)).width == 60
    with pytest.raises(DataError, match=r"annotation says 40x60, but the picture .* is 60x40"):
        source.picture(path.name, (40, 60))
    content = path.read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match=r"cannot be read"):
            source.picture(path.name)
    with pytest.raises(DataError, match=r"is missing"):
        source.picture("b.jpg")


def test_jpeg_with_rubbish_behind_its_end_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (30, 20)).save(path)
    path.write_bytes(path.read_bytes() + b"\0" * 10_000)
    assert SourceFolder(tmp_path).picture("a.jpg").height == 20


def test_pictures_of_an_array_go_into_the_prepared_folder(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = SourceFolder(tmp_path / "root", tmp_path / "out").save_picture("7.png", pixels)
    assert picture == Picture("pictures/7.png", 4, 3, stored="prepared")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / picture.file)), pixels)
    assert not list((tmp_path / "root").iterdir())
    with pytest.raises(DataError, match=r"without a folder to write to"):
        SourceFolder(tmp_path / "root").save_picture("7.png", pixels)


def test_boxes_and_areas() -> None:
    assert box_of_points([(10, 20, 2), (30, 25, 1)]) == (10, 20, 20, 5)
    assert box_of_points([(10, 20), (30, 25)], 0.1) == (8, 19.5, 24, 6)
    assert box_of_points([(0, 0), (30, 20)], 0.5, Picture("a", 40, 25)) == (0, 0, 40, 25)
    with pytest.raises(DataError, match=r"neither a box nor a labelled point"):
        box_of_points([])


def test_a_root_that_is_no_folder() -> None:
    with pytest.raises(DataError, match=r"is not a folder"):
        SourceFolder("no such folder")
