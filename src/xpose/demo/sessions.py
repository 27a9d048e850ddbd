"""What belongs to one open page: nothing of it is shared with another, and all of it is forgotten in the end."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xpose.demo.sketch import Sketch
from xpose.demo.uploads import Limits, Upload
from xpose.errors import ImageError, XPoseError

if TYPE_CHECKING:
    from xpose.demo.answers import Answer, Sliders
    from xpose.demo.batch import Job
    from xpose.inference import PromptBank
    from xpose.results import Poses


@dataclass(eq=False)
class Result:
    """The last answer of a tab, and what of it is shown.

    Attributes:
        answer: all that the network found.
        sliders: where they stand.
        kept: what they leave, for each picture.
        at: which picture is shown.
    """

    answer: Answer
    sliders: Sliders
    kept: list[Poses]
    at: int = 0


class SessionError(XPoseError):
    """A page whose session is no longer there."""


@dataclass(eq=False)
class Session:
    """Everything that one open page holds.

    Attributes:
        key: nobody can guess it, so an address that has it is private to the page.
        sketch: the examples that were clicked; the tabs share them.
        pictures: what was uploaded, by the place it was put in: the picture of a tab, the targets of another.
        examples: example pictures by id.
        results: the last result of each tab.
        bank: a prompt bank that was loaded, and its file's name.
        made_bank: the file of a prompt bank that was made here.
        job: the last batch.
        lock: held while the sketch is changed.
    """

    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    sketch: Sketch = field(default_factory=Sketch)
    pictures: dict[str, list[Upload]] = field(default_factory=dict)
    examples: dict[str, Upload] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    bank: tuple[PromptBank, str] | None = None
    made_bank: bytes | None = None
    job: Job | None = None
    used: float = 0.0
    closed: float | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def uploads(self) -> Iterator[Upload]:
        """Every picture that the page holds."""
        for group in list(self.pictures.values()):  # copies: other requests of the page may change them meanwhile
            yield from list(group)
        yield from list(self.examples.values())
        for result in list(self.results.values()):
            yield from result.answer.pictures

    def find(self, upload_id: str) -> Upload | None:
        """The picture of this page with that id."""
        return next((upload for upload in self.uploads() if upload.id == upload_id), None)

    def make_room(self, data: int, limits: Limits) -> None:
        """Check that so many bytes more may be kept.

        Raises:
            ImageError: the page holds too much already.
        """
        held = sum(len(upload.data) for upload in {upload.id: upload for upload in self.uploads()}.values())
        if held + data > limits.session_bytes:
            raise ImageError(
                f"This page holds {held / 1e6:.0f} MB of pictures, and at most {limits.session_bytes / 1e6:g} MB are "
                "kept for one page. Reload the page to start anew, or use the command line: xpose detect"
            )

    def forget(self) -> None:
        """Drop everything. A request that still runs keeps what it took; its result goes nowhere."""
        self.pictures.clear()
        self.examples.clear()
        self.results.clear()
        self.sketch, self.bank, self.made_bank = Sketch(), None, None
        if self.job is not None:
            self.job.forget()
            self.job = None


class Sessions:
    """All open pages. Safe to use from several threads."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._clock = limits, clock
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def open(self) -> Session:
        """A new session; where there are too many, the one that was unused for longest makes room."""
        self.sweep()
        session = Session(used=self._clock())
        with self._lock:
            crowd = sorted(self._open.values(), key=lambda one: one.used)
            leaving = crowd[: max(0, len(crowd) + 1 - self.limits.sessions)]
            for one in leaving:
                del self._open[one.key]
            self._open[session.key] = session
        for one in leaving:
            one.forget()
        return session

    def get(self, key: object) -> Session:
        """The session of a page.

        Raises:
            SessionError: it was forgotten, or never was.
        """
        with self._lock:
            session = self._open.get(key) if isinstance(key, str) else None
            if session is not None:
                session.used, session.closed = self._clock(), None
        if session is None:
            raise SessionError(
                "The session of this page has ended, and its pictures are deleted. A page is kept for "
                f"{self.limits.idle_seconds / 60:g} minutes after its last use. Reload the page to start anew."
            )
        return session

    def close(self, key: object) -> None:
        """The page was closed; it is forgotten soon, unless it comes back (a phone that slept)."""
        with self._lock:
            session = self._open.get(key) if isinstance(key, str) else None
            if session is not None:
                session.closed = self._clock()

    def sweep(self) -> None:
        """Forget the pages whose time is over."""
        now = self._clock()
        with self._lock:
            over = [
                one
                for one in self._open.values()
                if now - one.used > self.limits.idle_seconds
                or (one.closed is not None and now - one.closed > self.limits.closed_seconds)
            ]
            for one in over:
                del self._open[one.key]
        for one in over:
            one.forget()

    def forget_all(self) -> None:
        """The server stops."""
        with self._lock:
            everyone = list(self._open.values())
            self._open.clear()
        for one in everyone:
            one.forget()
