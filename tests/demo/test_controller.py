"""Everything a visitor can do, without a browser and without a web framework."""

from __future__ import annotations

import importlib.util
import math
import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.demo.conftest import Forwards, place, saved, uploads
from tests.demo.site import PATIENCE

import xpose
from xpose.demo import pictures as samples
from xpose.demo.controller import BY_BANK, BY_BOTH, BY_EXAMPLES, BY_WORDS, Controller, Session, Updates, note
from xpose.demo.pictures import Limits
from xpose.demo.words import AUTOMATIC
from xpose.errors import XPoseError
from xpose.inference import Detector


def run(controller: Controller, session: Session, files: list, way: str = BY_WORDS, words: str = "dog") -> Updates:
    return controller.run(session, lambda *_: None, files, way, words, AUTOMATIC, "")


def status(updates: Updates) -> str:
    return str(updates["status"]["value"])


def test_words_then_thresholds_then_files(controller: Controller, session: Session, tmp_path: Path, forwards: Forwards):
    updates = run(controller, session, uploads(tmp_path), words="dog, person")
    assert [updates[f"score-{number}"]["visible"] for number in range(3)] == [True, True, False]
    assert updates["score-1"] == {"visible": True, "label": "Score threshold: person", "value": 0.0}
    before = forwards.count
    assert len(session.kept[0]) == 6
    counts = session.kept[0].count()
    for number, name in enumerate(("dog", "person")):
        scores = [0.0] * 20
        scores[number] = 1.0
        fewer = controller.filter(session, *scores, 0.0, 1.0)
        assert session.kept[0].count() == {other: number for other, number in counts.items() if other != name}
        assert all(not str(row[0]).startswith(name) for row in fewer["table"]["value"])
    assert forwards.count == before
    assert "person" not in Path(controller.file(session, "poses.csv")["download"]["value"]).read_text()


def test_the_page_says_what_fits_the_kind_of_prompt(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30), tail=(150, 100))
    hints = {BY_WORDS: "certain, or show an example.", BY_EXAMPLES: "certain, or add another example."}
    for way, hint in hints.items():
        run(controller, session, uploads(tmp_path), way)
        assert hint in status(controller.filter(session, *[1.0] * 20, 0.0, 1.0))
        several = ", " in controller.show_fields(session, way)["words"]["placeholder"]
        assert several == (way == BY_WORDS), "one object is shown by examples"


def test_clicked_points_are_what_the_network_is_asked(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30), tail=(150.5, 100.25))
    updates = run(controller, session, uploads(tmp_path, 2), BY_EXAMPLES, "  fish ")
    assert "fish in 2 pictures" in status(updates)
    assert session.answer is not None
    assert [poses.keypoint_names[0] for poses in session.answer.candidates] == [("nose", "tail")] * 2
    assert ">1.png: " in controller.show_picture(session, 1)["named"]["value"]
    prompt = session.examples.prompt(None)
    for name, spot in {"nose": (20, 30), "tail": (150.5, 100.25)}.items():
        assert prompt.points[name][:2] == pytest.approx(spot, abs=0.01)  # type: ignore[union-attr]


def test_a_prompt_bank_goes_out_and_comes_back(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30), tail=(150, 100))
    by_clicks = run(controller, session, uploads(tmp_path), BY_EXAMPLES, "fish")
    path = controller.save_bank(session, "fish")["download"]["value"]
    other = controller.session("another page")
    assert "fish: nose, tail" in controller.load_bank(other, path)["bank_status"]["value"]
    assert run(controller, other, uploads(tmp_path), BY_BANK)["table"] == by_clicks["table"]
    controller.load_bank(other, None)
    with pytest.raises(XPoseError, match="No prompt bank"):
        run(controller, other, uploads(tmp_path), BY_BANK)
    (tmp_path / "fake.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(XPoseError, match="cannot be read as a prompt bank") as refused:
        controller.load_bank(other, str(tmp_path / "fake.safetensors"))
    assert str(tmp_path) not in str(refused.value)


def test_words_and_examples_together(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30), tail=(150, 100))
    assert "dog" in status(run(controller, session, uploads(tmp_path), BY_BOTH))
    assert session.answer is not None
    assert session.answer.candidates[0].keypoint_names[0] == ("nose", "tail")


