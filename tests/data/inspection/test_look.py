"""The pages of `xpose data look`: they show what is there, stand alone, and names from data cannot break them."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from tests.data.collection.test_unify import simple
from tests.data.small_sets import category, record, write_prepared

from xpose.data.collection.unify import unify
from xpose.data.inspection.look import look, page_name
from xpose.data.inspection.overlay import _spread, named_svg, picture_svg, small_jpeg
from xpose.records import HIDDEN, VISIBLE, Category, Instance, Picture, Record

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "br", "rect", "line", "circle", "image", "img"}


class Checker(HTMLParser):
    """Collects tags and attributes, and fails on a tag that is closed in the wrong place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("href", "src")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(page: str) -> Checker:
    found = Checker(page)
    assert "script" not in found.tags
    for address in found.addresses:
        inside = address.startswith("data:image/jpeg;base64,") or re.fullmatch(r"[\w.-]+\.html", address)
        assert inside or address.startswith("https://"), f"the page needs {address[:60]}"
    return found


def test_pages_of_sets_and_the_index(tmp_path: Path) -> None:
    simple(tmp_path / "sets", "first")
    simple(tmp_path / "sets", "second", start=20, kind=category("face", "face"))
    pages = look([tmp_path / "sets"], tmp_path / "pages")
    assert [page.name for page in pages] == ["index.html", "first.html", "second.html"]
    content = {page.name: page.read_text("utf-8") for page in pages}
    for page in content.values():
        check(page)
        assert str(tmp_path) not in page, "no folder of the machine"
    index = content["index.html"]
    assert "2 sets, 16 pictures, 16 objects, 2 categories" in index
    assert 'href="first.html"' in index
    assert "train: 6 pictures, 6 objects" in content["first.html"]
    assert "left shoulder" in content["first.html"]
    assert "upper lip outer centre" in content["second.html"], "numbered points are named below the picture"
    assert "CC-BY-4.0" in content["first.html"]


def test_the_numbers_in_the_charts(tmp_path: Path) -> None:
    """Of 17 points every second is hidden; a set with two objects of ten labelled says 20 %."""
    kind = category("person")
    empty = Instance(kind, (5.0, 5.0, 50.0, 50.0))
    records = [record("some", "train", f"{k}.png", [kind] if k < 2 else []) for k in range(10)]
    records = [records[0], records[1]] + [
        Record(one.picture, (empty,), "some", "train", "CC0", "anatomical") for one in records[2:]
    ]
    write_prepared(tmp_path, "some", records, {f"{k}.png": k for k in range(10)})
    _, page = look([tmp_path / "some"], tmp_path / "pages")
    content = page.read_text("utf-8")
    assert '<b title="left eye: 2, 0">' in content
    assert '<b title="nose: 0, 2">' in content
    assert content.count(">20 %<") == 17
    assert '<div title="1: 10">' in content, "objects in a picture"


def test_the_same_seed_shows_the_same(tmp_path: Path) -> None:
    simple(tmp_path / "sets", train=20)

    def made(name: str, seed: int) -> bytes:
        return look([tmp_path / "sets"], tmp_path / name, pictures=5, seed=seed)[1].read_bytes()

    assert made("a", 1) == made("b", 1)
    assert made("a", 1) != made("c", 2)
    assert made("a", 1).count(b"<figure>") == 5


def test_a_collection_is_shown_set_by_set(tmp_path: Path) -> None:
    simple(tmp_path / "sets", "first")
    simple(tmp_path / "sets", "second", start=20)
    unify([tmp_path / "sets"], tmp_path / "collection")
    pages = look([tmp_path / "collection"], tmp_path / "pages", only=["second"])
    assert [page.name for page in pages] == ["index.html", "second.html"]
    assert "The set second" in pages[1].read_text("utf-8")


