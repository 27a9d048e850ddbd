"""Everything a visitor can do, without a browser and without a web framework."""

from __future__ import annotations

import importlib.util
import json
import math
import zipfile
from contextlib import ExitStack

import pytest
from tests.demo.conftest import Forwards, placed, png
from tests.demo.site import PATIENCE

import xpose
from xpose.demo import desk as desks
from xpose.demo.answers import Sliders
from xpose.demo.asking import OWN
from xpose.demo.desk import Desk
from xpose.demo.samples import samples
from xpose.demo.sessions import SessionError
from xpose.demo.uploads import Limits
from xpose.errors import XPoseError


def target(desk: Desk, key: str, slot: str, count: int = 1) -> None:
    for number in range(count):
        desk.receive(key, slot, f"{number}.png", number, png(number))


def test_text_then_sliders_then_downloads(desk: Desk, key: str, forwards: Forwards):
    target(desk, key, "text")
    shown, start = desk.run_words(key, "dog", OWN, "nose, tail")
    before = forwards.count
    assert shown.view.count("xp-pose") == 6  # type: ignore[union-attr]
    assert start.score == 0.0
    scores = sorted(float(value) for value in desk.sessions.get(key).results["text"].answer.found[0].scores)
    fewer = desk.slide(key, "text", Sliders(scores[3], 0.0, 1.0))
    assert fewer.view.count("xp-pose") == 2  # type: ignore[union-attr]
    assert "Found: 2 dog" in fewer.note
    content = json.loads(desk.file(key, "text", "poses.json").content)  # type: ignore[union-attr, arg-type]
    assert len(content["annotations"]) == 2
    assert forwards.count == before


def test_clicked_points_are_what_the_network_is_asked(desk: Desk, key: str):
    placed(desk, key, nose=(20, 30), tail=(150.5, 100.25))
    target(desk, key, "visual", 2)
    shown, _ = desk.run_examples(key, "  fish ")
    assert "fish" in shown.note
    result = desk.sessions.get(key).results["visual"]
    assert [poses.keypoint_names[0] for poses in result.answer.found] == [("nose", "tail")] * 2
    second = desk.show(key, "visual", 1)
    assert "1.png" in second.view  # type: ignore[operator]
    prompt = desk.sessions.get(key).sketch.prompt(lambda _: None, None)
    assert prompt.points == {"nose": (20, 30, True), "tail": (150.5, 100.25, True)}  # type: ignore[union-attr]


def test_a_prompt_bank_goes_out_and_comes_back(desk: Desk, key: str):
    placed(desk, key, nose=(20, 30), tail=(150, 100))
    target(desk, key, "visual")
    by_clicks, _ = desk.run_examples(key, "fish")
    assert "prompts.safetensors" in desk.make_bank(key, "fish").links  # type: ignore[operator]
    data = desk.file(key, "visual", desks.BANK_FILE).content  # type: ignore[union-attr]

    other = desk.sessions.open().key
    target(desk, other, "visual")
    desk.receive(other, "bank", "mine.safetensors", 0, data)  # type: ignore[arg-type]
    assert "fish: nose, tail" in desk.bank_arrived(other, {"arrived": ["bank"]})
    by_bank, _ = desk.run_examples(other, "")
    assert by_bank.table == by_clicks.table
    desk.forget_bank(other)
    with pytest.raises(XPoseError, match="No example shows"):
        desk.run_examples(other, "")


def test_words_and_examples_together(desk: Desk, key: str):
    placed(desk, key, nose=(20, 30), tail=(150, 100))
    target(desk, key, "combined")
    shown, _ = desk.run_both(key, "dog", None, "")
    assert "dog" in shown.note
    assert desk.sessions.get(key).results["combined"].answer.found[0].keypoint_names[0] == ("nose", "tail")


@pytest.mark.parametrize("how", [desks.BY_WORDS, desks.BY_EXAMPLES, desks.BY_BOTH, desks.BY_BANK])
def test_batches_by_everything(desk: Desk, key: str, how: str, forwards: Forwards):
    placed(desk, key, nose=(20, 30))
    desk.make_bank(key, "fish")
    desk.receive(key, "bank", "b.safetensors", 0, desk.sessions.get(key).made_bank)  # type: ignore[arg-type]
    target(desk, key, "batch", 3)
    before = forwards.count
    start = desk.start_batch(key, how, "dog", None, "", Sliders(0.0, 0.0))
    assert "3" in start
    finish(desk, key)
    assert forwards.count == before + 3
    assert "Done. 3 of 3" in desk.batch(key)
    file = desk.file(key, "batch", desks.ARCHIVE_FILE)
    with zipfile.ZipFile(file.content) as archive:  # type: ignore[union-attr, arg-type]
        assert len(archive.namelist()) == 5