def test_a_bad_file_stops_nothing_and_is_named(controller: Controller, session: Session, tmp_path: Path):
    (tmp_path / "notes.png").write_bytes(b"notes")
    files = [*uploads(tmp_path, 2), (str(tmp_path / "notes.png"), "notes.png"), ("/nowhere/a.png", "a.png")]
    checked = controller.check_pictures(session, files)
    assert [name for _, name in checked["pictures"]["value"]] == ["0.png", "1.png"]
    reasons = ("notes.png&quot; is not a picture", "a.png&quot; has been deleted")
    for text in ("2 of 4 files", *reasons):
        assert text in checked["pictures_status"]["value"]
    for uploaded in (checked["pictures"]["value"], files):  # without the bad files, as the page gives them, or with
        updates = run(controller, session, uploaded)
        assert "in 2 pictures" in status(updates)
        assert [status(updates).count(text) for text in reasons] == [1, 1], "the warning stays beside the results"
        assert updates["pictures_status"] == {"visible": False}
        assert len(updates["gallery"]["value"]) == 2
    (tmp_path / "photo.jpeg").write_bytes((tmp_path / "0.png").read_bytes())
    taken = controller.take_picture(session, checked["pictures"]["value"], str(tmp_path / "photo.jpeg"))
    assert [name for _, name in taken["pictures"]["value"]] == ["0.png", "1.png", "camera-3.jpeg"]
    assert (taken["pictures_status"]["visible"], taken["camera"]) == (False, {"value": None})
    assert session.refused == []
    many = [*uploads(tmp_path, 3), *uploads(tmp_path, 3)]
    assert "At most 4 pictures" in controller.check_pictures(session, many)["pictures_status"]["value"]
    assert controller.try_sample(session, 0)["pictures_status"] == {"visible": False}
    assert session.refused == []


def test_a_run_that_is_stopped_keeps_what_was_searched(controller: Controller, session: Session, tmp_path: Path):
    stop = lambda number, *_: controller.stop(session) if number == 1 else None  # noqa: E731
    updates = controller.run(session, stop, uploads(tmp_path, 3), BY_WORDS, "dog", AUTOMATIC, "")
    assert "stopped after 1 of 3" in status(updates)
    assert len(session.kept) == 1
    assert "stopped" not in status(run(controller, session, uploads(tmp_path, 3)))


def test_others_come_in_between_the_pictures_of_a_run(controller: Controller, session: Session, tmp_path: Path):
    other = controller.session("another page")
    done: list[str] = []

    def step(number: int, *_: object) -> None:
        if number == 1:
            thread = threading.Thread(target=lambda: done.append(status(run(controller, other, uploads(tmp_path)))))
            thread.start()
            thread.join(PATIENCE)
            assert "Found" in done[0]

    controller.run(session, step, uploads(tmp_path, 2), BY_WORDS, "dog", AUTOMATIC, "")


def test_undo_leads_back_to_the_start(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30), tail=(150, 100))
    controller.edit(session, session.examples.choose("nose"))  # changes nothing that a prompt is made of
    controller.undo(session)
    assert set(session.examples.shot.points) == {"nose"}
    for _ in range(9):
        controller.undo(session)
    assert session.examples.shots == ()


def test_renamed_points_stay_until_other_names_are_chosen(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30))
    controller.edit(session, session.examples.choose("nose").rename("snout"))
    controller.show_skeleton(session, "dog", AUTOMATIC, "nose")
    assert session.examples.names == ("snout",)
    controller.show_skeleton(session, "dog", AUTOMATIC, "tail")
    assert session.examples.names == ("tail",)


def test_a_bad_example_leaves_the_good_one(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, nose=(20, 30))
    (tmp_path / "notes.png").write_bytes(b"notes")
    updates = controller.add_example(session, str(tmp_path / "notes.png"))
    assert "not a picture" in updates["example_status"]["value"]
    assert updates["example"]["value"] is not None


