"""What comes in: uploads into the places of a page, and the photographs that one can try."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.demo import views
from xpose.demo.samples import samples
from xpose.demo.sessions import Session, Sessions
from xpose.demo.uploads import Limits, Upload, receive, shown_name, too_many_bytes
from xpose.errors import ImageError, PromptError, XPoseError, quote

if TYPE_CHECKING:
    from xpose.inference import Detector, PromptBank

BANK_SLOT, EXAMPLE_SLOT = "bank", "example"
SEVERAL = {"visual", "combined", "batch"}  # slots that hold more than one picture
SLOTS = {"text", BANK_SLOT, EXAMPLE_SLOT} | SEVERAL
BANK_FILE = "prompts.safetensors"


@dataclass(frozen=True)
class Shown:
    """The parts of a tab that shows a result, as HTML; None leaves a part as it is."""

    note: str = ""
    chips: str | None = None
    view: str | None = None
    table: str | None = None
    links: str | None = None


class Intake:
    """The half of the desk that takes things in."""

    def __init__(self, detector: Detector, limits: Limits | None = None) -> None:
        self.detector = detector
        self.limits = limits or Limits()
        self.sessions = Sessions(self.limits)

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
            start = f"{_here(held)}; " if some and slot in SEVERAL else ""
            text = f"{start}{len(faults)} could not be used:" if len(faults) > 1 or start else faults[0]
            return Shown(views.note(text, "problem", faults if text != faults[0] else ()), view=view)
        several = f"{_here(held)}." if slot in SEVERAL else ""
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
        """Put sample photographs where uploads of a slot go."""
        session = self.sessions.get(key)
        if slot in SEVERAL:
            session.pictures[slot] = []
        for name in names:
            self._keep(session, slot, receive(samples()[name].data, name, self.limits))
        return self.arrived(key, slot, {"arrived": list(names)})

    def words_of(self, name: str) -> str:
        """What to look for in a sample photograph."""
        return samples()[name].words

    def sample_names(self) -> list[str]:
        """All sample photographs that are there."""
        return list(samples())

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


def _here(held: Sequence[Upload]) -> str:
    return "1 picture is here" if len(held) == 1 else f"{len(held)} pictures are here"


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