def finish(desk: Desk, key: str) -> None:
    job = desk.sessions.get(key).job
    assert job is not None
    job.join(PATIENCE)
    assert not job.runs


def test_a_batch_that_is_stopped(desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch):
    target(desk, key, "batch", 3)
    with desk._turn():  # somebody else has the network
        assert "<progress" in desk.start_batch(key, desks.BY_WORDS, "dog", None, "", Sliders())
        with pytest.raises(XPoseError, match="still at work"):
            desk.start_batch(key, desks.BY_WORDS, "dog", None, "", Sliders())
        assert "data-again" in desk.stop_batch(key)
    finish(desk, key)
    assert "Stopped" in desk.batch(key)
    assert desk.file(key, "batch", desks.ARCHIVE_FILE) is None
    desk.start_batch(key, desks.BY_WORDS, "dog", None, "", Sliders())
    finish(desk, key)
    assert "Done" in desk.batch(key)


def test_a_batch_that_fails_says_why(desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch):
    target(desk, key, "batch")
    monkeypatch.setattr("xpose.demo.batch.coco_json", lambda *_: 1 / 0)
    desk.start_batch(key, desks.BY_WORDS, "dog", None, "", Sliders())
    finish(desk, key)
    with pytest.raises(ZeroDivisionError):
        desk.batch(key)


def test_a_page_that_is_forgotten_stops_its_batch(desk: Desk, key: str):
    target(desk, key, "batch", 4)
    desk.start_batch(key, desks.BY_WORDS, "dog", None, "", Sliders())
    job = desk.sessions.get(key).job
    desk.sessions.forget_all()
    assert job is not None
    job.join(PATIENCE)
    assert job.stopped or job.progress.archive.closed  # type: ignore[union-attr]


def test_only_so_many_wait_for_the_network(desk: Desk, key: str):
    target(desk, key, "text")
    with ExitStack() as others:
        for _ in range(desk.limits.waiting):
            others.callback(desk._queue.release)
            assert desk._queue.acquire(blocking=False)
        with pytest.raises(XPoseError, match="Try again in a moment"):
            desk.run_words(key, "dog", None, "")
    desk.run_words(key, "dog", None, "")


def test_a_mistake_on_the_pad_stands_over_it_and_changes_nothing(desk: Desk, key: str):
    placed(desk, key, nose=(20, 30))
    before = desk.sessions.get(key).sketch.board
    html = desk.on_pad(key, desk.act, {"kind": "move", "name": "tail", "x": 1, "y": 1})
    assert "no point" in html
    assert "xp-mark" in html
    assert desk.sessions.get(key).sketch.board is before
    with pytest.raises(SessionError):
        desk.on_pad("guess", desk.act, {})


MISTAKES = [
    (lambda desk, key: desk.run_words(key, "dog", None, ""), "no picture to look in"),
    (lambda desk, key: desk.run_words(key, "", None, ""), "empty"),
    (lambda desk, key: desk.run_words(key, "dog", "animul", ""), "Did you mean"),
    (lambda desk, key: desk.run_examples(key, ""), "No example shows"),
    (lambda desk, key: desk.run_both(key, "dog", None, ""), "No example shows"),
    (lambda desk, key: desk.start_batch(key, desks.BY_WORDS, "dog", None, "", Sliders()), "no pictures yet"),
    (lambda desk, key: desk.make_bank(key, ""), "No example shows"),
    (lambda desk, key: desk.show(key, "text", 3), "no such picture"),
    (lambda desk, key: desk.act(key, {"kind": "place", "x": 1, "y": 1}), "no example picture yet"),
    (lambda desk, key: desk.rename(key, "x"), "No point is chosen"),
    (lambda desk, key: desk.skeleton(key, "", None, ""), "Type what to look for"),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes(desk: Desk, key: str, call, message: str):
    with pytest.raises(XPoseError, match=message):
        call(desk, key)


def test_two_pages_do_not_see_each_other(desk: Desk, key: str):
    other = desk.sessions.open().key
    placed(desk, key, secret=(20, 30))
    target(desk, key, "text")
    desk.run_words(key, "dog", None, "")
    assert "secret" in desk.pad(key)
    assert "secret" not in desk.pad(other)
    assert desk.slide(other, "text", Sliders()).view is None
    assert desk.file(other, "text", "poses.csv") is None
    (upload,) = desk.sessions.get(key).pictures["text"]
    assert desk.picture(key, upload.id) == upload.shown
    assert desk.picture(other, upload.id) is None
    with pytest.raises(SessionError):
        desk.pad("guess")


def test_a_new_picture_ends_the_result_of_the_old_one(desk: Desk, key: str):
    target(desk, key, "text")
    desk.run_words(key, "dog", None, "")
    upload_id = desk.receive(key, "text", "new.png", 0, png(9))
    shown = desk.arrived(key, "text", {"arrived": [upload_id]})
    assert "new.png" in shown.view  # type: ignore[operator]
    assert (shown.table, shown.links) == ("", "")
    assert desk.slide(key, "text", Sliders()).view is None
    assert desk.file(key, "text", "poses.csv") is None


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"faults": [{"large": "x.png"}]}, "larger than 0.2 MB"),
        ({"faults": [{"lost": "x.png"}]}, "did not arrive"),
        ({"faults": [{"message": "<b>bad</b>"}]}, "&lt;b&gt;bad"),
        ({"faults": ["?", 5]}, "2 could not be used"),
        ({"faults": None, "arrived": "no list"}, ""),
        ({}, ""),
    ],
)
def test_what_the_page_reports_about_uploads(desk: Desk, key: str, action: dict, message: str):
    assert message in desk.arrived(key, "text", action).note


