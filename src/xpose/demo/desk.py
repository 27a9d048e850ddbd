"""One method for each thing that a visitor can do: plain values in, HTML out. It knows no web framework.

Every method takes the session's key first, and raises an `XPoseError` whose message is for the visitor.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xpose.demo import asking, views
from xpose.demo.answers import Sliders, ask, coco_json, csv_table, drawing, usual_sliders
from xpose.demo.batch import Job, run_batch
from xpose.demo.intake import BANK_FILE, EXAMPLE_SLOT, Intake, Shown
from xpose.demo.samples import samples
from xpose.demo.sessions import Result, Session, SessionError
from xpose.demo.sketch import Mark, Shot
from xpose.demo.uploads import Limits, receive
from xpose.errors import PromptError, XPoseError

if TYPE_CHECKING:
    from xpose.inference import Detector

ARCHIVE_FILE = "xpose.zip"
_RESULT_FILES = {"drawing.png": "image/png", "poses.json": "application/json", "poses.csv": "text/csv"}
BY_WORDS, BY_EXAMPLES, BY_BOTH, BY_BANK = (
    "words",
    "the examples of the Visual tab",
    "words and these examples together",
    "the loaded prompt bank",
)


@dataclass(frozen=True)
class File:
    """A download: its bytes, or an open file that holds them."""

    content: bytes | IO[bytes]
    kind: str


class BusyError(XPoseError):
    """Too many visitors at once."""


class Desk(Intake):
    """What stands between the page and the library. Safe to use from several threads."""

    def __init__(self, detector: Detector, limits: Limits | None = None) -> None:
        super().__init__(detector, limits)
        self._network = threading.Lock()
        self._queue = threading.BoundedSemaphore(self.limits.waiting)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The network works for one visitor at a time: two at once would only make both slower.

        Raises:
            BusyError: too many wait for it already.
        """
        if not self._queue.acquire(blocking=False):
            raise BusyError(
                f"{self.limits.waiting} others are waiting for the network, and no more can. Try again in a moment."
            )
        try:
            with self._network:
                yield
        finally:
            self._queue.release()

    # --- what is looked for -------------------------------------------------------------------------------------------

    def skeleton(self, key: object, words: object, skeleton: object, own: object) -> str:
        """A drawing of the keypoints that will be looked for."""
        self.sessions.get(key)
        found, why = asking.skeleton_for(words, skeleton, own)
        return views.skeleton(asking.draw(found), found.name, why)

    def run_words(self, key: object, words: object, skeleton: object, own: object) -> tuple[Shown, Sliders]:
        """The Text tab: find what the words say."""
        session = self.sessions.get(key)
        return self._run(session, "text", asking.text_prompts(words, skeleton, own))

    def run_examples(self, key: object, label: object) -> tuple[Shown, Sliders]:
        """The Visual tab: find what is like the examples, or what a loaded prompt bank holds."""
        session = self.sessions.get(key)
        return self._run(session, "visual", self._by_examples(session, label))

    def run_both(self, key: object, words: object, skeleton: object, own: object) -> tuple[Shown, Sliders]:
        """The Combined tab: words and examples for one class."""
        session = self.sessions.get(key)
        prompt = asking.combined_prompt(words, skeleton, own, session.sketch, _pixels(session))
        return self._run(session, "combined", prompt)

    def _by_examples(self, session: Session, label: object) -> Any:
        if session.bank is not None:
            return session.bank[0].prompts(self.detector)
        return session.sketch.prompt(_pixels(session), _label(label))

    def _run(self, session: Session, tab: str, prompts: Any) -> tuple[Shown, Sliders]:
        pictures = session.pictures.get(tab, [])
        if not pictures:
            raise PromptError(
                "There is no picture to look in yet. It needs at least one. Choose a picture, or try an example."
            )
        with self._turn():
            answer = ask(self.detector, prompts, pictures)
        start = answer.usual.sliders
        session.results[tab] = Result(answer, start, answer.kept(start))
        return self._show(session, tab), start

    # --- what is shown ------------------------------------------------------------------------------------------------

    def slide(self, key: object, tab: str, sliders: Sliders) -> Shown:
        """The sliders moved; the network does not run."""
        session = self.sessions.get(key)
        result = session.results.get(tab)
        if result is None:
            return Shown()
        result.sliders, result.kept = sliders, result.answer.kept(sliders)
        return self._show(session, tab)

    def show(self, key: object, tab: str, at: object) -> Shown:
        """Another picture of the result."""
        session = self.sessions.get(key)
        result = session.results.get(tab)
        if result is None or not isinstance(at, int) or not 0 <= at < len(result.kept):
            raise PromptError("There is no such picture in the result. Run again, or reload the page.")
        result.at = at
        return self._show(session, tab)

    def _show(self, session: Session, tab: str) -> Shown:
        result = session.results[tab]
        answer, at = result.answer, result.at
        names = [picture.name for picture in answer.pictures]
        links = [("drawing.png", "Drawing (PNG)"), ("poses.json", "Poses (COCO JSON)"), ("poses.csv", "Table (CSV)")]
        return Shown(
            views.summary(answer, result.kept),
            views.chooser(names, at),
            views.overlay(session.key, answer.pictures[at], result.kept[at]),
            views.table(names, result.kept),
            views.downloads(session.key, tab, links),
        )

    def file(self, key: object, tab: str, name: str) -> File | None:
        """The file behind a download link, made now; None where there is none."""
        session = self.sessions.get(key)
        result = session.results.get(tab)
        if name in _RESULT_FILES and result is not None:
            pictures, names = result.answer.pictures, [picture.name for picture in result.answer.pictures]
            if name == "drawing.png":
                return File(drawing(result.kept[result.at], pictures[result.at]), _RESULT_FILES[name])
            made = coco_json(result.kept, names) if name == "poses.json" else csv_table(result.kept)
            return File(made, _RESULT_FILES[name])
        if (tab, name) == ("visual", BANK_FILE) and session.made_bank is not None:
            return File(session.made_bank, "application/octet-stream")
        done = session.job.progress if session.job is not None else None
        if (tab, name) == ("batch", ARCHIVE_FILE) and done is not None and done.archive is not None:
            return File(done.archive, "application/zip")
        return None

    # --- clicking -----------------------------------------------------------------------------------------------------

    def pad(self, key: object, said: str = "") -> str:
        """The place to click, as it stands, under a message if there is one."""
        session = self.sessions.get(key)
        board = session.sketch.board
        upload = session.examples.get(board.shot.picture) if board.shots else None
        return views.pad(session.key, board, upload, session.sketch.can_undo, said)

    def on_pad(self, key: object, change: Callable[..., str], *values: Any) -> str:
        """The place to click after a change to the examples; a mistake stands over it, and changes nothing."""
        try:
            return self.pad(key, change(key, *values))
        except SessionError:
            raise
        except XPoseError as error:
            return self.pad(key, views.note(str(error), "problem"))

    def act(self, key: object, action: Mapping[str, Any]) -> str:
        """A click or another action on the examples."""
        session = self.sessions.get(key)
        with session.lock:
            session.sketch.act(action)
        return ""

    def examples_arrived(self, key: object, action: Mapping[str, Any]) -> str:
        """After example pictures were uploaded; what could not be used."""
        return self.arrived(key, EXAMPLE_SLOT, action).note

    def name_points(self, key: object, skeleton: object, names: object) -> str:
        """Take over the names of a skeleton, or of an own list where no skeleton is chosen."""
        session = self.sessions.get(key)
        chosen = str(skeleton or asking.OWN)
        points = asking.split_names(names) if chosen == asking.OWN else asking.skeleton_names(chosen)
        with session.lock:
            session.sketch.name_points(points)
        return ""

    def rename(self, key: object, name: object) -> str:
        """Another name for the current point."""
        return self.act(key, {"kind": "rename", "name": name})

    def sample_example(self, key: object, name: str) -> str:
        """A photograph as an example with its points, in place of all examples so far."""
        session, sample = self.sessions.get(key), samples()[name]
        upload = receive(sample.data, name, self.limits)
        marks = {point: Mark(x, y) for point, (x, y) in sample.points.items()}
        with session.lock:
            session.examples[upload.id] = upload
            while session.sketch.board.shots:
                session.sketch.act({"kind": "drop"})
            session.sketch.name_points(sample.points)
            shot = Shot(upload.id, upload.width, upload.height, marks)
            session.sketch.add(upload.id, upload.width, upload.height, shot)
        return self.pad(key)

    # --- prompt banks -------------------------------------------------------------------------------------------------

    def make_bank(self, key: object, label: object) -> Shown:
        """Encode the examples into a prompt bank, for download."""
        from xpose.inference import PromptBank

        session = self.sessions.get(key)
        with self._turn():
            bank = PromptBank.make(self.detector, session.sketch.prompt(_pixels(session), _label(label)))
        with tempfile.TemporaryDirectory(prefix="xpose-") as folder:
            session.made_bank = bank.save(Path(folder) / BANK_FILE).read_bytes()
        links = views.downloads(session.key, "visual", [(BANK_FILE, f"Prompt bank ({', '.join(bank)})")])
        return Shown(views.note("The prompt bank is ready. It works with these weights only.", "good"), links=links)

    def forget_bank(self, key: object) -> str:
        """Back to the examples."""
        self.sessions.get(key).bank = None
        return views.note("The examples are used again.")

    # --- batches ------------------------------------------------------------------------------------------------------

    def start_batch(
        self, key: object, how: object, words: object, skeleton: object, own: object, sliders: Sliders
    ) -> str:
        """The Batch tab: start on all its pictures; what is shown meanwhile, and where the page asks for more."""
        session = self.sessions.get(key)
        pictures = list(session.pictures.get("batch", ()))
        if not pictures:
            raise PromptError("There are no pictures yet. A batch needs at least one. Choose pictures first.")
        if session.job is not None and session.job.runs:
            raise PromptError("A batch of this page is still at work. One runs at a time. Wait for it, or press Stop.")
        prompts = self._batch_prompts(session, how, words, skeleton, own)
        if session.job is not None:
            session.job.forget()
        session.job = Job(run_batch(self.detector, prompts, pictures, sliders, self._turn), len(pictures))
        return self.batch(key)

    def batch(self, key: object) -> str:
        """How far the batch of the page is: a bar while it works, and in the end the link to its archive."""
        session = self.sessions.get(key)
        job = session.job
        if job is None:
            return ""
        if job.runs:
            return views.working(session.key, job.progress, job.total)
        if job.failure is not None:
            raise job.failure
        if job.stopped or job.progress is None:
            return views.note("Stopped.")
        links = views.downloads(session.key, "batch", [(ARCHIVE_FILE, "Everything in one archive (zip)")])
        return views.batch_done(job.progress) + links

    def stop_batch(self, key: object) -> str:
        """Stop the batch after the picture that it works on."""
        session = self.sessions.get(key)
        if session.job is not None:
            session.job.stop()
        return self.batch(key)

    def _batch_prompts(self, session: Session, how: object, words: object, skeleton: object, own: object) -> Any:
        if how == BY_WORDS:
            return asking.text_prompts(words, skeleton, own)
        if how == BY_BOTH:
            return asking.combined_prompt(words, skeleton, own, session.sketch, _pixels(session))
        if how == BY_BANK:
            if session.bank is None:
                raise PromptError("No prompt bank is loaded. Load one in the Visual tab, or choose words or examples.")
            return session.bank[0].prompts(self.detector)
        return session.sketch.prompt(_pixels(session), None)

    def usual_sliders(self) -> Sliders:
        """Where the sliders stand before anything ran."""
        return usual_sliders(self.detector)


def _pixels(session: Session) -> Any:
    """The picture of an example by its id."""

    def read(upload_id: str) -> Any:
        upload = session.examples.get(upload_id)
        if upload is None:
            raise PromptError("An example picture is gone. Reload the page.")
        return upload.pixels

    return read


def _label(text: object) -> str | None:
    return " ".join(str(text or "").split()) or None
