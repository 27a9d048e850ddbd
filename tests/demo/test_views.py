"""Whatever is called whatever: names never become markup."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.demo import views
from xpose.demo.answers import Answer, Sliders, Usual
from xpose.demo.batch import Progress
from xpose.demo.sketch import Sketch
from xpose.demo.uploads import Upload
from xpose.results import Poses

EVIL = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "</svg></div><iframe src=//evil>",
    "${alert(1)}",
    "{{7*7}}",
    "`${1}`",
    "javascript:alert(1)",
    "a & b < c > d \" e ' f",
]
NAMES = st.one_of(st.sampled_from(EVIL), st.text("<>&\"'`/=${} abcé", min_size=1, max_size=30)).filter(
    lambda text: bool(text.strip())
)
TAGS = {
    *("div", "p", "ul", "li", "figure", "figcaption", "img", "svg", "g", "rect", "line", "circle", "button", "span"),
    *("table", "thead", "tbody", "tr", "th", "td", "a", "label", "input", "progress"),
}


class Reader(HTMLParser):
    """Reads HTML as a browser would: tags, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def check(html: str, names: list[str]) -> Reader:
    """No tag and no attribute that the views do not write themselves; the names are there as they were typed."""
    read = Reader(html)
    assert set(read.tags) <= TAGS
    assert [name for name, _ in read.attributes if name.startswith("on")] == []
    urls = [value or "" for name, value in read.attributes if name in ("src", "href")]
    assert all(url.startswith(("xpose/", "data:image/png;base64,")) for url in urls)
    everything = "".join(read.texts) + "".join(value or "" for _, value in read.attributes)
    for name in names:
        assert name in everything
    return read


def poses(category: str, names: list[str]) -> Poses:
    count = len(names)
    return Poses(
        boxes=np.array([[1.0, 2.0, 30.0, 40.0]]),
        scores=np.array([0.5]),
        categories=(category,),
        xy=np.arange(2 * count, dtype=float).reshape(1, count, 2),
        keypoint_scores=np.full((1, count), 0.25),
        visibility=np.full((1, count), 2),
        keypoint_names=(tuple(names),),
        edges=(((names[0], names[-1]),) if count > 1 else (),),
        image_size=(48, 64),
    )


@given(category=NAMES, names=st.lists(NAMES, min_size=1, max_size=3, unique=True), file=NAMES)
def test_results(category: str, names: list[str], file: str):
    found, upload = poses(category, names), Upload(file, b"", 64, 48, b"", id="abc")
    read = check(views.overlay("key", upload, found), [category, *names, file])
    assert read.tags.count("circle") == len(names)
    check(views.table([file, file], [found, found]), [category, *names, file])
    check(views.chooser([file, file], 0), [file])
    check(views.summary(Answer((upload,), (found,), Usual(Sliders(), {category: 0.1}), 1.0), [found]), [category])
    check(views.plain_picture("key", upload), [file])


@given(names=st.lists(NAMES, min_size=1, max_size=3, unique_by=lambda name: " ".join(name.split())), file=NAMES)
def test_clicking(names: list[str], file: str):
    sketch = Sketch()
    sketch.name_points(names)
    sketch.add("abc", 64, 48)
    for number, _ in enumerate(names):
        sketch.act({"kind": "place", "x": number, "y": number})
    clean = [" ".join(name.split()) for name in names]
    check(views.pad("key", sketch.board, Upload(file, b"", 64, 48, b"", id="abc"), True), [*clean, file])


@given(text=NAMES, more=st.lists(NAMES, max_size=2))
def test_messages(text: str, more: list[str]):
    for html in (
        views.note(text, "problem", more),
        views.bank_contents([(text, more)], text),
        views.drop_zone("key", "text", text, 5),
        views.downloads("key", text, [(text, text)]),
    ):
        check(html, [text])
    faults = tuple((text, line) for line in more)
    check(views.batch_done(Progress(1, 2, text, 3, faults)), [text] if more else [])
    check(views.working("key", Progress(1, 2, text, 3, faults), 2), [])


def test_points_that_are_not_there_are_not_drawn_but_listed():
    found = poses("dog", ["nose", "tail"]).filter(keypoint_threshold=0.9)
    upload = Upload("a.png", b"", 64, 48, b"", id="abc")
    html = views.overlay("key", upload, found)
    assert "<circle" not in html
    assert "<line" not in html
    assert views.table(["a.png"], [found]).count("not found") == 2


def test_nothing_found():
    empty = Poses.empty((48, 64))
    assert "nothing found" in views.overlay("key", Upload("a.png", b"", 64, 48, b"", id="abc"), empty)
    assert views.table(["a.png"], [empty]) == ""


@pytest.mark.parametrize(("count", "buttons"), [(1, 0), (2, 2)])
def test_a_single_picture_needs_no_chooser(count: int, buttons: int):
    assert views.chooser(["a"] * count, 0).count("<button") == buttons