def test_an_example_that_is_one_too_many(desk: Desk, key: str):
    for number in range(6):
        upload_id = desk.receive(key, "example", "e.png", 0, png(number))
        if number < 5:
            desk.arrived(key, "example", {"arrived": [upload_id]})
    with pytest.raises(XPoseError, match="At most 5"):
        desk.arrived(key, "example", {"arrived": [upload_id]})


@pytest.fixture(scope="module")
def shipped() -> Desk:
    """A desk as users have it: the weights that come with xpose, the usual limits."""
    return Desk(xpose.load(), Limits())


def test_the_sample_photographs_show_what_their_words_say(shipped: Desk):
    key = shipped.sessions.open().key
    assert set(samples()) == {"astronaut.png", "admiral.jpg", "photographer.png"}
    for name in samples():
        shipped.try_sample(key, "text", [name])
        shown, _ = shipped.run_words(key, shipped.words_of(name), None, "")
        assert f"1 {shipped.words_of(name)} (of" in shown.note


def test_points_shown_on_one_sample_are_found_on_another(shipped: Desk):
    key = shipped.sessions.open().key
    assert shipped.sample_example(key, "astronaut.png").count("xp-mark") == len(samples()["astronaut.png"].points) == 8
    shipped.try_sample(key, "visual", ["admiral.jpg"])
    shown, _ = shipped.run_examples(key, "face")
    assert "1 face (of" in shown.note
    result = shipped.sessions.get(key).results["visual"]
    (pose,) = result.kept[0]
    side = max(pose.box[2] - pose.box[0], pose.box[3] - pose.box[1])
    where = {"right eye outer corner": (188, 188), "left eye outer corner": (346, 189), "nose tip": (268, 243)}
    for point, at in where.items():  # by eye
        assert math.dist(pose.points[point][:2], at) < 0.1 * side
    assert "xp-mark" not in shipped.on_pad(key, shipped.act, {"kind": "undo"})


def test_a_batch_of_the_samples_finds_faces_and_people(shipped: Desk):
    key = shipped.sessions.open().key
    shipped.try_sample(key, "batch", shipped.sample_names())
    shipped.start_batch(key, desks.BY_WORDS, "face, person", None, "", shipped.usual_sliders())
    finish(shipped, key)
    with zipfile.ZipFile(shipped.file(key, "batch", desks.ARCHIVE_FILE).content) as archive:  # type: ignore[arg-type]
        content = json.loads(archive.read("poses.json"))
    names = {one["id"]: one["name"] for one in content["categories"]}
    files = {one["id"]: one["file_name"] for one in content["images"]}
    found = {(files[one["image_id"]], names[one["category_id"]]) for one in content["annotations"]}
    wanted = {("astronaut.png", "face"), ("astronaut.png", "person"), ("admiral.jpg", "face")}
    assert wanted | {("photographer.png", "person")} <= found
    assert ("photographer.png", "face") not in found


def test_samples_that_are_not_installed_are_not_offered(monkeypatch: pytest.MonkeyPatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else real(name))
    assert set(samples.__wrapped__()) == {"admiral.jpg"}
