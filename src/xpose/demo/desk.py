"""One method for each thing that a visitor can do: plain values in, HTML out. It knows no web framework.

Every method takes the session's key first, and raises an `XPoseError` whose message is for the visitor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xpose.demo import asking, views
from xpose.demo.answers import Sliders, ask, coco_json, csv_table, drawing, usual_sliders
from xpose.demo.batch import run_batch
from xpose.demo.samples import samples
from xpose.demo.sessions import Result, Session, Sessions
from xpose.demo.sketch import Mark, Shot
from xpose.demo.uploads import Limits, Upload, receive, shown_name, too_many_bytes
from xpose.errors import ImageError, PromptError, XPoseError, quote

if TYPE_CHECKING:
    from xpose.inference import Detector, PromptBank

BANK_SLOT, EXAMPLE_SLOT = "bank", "example"
SEVERAL = {"visual", "combined", "batch"}  # slots that hold more than one picture
SLOTS = {"text", BANK_SLOT, EXAMPLE_SLOT} | SEVERAL
BANK_FILE, ARCHIVE_FILE = "prompts.safetensors", "xpose.zip"
_RESULT_FILES = {"drawing.png": "image/png", "poses.json": "application/json", "poses.csv": "text/csv"}
BY_WORDS, BY_EXAMPLES, BY_BOTH, BY_BANK = (
    "words",
    "the examples of the Visual tab",
    "words and these examples together",
    "the loaded prompt bank",
)


@dataclass(frozen=True)
class Shown:
    """The parts of a tab that shows a result, as HTML; None leaves a part as it is."""

    note: str = ""
    chips: str | None = None
    view: str | None = None
    table: str | None = None
    links: str | None = None


@dataclass(frozen=True)
class File:
    """A download: its bytes, or an open file that holds them."""

    content: bytes | IO[bytes]
    kind: str


class Desk:
    """What stands between the page and the library. Safe to use from several threads."""

    def __init__(self, detector: Detector, limits: Limits | None = None) -> None:
        self.detector = detector
        self.limits = limits or Limits()
        self.sessions = Sessions(self.limits)

    # --- files that come and go ---------------------------------------------------------------------------------------

    def receive(self, key: object, slot: str, name: str, number: int, data: bytes) -> str:
        """Take an uploaded file into a slot of the page; `number` counts the files that were chosen together.

        Returns its id.
        """
        session = self.sessions.get(key)
        if slot not in SLOTS:
            raise ImageError(f"There is no place {quote(slot)} for files. Reload the page.")
        if len(data) > self.limits.file_bytes:
            raise too_many_bytes(name, self.limits)
        if slot == BANK_SLOT:
            session.bank = (_read_bank(data, self.detector, shown_name(name)), shown_name(name))
            return BANK_SLOT
        if slot in SEVERAL and number == 0:
            session.pictures[slot] = []
        if slot in SEVERAL and len(session.pictures.get(slot, ())) >= self.limits.batch_files:
            raise ImageError(
                f"{quote(shown_name(name))} is left out: at most {self.limits.batch_files} pictures are taken at a "
                "time. Do the rest afterwards, or use the command line: xpose detect"
            )
        session.make_room(len(data), self.limits)
        upload = receive(data, name, self.limits)
        self._keep(session, slot, upload)
        return upload.id

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
        if (tab, name) == ("batch", ARCHIVE_FILE) and session.archive is not None:
            return File(session.archive, "application/zip")
        return None

    def picture(self, key: object, upload_id: str) -> bytes | None:
        """The JPEG of one of the page's pictures, as it is shown."""
        upload = self.sessions.get(key).find(upload_id)
        return None if upload is None else upload.shown

    def arrived(self, key: object, slot: str, action: Mapping[str, Any]) -> Shown:
        """After an upload: show the picture, and say what could not be used."""
        session = self.sessions.get(key)
        faults = [self._upload_fault(fault) for fault in _list(action.get("faults"))]
        some = bool(_list(action.get("arrived")))
        if slot == EXAMPLE_SLOT and some:
            with session.lock:
                for upload_id in _list(action.get("arrived")):
                    upload = session.examples.get(str(upload_id))
                    if upload is not None:
                        session.sketch.add(upload.id, upload.width, upload.height)
        held = session.pictures.get(slot, [])
        if some:
            session.results.pop(slot, None)  # it was about other pictures
        view = views.plain_picture(session.key, held[0]) if some and held else None
        if faults:
            start = f"{len(held)} pictures are here; " if some and slot in SEVERAL else ""
            text = f"{start}{len(faults)} could not be used:" if len(faults) > 1 or start else faults[0]
            return Shown(views.note(text, "problem", faults if text != faults[0] else ()), view=view)
        several = f"{len(held)} pictures are here." if slot in SEVERAL else ""
        return Shown(views.note(several) if several else "", chips="", view=view, table="", links="")

    def _upload_fault(self, fault: object) -> str:
        """What the page reports about a file that did not arrive; its words are the visitor's own."""
        fault = fault if isinstance(fault, Mapping) else {}
        if "large" in fault:
            return str(too_many_bytes(str(fault["large"]), self.limits))
        if "message" in fault:
            return str(fault["message"])[:1000]
        return f"{quote(shown_name(str(fault.get('lost', ''))))} did not arrive. Try again, or reload the page."

    def _keep(self, session: Session, slot: str, upload: Upload) -> None:
        if slot == EXAMPLE_SLOT:
            session.examples[upload.id] = upload
        elif slot in SEVERAL:
            session.pictures.setdefault(slot, []).append(upload)
        else:
            session.pictures[slot] = [upload]

    def try_sample(self, key: object, slot: str, names: Sequence[str]) -> Shown:
        """Put drawn pictures of the package where uploads of a slot go."""
        session = self.sessions.get(key)
        if slot in SEVERAL:
            session.pictures[slot] = []
        for name in names:
            self._keep(session, slot, receive(samples()[name].data, name, self.limits))
        return self.arrived(key, slot, {"arrived": list(names)})

    def words_of(self, name: str) -> str:
        """What to look for in a drawn picture."""
        return samples()[name].words

    def sample_names(self) -> list[str]:
        """All drawn pictures."""
        return list(samples())

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
        answer = ask(self.detector, prompts, pictures)
        session.results[tab] = Result(answer, answer.start, answer.kept(answer.start))
        return self._show(session, tab), answer.start

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

    # --- clicking -----------------------------------------------------------------------------------------------------

    def pad(self, key: object) -> str:
        """The place to click, as it stands."""
        session = self.sessions.get(key)
        board = session.sketch.board
        upload = session.examples.get(board.shot.picture) if board.shots else None
        return views.pad(session.key, board, upload, session.sketch.can_undo)

    def act(self, key: object, action: Mapping[str, Any]) -> str:
        """A click or another action on the examples."""
        session = self.sessions.get(key)
        with session.lock:
            session.sketch.act(action)
        return self.pad(key)

    def name_points(self, key: object, skeleton: object, names: object) -> str:
        """Take over the names of a skeleton, or of an own list where no skeleton is chosen."""
        session = self.sessions.get(key)
        chosen = str(skeleton or asking.OWN)
        points = asking.split_names(names) if chosen == asking.OWN else asking.skeleton_names(chosen)
        with session.lock:
            session.sketch.name_points(points)
        return self.pad(key)

    def rename(self, key: object, name: object) -> str:
        """Another name for the current point."""
        return self.act(key, {"kind": "rename", "name": name})

    def sample_example(self, key: object, name: str) -> str:
        """A drawn example with its points, in place of all examples so far."""
        session, sample = self.sessions.get(key), samples()[name]
        upload = receive(sample.data, name, self.limits)
        marks = {point: Mark(x, y, not seen) for point, (x, y, seen) in sample.points.items()}
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
        bank = PromptBank.make(self.detector, session.sketch.prompt(_pixels(session), _label(label)))
        with tempfile.TemporaryDirectory(prefix="xpose-") as folder:
            session.made_bank = bank.save(Path(folder) / BANK_FILE).read_bytes()
        links = views.downloads(session.key, "visual", [(BANK_FILE, f"Prompt bank ({', '.join(bank)})")])
        return Shown(views.note("The prompt bank is ready. It works with these weights only.", "good"), links=links)

    def bank_arrived(self, key: object, action: Mapping[str, Any]) -> str:
        """After a prompt bank was uploaded: what it holds, or why it cannot be used."""
        session = self.sessions.get(key)
        faults = [self._upload_fault(fault) for fault in _list(action.get("faults"))]
        if faults:
            return views.note(faults[0], "problem")
        if session.bank is None:
            return ""
        bank, file = session.bank
        return views.bank_contents(((label, one.names.names) for label, one in bank.items()), file)

    def forget_bank(self, key: object) -> str:
        """Back to the examples."""
        self.sessions.get(key).bank = None
        return views.note("The examples are used again.")

    # --- batches ------------------------------------------------------------------------------------------------------

    def run_batch(
        self, key: object, how: object, words: object, skeleton: object, own: object, sliders: Sliders
    ) -> Iterator[Shown]:
        """The Batch tab: all its pictures, one report after each, and the link to the archive in the last."""
        session = self.sessions.get(key)
        pictures = list(session.pictures.get("batch", ()))
        if not pictures:
            raise PromptError("There are no pictures yet. A batch needs at least one. Choose pictures first.")
        prompts = self._batch_prompts(session, how, words, skeleton, own)
        yield Shown(views.progress(0, len(pictures), f"0 of {len(pictures)}"), links="", view="")
        for report in run_batch(self.detector, prompts, pictures, sliders):
            self.sessions.get(key)  # a page that works is not idle
            failed = f"; {len(report.faults)} failed" if report.faults else ""
            said = f"{report.done} of {report.total}: {report.objects} objects{failed}"
            if report.archive is None:
                yield Shown(views.progress(report.done, report.total, f"{said} ({report.name})"))
                continue
            session.archive = report.archive
            faults = [f"{name}: {message}" for name, message in report.faults]
            yield Shown(
                views.note(f"Done. {said}.", "problem" if faults else "good", faults),
                links=views.downloads(session.key, "batch", [(ARCHIVE_FILE, "Everything in one archive (zip)")]),
            )

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


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_bank(data: bytes, detector: Detector, name: str) -> PromptBank:
    """A prompt bank from an uploaded file, checked against the detector's network."""
    from xpose.inference import PromptBank

    with tempfile.TemporaryDirectory(prefix="xpose-") as folder:
        path = Path(folder) / BANK_FILE
        path.write_bytes(data)
        try:
            bank = PromptBank.load(path)
            bank.prompts(detector)
        except XPoseError as error:
            raise type(error)(str(error).replace(str(path), name)) from None
    if not len(bank):
        raise PromptError(f"The prompt bank {quote(name)} is empty. Make it again.")
    return bank
