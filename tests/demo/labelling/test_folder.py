"""A folder that is labelled: what is saved when, what is proposed, and how it goes on after a restart."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.demo.labelling.conftest import PROPOSED, SIZE

from xpose.demo.labelling.folder import LabelFolder
from xpose.demo.labelling.label_file import LabelFile
from xpose.demo.labelling.objects import Mark
from xpose.errors import DataError, ImageError

Start = Callable[[], LabelFolder]


def test_pictures_are_prepared_upright_with_proposals(start: Start):
    labelling = start()
    prepared = labelling.prepared("a.png").result()
    assert prepared.proposals == (PROPOSED,)
    assert Image.open(io.BytesIO(prepared.jpeg)).size == (prepared.width, prepared.height) == SIZE
    turned = labelling.prepared("turned.jpg").result()
    assert (turned.width, turned.height) == SIZE[::-1]
    assert "no proposals for this picture: This is a test." in turned.fault
    assert labelling.open("turned.jpg").objects == ()


def test_labelling_goes_on_where_it_was_left(start: Start):
    labelling = start()
    assert labelling.first_open() == 0
    labels = labelling.open("a.png").drag(0, "tip", 31, 21).choose("left edge").toggle_absent()
    labelling.change("a.png", labels)
    assert labelling.labelled == 0
    assert labelling.save("a.png") == 1
    labelling.close()

    again = start()
    assert (again.labelled, again.first_open()) == (1, 1)
    assert again.first_open(2) == 2
    points = again.open("a.png").selected.points
    assert points == {"tip": Mark(31, 21), "stalk": Mark(60, 70), "left edge": None}
    assert not again.changed("a.png")
    assert again.open("below/b.png").objects == (PROPOSED,)


def test_closing_saves_what_was_changed_and_no_mere_proposal(start: Start):
    labelling = start()
    labelling.open("a.png")
    labelling.change("below/b.png", labelling.open("below/b.png").remove_object())
    labelling.close()
    pictures = LabelFile.read(labelling.file.path).pictures
    assert {name: picture.objects for name, picture in pictures.items()} == {"below/b.png": ()}


def test_changes_are_undone_one_by_one(start: Start):
    labelling = start()
    states = [labelling.open("a.png")]
    for x in (1, 2, 3):
        labelling.change("a.png", states[-1].drag(0, "tip", x, 5))
        states.append(labelling.open("a.png"))
    labelling.change("a.png", states[-1].choose("stalk"))  # no change of labels, so no step
    for state in states[-2::-1]:
        labelling.undo("a.png")
        assert labelling.open("a.png").objects == state.objects
    labelling.undo("a.png")
    assert labelling.open("a.png").objects == (PROPOSED,)
    assert not labelling.changed("a.png")


def test_without_proposals_pictures_are_opened_empty(start: Start):
    labelling = start()
    labelling.open("a.png")
    labelling.change("below/b.png", labelling.open("below/b.png").drag(0, "tip", 1, 1))
    labelling.propose(False)
    assert labelling.open("a.png").objects == ()
    assert labelling.open("below/b.png").selected.points["tip"] == Mark(1, 1)
    labelling.propose(True)
    assert labelling.open("a.png").objects == (PROPOSED,)


def test_pictures_that_changed_are_not_labelled_with_the_old_labels(start: Start, photos: Path):
    labelling = start()
    labelling.open("a.png")
    labelling.save("a.png")
    Image.new("RGB", (50, 50)).save(photos / "a.png")
    (photos / "below" / "b.png").write_bytes(b"no picture")
    again = start()
    with pytest.raises(DataError, match="50 x 50 pixels, but was labelled with 120 x 90"):
        again.open("a.png")
    with pytest.raises(ImageError, match=r"b\.png"):
        again.open("below/b.png")


def test_labels_of_pictures_that_are_gone_stay_in_the_file(start: Start, photos: Path):
    labelling = start()
    labelling.open("a.png")
    labelling.save("a.png")
    file = LabelFile.read(labelling.file.path)
    rest = LabelFolder({"below/b.png": photos / "below/b.png"}, file, lambda *_: ())
    assert rest.labelled == 0
    rest.open("below/b.png")
    rest.save("below/b.png")
    assert [*LabelFile.read(file.path).pictures] == ["a.png", "below/b.png"]