MISTAKES = [
    (lambda c, s: run(c, s, []), "no picture to search"),
    (lambda c, s: run(c, s, [], words=""), "empty"),
    (lambda c, s: c.show_skeleton(s, "dog", "animul", ""), "Did you mean"),
    (lambda c, s: run(c, s, [], BY_EXAMPLES), "No example shows"),
    (lambda c, s: run(c, s, [], BY_BOTH), "No example shows"),
    (lambda c, s: run(c, s, [], BY_BANK), "No prompt bank"),
    (lambda c, s: c.save_bank(s, ""), "No example shows"),
    (lambda c, s: c.show_picture(s, 0), "no longer there"),
    (lambda c, s: c.name_at(s, [1, 1]), "no longer there"),
    (lambda c, s: c.file(s, "poses.csv"), "no longer there"),
    (lambda c, s: c.click(s, [1, 1]), "no example picture yet"),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes(controller: Controller, session: Session, call, message: str):
    with pytest.raises(XPoseError, match=message):
        call(controller, session)


@pytest.mark.parametrize("spot", [None, 5, "ab", [1], [None, 2], ["1", "2"], [math.nan, 1], {"x": 1}])
def test_clicks_that_are_none(controller: Controller, session: Session, tmp_path: Path, spot: object):
    place(controller, session, tmp_path, nose=(20, 30))
    with pytest.raises(XPoseError, match="no coordinates"):
        controller.click(session, spot)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(detector: Detector, clock: Clock) -> Controller:
    return Controller(detector, Limits(pages=3, idle_seconds=100, closed_seconds=10), clock)


def test_an_unused_page_is_forgotten_with_all_that_it_holds(timed: Controller, clock: Clock, tmp_path: Path):
    kept, left = timed.session("kept"), timed.session("left")
    place(timed, left, tmp_path, nose=(1, 1))
    run(timed, left, uploads(tmp_path))
    clock.now = 90
    timed.session("kept")
    clock.now = 101
    timed.sweep()
    assert list(timed.sessions) == ["kept"]
    assert timed.session("kept") is kept
    assert (left.answer, left.kept, left.examples.shots, left.stop.is_set()) == (None, [], (), True)
    assert not Path(left.folder.name).exists()


def test_a_closed_page_is_forgotten_soon_unless_it_comes_back(timed: Controller, clock: Clock):
    for key in ("gone", "back"):
        timed.session(key)
        timed.close(key)
    timed.close("nobody")
    clock.now = 9
    timed.session("back")
    clock.now = 12
    timed.sweep()
    assert list(timed.sessions) == ["back"]


def test_too_many_pages_push_out_the_one_unused_for_longest(timed: Controller):
    for key in ("first", "second", "third", "first", "fourth"):
        timed.session(key)
    assert list(timed.sessions) == ["third", "first", "fourth"]


def test_two_pages_do_not_see_each_other(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, secret=(20, 30))
    run(controller, session, uploads(tmp_path))
    other = controller.session("another page")
    assert other.examples.names == ()
    assert controller.filter(other, *[0.0] * 22) == {}
    assert other.folder.name != session.folder.name


class Reader(HTMLParser):
    """The tags and texts of HTML, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.one_of(st.sampled_from(["<img src=x onerror=alert(1)>", "</div><script>", "{{7*7}}"]), st.text("<>&\"'/ab")))
def test_names_in_messages_stay_names(text: str):
    read = Reader(note(text, "problem", [text]))
    assert read.tags == ["div", "ul", "li"]
    assert "".join(read.texts) == 2 * text


@pytest.fixture(scope="module")
def shipped() -> Controller:
    """As users have it: the weights that come with xpose, the usual limits."""
    return Controller(xpose.load(), Limits())


def try_sample(controller: Controller, session: Session, number: int) -> str:
    """Press a sample, and run with the fields that it leaves; what the page says, without tags."""
    updates = controller.try_sample(session, number)
    way, words = updates["way"]["value"], updates["words"]["value"]
    return re.sub("<.*?>", "", status(run(controller, session, updates["pictures"]["value"], way, words)))


def test_the_samples_find_what_they_say(shipped: Controller):
    session = shipped.session("a page")
    assert set(samples.photographs()) == {"astronaut.png", "admiral.jpg", "photographer.png"}
    assert [sample.title for sample in samples.samples()] == [sample.title for sample in samples.SAMPLES]
    texts = [try_sample(shipped, session, number) for number in range(5)]
    assert texts[:4] == ["Found: 1 face.", "Found: 1 person.", "Found: 1 face.", "Found: 1 face."]
    assert "in 3 pictures" in texts[4]
    counts = [poses.count() for poses in session.kept]
    assert counts[0]["face"]
    assert counts[0]["person"]
    assert counts[1]["face"]
    assert counts[2]["person"]
    assert not counts[2].get("face")


def test_points_shown_on_one_sample_are_found_on_another(shipped: Controller):
    session = shipped.session("another page")
    try_sample(shipped, session, 2)
    ((pose,),) = session.kept
    side = max(pose.box[2] - pose.box[0], pose.box[3] - pose.box[1])
    where = {"right eye outer corner": (188, 188), "left eye outer corner": (346, 189), "nose tip": (268, 243)}
    for point, at in where.items():  # by eye
        assert math.dist(pose.points[point][:2], at) < 0.1 * side


def test_samples_that_are_not_installed_are_not_offered(monkeypatch: pytest.MonkeyPatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else real(name))
    assert set(samples.photographs.__wrapped__()) == {"admiral.jpg"}
    monkeypatch.setattr(samples, "photographs", lambda: {"admiral.jpg": Path("a")})
    assert samples.samples() == []


def test_large_pictures_are_clicked_in_their_own_pixels(controller: Controller, session: Session, tmp_path: Path):
    controller.add_example(session, str(saved(tmp_path, "large.png", size=(2000, 200)).path))
    controller.click(session, [800, 80])  # of the 1600 pixels that are shown
    assert session.examples.shot.points == {"point 1": (1000.0, 100.0)}
