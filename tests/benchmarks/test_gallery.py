"""The gallery shows what the bundled weights detect."""

from __future__ import annotations

import xpose
from benchmarks import gallery

ITEMS = [item for items in gallery.SECTIONS.values() for item in items]
PAGE = (gallery.DOCS / "gallery.md").read_text("utf-8")


def test_the_page_says_what_is_detected_today():
    detector = xpose.load("xpose-nano")
    learned = [item for item in ITEMS if "/" not in item.photograph and item.name != "coins"]
    assert len(learned) > 6
    assert [item for item in learned if gallery.summary(item, gallery.answer(detector, item, None)) not in PAGE] == []


def test_every_picture_is_shown_and_small():
    drawings = list((gallery.DOCS / "images" / "gallery").glob("*.jpg"))
    assert {path.stem for path in drawings} == {item.name for item in ITEMS} | {"front"}
    assert [item.name for item in ITEMS if f"(images/gallery/{item.name}.jpg)" not in PAGE] == []
    assert sum(path.stat().st_size for path in drawings) < 1_500_000


def test_terms_are_named():
    used = {item.photograph.partition("/")[0] for item in ITEMS} | {item.example for item in ITEMS if item.example}
    assert [name for name in used if f"| {name} | {gallery.TERMS[name]} |" not in PAGE] == []
