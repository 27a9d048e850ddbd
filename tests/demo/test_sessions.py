"""Pages do not see each other, do not grow without bounds, and are forgotten."""

from __future__ import annotations

import pytest
from tests.demo.conftest import png

from xpose.demo.batch import Job, Progress
from xpose.demo.sessions import SessionError, Sessions
from xpose.demo.uploads import Limits, receive, shown_name
from xpose.errors import ImageError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(Limits(sessions=3, idle_seconds=100, closed_seconds=10), clock)


def test_keys_are_long_and_never_the_same(sessions: Sessions):
    keys = {sessions.open().key for _ in range(20)}
    assert len(keys) == 20
    assert min(map(len, keys)) >= 32


@pytest.mark.parametrize("key", ["", "guess", None, 5, ["a"]])
def test_a_key_that_was_never_given(sessions: Sessions, key: object):
    with pytest.raises(SessionError, match="Reload the page"):
        sessions.get(key)


def test_an_unused_page_is_forgotten_with_all_that_it_holds(sessions: Sessions, clock: Clock):
    kept, left = sessions.open(), sessions.open()
    left.pictures["text"] = [receive(png(), "a.png", Limits())]
    left.job = Job(iter([Progress(1, 1, "", 0, (), open(__file__, "rb"))]), 1)  # noqa: SIM115
    job = left.job
    job.join()
    clock.now = 90
    sessions.get(kept.key)
    clock.now = 101
    sessions.sweep()
    assert sessions.get(kept.key) is kept
    with pytest.raises(SessionError):
        sessions.get(left.key)
    assert list(left.uploads()) == []
    assert left.job is None
    assert job.progress is not None
    assert job.progress.archive is not None
    assert job.progress.archive.closed


def test_a_closed_page_is_forgotten_soon_unless_it_comes_back(sessions: Sessions, clock: Clock):
    gone, back = sessions.open(), sessions.open()
    for one in (gone, back):
        sessions.close(one.key)
    sessions.close("nobody")
    clock.now = 9
    sessions.get(back.key)
    clock.now = 12
    sessions.sweep()
    assert sessions.get(back.key) is back
    with pytest.raises(SessionError):
        sessions.get(gone.key)


def test_too_many_pages_push_out_the_one_unused_for_longest(sessions: Sessions, clock: Clock):
    first, second, third = (sessions.open() for _ in range(3))
    for clock.now, one in ((1.0, second), (2.0, third), (3.0, first)):
        sessions.get(one.key)
    sessions.open()
    assert len(sessions) == 3
    assert sessions.get(first.key) is first
    with pytest.raises(SessionError):
        sessions.get(second.key)


def test_one_page_holds_only_so_much(sessions: Sessions):
    session, limits = sessions.open(), Limits(session_bytes=1000)
    session.make_room(1000, limits)
    upload = receive(png(), "a.png", Limits())
    session.pictures["text"] = [upload]
    session.examples[upload.id] = upload  # the same picture twice counts once
    session.make_room(0, Limits(session_bytes=len(upload.data)))
    with pytest.raises(ImageError, match="holds"):
        session.make_room(1, Limits(session_bytes=len(upload.data)))


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
def test_uploads_that_are_refused(data: bytes, name: str, message: str):
    with pytest.raises(ImageError, match=message) as caught:
        receive(data, name, Limits(file_bytes=1000, pixels=30_000))
    assert name in str(caught.value)


def test_an_upload_is_shown_small_and_kept_whole():
    upload = receive(png(size=(4000, 20)), "C:\\Users\\me\\wide\n.png", Limits())
    assert (upload.width, upload.height) == (4000, 20)
    assert upload.pixels.shape == (20, 4000, 3)
    assert upload.name == "wide .png"
    from io import BytesIO

    from PIL import Image

    shown = Image.open(BytesIO(upload.shown))
    assert shown.size == (1600, 8)
    assert shown.format == "JPEG"


@pytest.mark.parametrize(
    ("name", "expected"), [("../../x.png", "x.png"), ("", "picture"), ("a/", "picture"), ("\x00\x1b[31m", "[31m")]
)
def test_names_of_files_are_only_names(name: str, expected: str):
    assert shown_name(name) == expected
