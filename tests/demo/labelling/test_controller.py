"""The labelling page without a browser: every action, what it shows, and what is in the file afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.demo.labelling.conftest import PROPOSED

from xpose.demo.labelling.controller import LabelController, LabelSession
from xpose.demo.labelling.folder import LabelFolder
from xpose.demo.labelling.objects import Mark
from xpose.errors import PromptError


@pytest.fixture
def controller(start: Callable[[], LabelFolder]) -> LabelController:
    return LabelController(start(), "xpose finetune --data labels.json")


@pytest.fixture
def session(controller: LabelController) -> LabelSession:
    session = controller.session("a page")
    controller.show(session)
    return session


def said(updates: Any) -> str:
    return re.sub("<[^>]*>", "", updates["status"]["value"])


def test_from_the_first_proposal_to_the_command_that_trains(controller: LabelController, session: LabelSession):
    updates = controller.show(session)
    assert "0 of 3 labelled" in updates["progress"]["value"]
    assert updates["jump"]["choices"] == [("· a.png", 0), ("· below/b.png", 1), ("· turned.jpg", 2)]
    assert updates["points"]["choices"] == [("✓ 1 tip", "tip"), ("✓ 2 stalk", "stalk"), ("3 left edge", "left edge")]
    assert updates["points"]["value"] == "left edge"
    assert "This leaf is proposed" in said(updates)

    updates = controller.point(session, {"object": 0, "name": "tip", "x": 35, "y": 25})
    assert "Click on: left edge" in said(updates)
    assert "left edge is selected" not in said(controller.edit(session, "toggle_absent"))
    updates = controller.accept(session)
    assert "Saved a.png: 1 leaf." in said(updates)
    assert "1 of 3 labelled" in updates["progress"]["value"]
    assert session.number == 1

    controller.edit(session, "add_object")
    for x in (10, 20, 30):
        updates = controller.point(session, {"x": x, "y": x})
    assert "All keypoints of this leaf are done" in said(updates)
    assert "Proposed as well: 1 leaf" in said(updates)
    assert updates["objects"]["choices"] == [("1 (proposed)", 0), ("2", 1)]
    assert "Saved below/b.png: 2 leaves." in said(controller.accept(session))
    updates = controller.accept(session)
    assert "Saved turned.jpg: no leaf. All pictures are labelled." in said(updates)
    assert said(updates).endswith("xpose finetune --data labels.json")
    objects = controller.labelling.file.pictures["a.png"].objects
    assert objects[0].points == {"tip": Mark(35, 25), "stalk": Mark(60, 70), "left edge": None}


def test_leaving_a_picture_saves_it_only_if_it_was_changed(controller: LabelController, session: LabelSession):
    pictures = controller.labelling.file.pictures
    controller.edit(session, "add_object")  # no label yet
    assert "Saved" not in said(controller.step(session, 1))
    assert pictures == {}
    controller.point(session, {"object": 0, "name": "tip", "x": 1, "y": 2})
    assert "Saved below/b.png: 1 leaf." in said(controller.jump(session, 0))
    assert [*controller.labelling.file.pictures] == ["below/b.png"]
    assert "no proposals for this picture: This is a test." in said(controller.step(session, -1))
    assert session.number == 2
    for number in (3, -1, None, "0", True):
        with pytest.raises(PromptError, match="no picture"):
            controller.jump(session, number)


def test_a_picture_without_proposals_says_so_until_it_is_labelled(controller: LabelController, session: LabelSession):
    controller.labelling._propose = lambda name, pixels: ()
    controller.labelling._prepared.clear()
    assert "No leaf is proposed for this picture. Click on: tip" in said(controller.step(session, 1))
    controller.accept(session)
    assert "proposed" not in said(controller.jump(session, 1))
    assert "proposed" not in said(controller.propose(session, False))


def test_a_mark_is_clicked_and_then_its_place(controller: LabelController, session: LabelSession):
    assert "tip is selected" in said(controller.point(session, {"object": 0, "name": "tip"}))
    updates = controller.point(session, {"x": 40, "y": 50})
    assert "translate(40 50)" in updates["picture"]["value"]
    assert "tip is selected" in said(controller.undo(session)), "as before the step"
    assert controller.labelling.open("a.png").objects == (PROPOSED,)
    for spot in (None, 3, {}, {"x": 1}, {"name": "tip"}, {"object": 9, "name": "tip", "x": 1, "y": 1}):
        with pytest.raises(PromptError):
            controller.point(session, spot)
    assert not controller.labelling.changed("a.png")


def test_a_page_of_an_earlier_program_is_brought_up_to_date_first(controller: LabelController):
    session = controller.session("an old page")
    updates = controller.act(session, "picture/0", "point", {"x": 1, "y": 1})
    assert "The program was started again" in said(updates)
    assert "a.png" not in controller.labelling.file.pictures
    assert not controller.labelling.changed("a.png")
    controller.act(session, "picture/0", "point", {"object": 0, "name": "tip", "x": 1, "y": 1})
    assert controller.labelling.changed("a.png")


def test_what_was_meant_for_another_picture_is_ignored(controller: LabelController, session: LabelSession):
    """As when Enter is pressed twice while the next picture is awaited: its proposals are not accepted unseen."""
    controller.act(session, "picture/0", "accept")
    for method, *values in (("accept",), ("edit", "remove_object"), ("step", 1)):
        updates = controller.act(session, "picture/0", method, *values)
        assert "This leaf is proposed" in said(updates)
    assert session.number == 1
    assert [*controller.labelling.file.pictures] == ["a.png"]
    controller.act(session, "picture/1", "accept")
    assert controller.labelling.labelled == 2


def test_pages_share_the_labels_but_not_the_place(controller: LabelController, session: LabelSession):
    other = controller.session("another page")
    controller.step(other, 1)
    assert (session.number, other.number) == (0, 1)
    controller.point(other, {"object": 0, "name": "tip", "x": 1, "y": 2})
    controller.close("another page")  # saves what was changed
    assert controller.session("another page").number == 1, "it may come back"
    assert "1 of 3 labelled" in controller.show(session)["progress"]["value"]
    assert controller.propose(session, False)["objects"]["value"] is None


def test_a_picture_that_cannot_be_read_is_passed_over(controller: LabelController, session: LabelSession, photos: Path):
    controller.labelling._prepared.clear()
    controller.labelling.history.clear()
    (photos / "a.png").write_bytes(b"no picture")
    updates = controller.show(session)
    assert "Go to another picture." in said(updates)
    assert updates["picture"]["value"] == ""
    assert "This leaf is proposed" in said(controller.step(session, 1))