def test_names_from_data_cannot_break_a_page(tmp_path: Path) -> None:
    kind = Category(EVIL, EVIL, (EVIL, "plain"), ((EVIL, "plain"),))
    instance = Instance(kind, (5.0, 5.0, 80.0, 60.0), {EVIL: (10.0, 20.0, VISIBLE), "plain": (50.0, 40.0, HIDDEN)})
    one = Record(Picture("a&b'\".png", 120, 90), (instance,), "evil set", "tr<i>ain", EVIL, "anatomical", style=EVIL)
    title, homepage = EVIL, 'javascript:alert("x")'
    numbers = {"a&b'\".png": 3}
    write_prepared(tmp_path, "evil set", [one], numbers, title=title, homepage=homepage, licence=EVIL, terms=EVIL)
    pages = look([tmp_path / "evil set"], tmp_path / "pages")
    for page in pages:
        content = page.read_text("utf-8")
        check(content)
        assert EVIL not in content
        assert "&lt;script&gt;" in content


def test_a_missing_picture_leaves_a_grey_field(tmp_path: Path) -> None:
    simple(tmp_path / "sets")
    for file in (tmp_path / "sets/first-original").rglob("*.png"):
        file.unlink()
    _, page = look([tmp_path / "sets"], tmp_path / "pages")
    content = page.read_text("utf-8")
    check(content)
    assert "the picture cannot be read" in content


@pytest.mark.parametrize(
    ("name", "page"), [("coco", "coco.html"), ("300w", "300w.html"), ("faces68_multi", "faces68_multi.html")]
)
def test_page_names(name: str, page: str) -> None:
    assert page_name(name) == page


def test_page_names_stay_in_the_folder_and_apart() -> None:
    names = ["index", "a b", "a_b", "a/b", "../a", "ä", "ö", ""]
    pages = [page_name(name) for name in names]
    assert len(set(pages)) == len(names)
    assert all(re.fullmatch(r"[\w-]+\.html", page, re.ASCII) for page in pages)
    assert "index.html" not in pages


def drawn(tmp_path: Path) -> tuple[Record, Path]:
    path = tmp_path / "a.png"
    Image.new("RGB", (200, 100), (10, 200, 30)).save(path)
    kind = Category("thing", "thing", ("left end", "right end", "top"), (("left end", "right end"),))
    points = {"left end": (19.5, 49.5, VISIBLE), "right end": (179.5, 49.5, HIDDEN)}
    return Record(Picture("a.png", 200, 100), (Instance(kind, (10, 20, 180, 60), points),), "s", "t", "l", "none"), path


def test_points_are_drawn_where_they_are(tmp_path: Path) -> None:
    record, path = drawn(tmp_path)
    svg = picture_svg(record, path)
    assert 'viewBox="0 0 200 100"' in svg
    places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)".*?<title>(.*?)</title>', svg)
    assert places == [("20.0", "50.0", "left end"), ("180.0", "50.0", "right end (hidden)")]
    assert '<line x1="20.0" y1="50.0" x2="180.0" y2="50.0"' in svg
    assert '<rect x="10.0" y="20.0" width="180.0" height="60.0"' in svg


def test_names_stand_beside_the_picture(tmp_path: Path) -> None:
    record, path = drawn(tmp_path)
    svg, numbered = named_svg(record, record.instances[0], path)
    assert numbered == []
    assert ">left end<" in svg
    assert ">right end<" in svg
    assert ">top<" not in svg, "a point that is not labelled has no place"


def test_the_embedded_picture_is_the_part_that_was_asked_for(tmp_path: Path) -> None:
    _, path = drawn(tmp_path)
    address = small_jpeg(path, 50, (0, 0, 100, 100))
    assert address is not None
    image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert image.size == (50, 50)
    pixel = image.getpixel((25, 25))
    assert isinstance(pixel, tuple)
    assert max(abs(a - b) for a, b in zip(pixel, (10, 200, 30), strict=True)) < 12


@pytest.mark.parametrize("wanted", [[], [5.0], [50.0] * 8, [0.0, 1.0, 2.0, 99.0], [99.0, 99.0, 99.0]])
def test_labels_do_not_cover_each_other(wanted: list[float]) -> None:
    rows = _spread(wanted, 10.0, 100.0)
    assert len(rows) == len(wanted)
    assert all(second - first >= 10.0 - 1e-9 for first, second in pairwise(rows))
    assert all(10.0 <= row <= 100.0 for row in rows)
