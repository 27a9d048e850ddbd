"""The drawing of a picture: every mark at its place, and no name is taken for markup."""

from __future__ import annotations

from xml.etree import ElementTree

from xpose.demo.labelling.objects import LabelledObject, LabelledPicture, Mark
from xpose.demo.labelling.view import draw

EVIL = "<img src=x onerror='window.hacked=1'>\"&"


def test_every_mark_is_at_its_place():
    names = ("left eye", EVIL, "tail")
    first = LabelledObject({"left eye": Mark(10.5, 20), EVIL: Mark(80, 70, visible=False), "tail": None}, proposed=True)
    labels = LabelledPicture(names, 100, 80, (first, LabelledObject({"left eye": Mark(5, 5)}))).go(0).choose("left eye")
    svg = ElementTree.fromstring(draw(labels, (("left eye", EVIL), ("left eye", "tail")), "picture/0", "picture/1"))
    assert svg.get("viewBox") == "0 0 100 80"
    marks = {(mark.get("data-object"), mark.get("data-name")): mark for mark in svg.iterfind(".//g[@data-name]")}
    places = {key: mark.get("transform") for key, mark in marks.items()}
    assert places == {
        ("0", "left eye"): "translate(10.5 20)",
        ("0", EVIL): "translate(80 70)",
        ("1", "left eye"): "translate(5 5)",
    }
    assert [key for key, mark in marks.items() if mark.get("class") == "mark current"] == [("0", "left eye")]
    assert [key for key, mark in marks.items() if mark.find("path[@class='hole']") is not None] == [("0", EVIL)]
    texts = {key: "".join(mark.find("text").itertext()) for key, mark in marks.items()}  # type: ignore[union-attr]
    numbered = {("0", "left eye"): "1 left eye", ("0", EVIL): f"2 {EVIL} (hidden)", ("1", "left eye"): "1 left eye"}
    assert texts == numbered, "numbers as in the list"
    (line,) = svg.iterfind(".//line")
    assert [line.get(name) for name in ("x1", "y1", "x2", "y2")] == ["10.5", "20", "80", "70"]
    classes = [group.get("class") for group in svg.iterfind("g")]
    assert classes == ["object", "object selected proposed"], "the selected object is on top"
