"""One method for each action of a visitor, and the state of one open page, independent of the web framework.

A method takes the page's session and the values of fields. It returns updates: new properties by the names of the
components that change. If the visitor made a mistake, it raises an `XPoseError`, and the page shows the message.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xpose.demo import answers, example_files, words
from xpose.demo.answers import RunCandidates, Thresholds
from xpose.demo.examples import ClickedExample, ExampleSet
from xpose.demo.pictures import FACE_POINTS, Limits, UploadedPicture, photographs, read_picture, samples
from xpose.drawing.skeletons import draw_skeleton
from xpose.errors import PromptError, XPoseError
from xpose.pictures.atomic import write_text
from xpose.results.formats.json import json_text

if TYPE_CHECKING:
    from xpose.inference import Detector, PromptBank
    from xpose.results import Poses
    from xpose.vocabulary import Skeleton

WAYS = BY_WORDS, BY_EXAMPLES, BY_BOTH, BY_BANK = "Words", "Example pictures", "Words and examples", "Prompt bank"
WORDINGS = {  # label and placeholder of the objects, and what else may help if nothing is found
    BY_WORDS: ("Objects", "person, horse", ", or show an example"),
    BY_EXAMPLES: ("Name of the object (optional)", "horse", ", or add another example"),
    BY_BOTH: ("Object", "horse", ", or add another example"),
    BY_BANK: ("", "", ""),
}
_MOST_UNDO = 200

Updates = dict[str, dict[str, Any]]
Upload = tuple[str, str]  # path of the temporary file, and name of the visitor's file


@dataclass(eq=False)
class Session:
    """The state of one open page, which is not shared with other pages."""

    history: list[ExampleSet] = field(default_factory=lambda: [ExampleSet()])  # the examples after each change
    named: tuple[str, ...] = ()  # the keypoints chosen for the examples, by skeleton or names
    drawn: tuple[Skeleton, str] | None = None  # the skeleton that the page shows, and how it was chosen
    bank: PromptBank | None = None
    refused: list[str] = field(default_factory=list)  # a line for each unusable file of the last upload
    answer: RunCandidates | None = None  # of the last run
    kept: list[Poses] = field(default_factory=list)  # the poses that pass the thresholds
    shown: int = 0  # the index of the shown picture
    stop: threading.Event = field(default_factory=threading.Event)  # set to end a run after its current picture
    lock: threading.RLock = field(default_factory=threading.RLock)  # held while the state changes
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)  # for downloads
    used: float = 0.0  # the time when the page was last used
    closed: float | None = None

    @property
    def examples(self) -> ExampleSet:
        """The current examples."""
        return self.history[-1]

    def forget(self) -> None:
        """Stop, and delete everything. The result of a run in progress is discarded."""
        self.stop.set()
        self.history, self.bank, self.answer, self.kept = [ExampleSet()], None, None, []
        self.folder.cleanup()


class Controller:
    """Connects the page with the library. Safe to use from several threads."""

    def __init__(
        self, detector: Detector, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.detector, self.limits, self._clock = detector, limits or Limits(), clock
        self.network = threading.Lock()  # concurrent runs would slow each other down
        self.sessions: OrderedDict[str, Session] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    def session(self, key: str) -> Session:
        """The session of an open page; a new one if the page is new or was forgotten."""
        with self._lock:
            session = self.sessions.pop(key, None) or Session()
            session.used, session.closed = self._clock(), None
            self.sessions[key] = session
            if len(self.sessions) > self.limits.pages:
                self.sessions.popitem(last=False)[1].forget()
        return session

    def close(self, key: str) -> None:
        """Mark a page as closed; it is forgotten soon unless it reconnects (a phone that was asleep)."""
        if key in self.sessions:
            self.sessions[key].closed = self._clock()

    def sweep(self, everything: bool = False) -> None:
        """Forget the pages that exceeded a time limit."""
        now, limits = self._clock(), self.limits
        with self._lock:
            for key, session in list(self.sessions.items()):
                gone = session.closed is not None and now - session.closed > limits.closed_seconds
                if everything or gone or now - session.used > limits.idle_seconds:
                    self.sessions.pop(key).forget()

    def show_fields(self, _: Session, way: str) -> Updates:
        """Show the fields of a kind of prompt."""
        label, placeholder = WORDINGS[way][:2]
        return {
            "words": {"visible": way != BY_BANK, "label": label, "placeholder": placeholder},
            "keypoints": {"visible": way != BY_BANK},
            "example_group": {"visible": way in (BY_EXAMPLES, BY_BOTH)},
            "bank_group": {"visible": way == BY_BANK},
        }

    def show_skeleton(self, session: Session, typed: object, skeleton: object, names: object) -> Updates:
        """Draw the keypoints that will be detected; chosen ones become the keypoints of the examples."""
        chosen = words.skeleton_for(typed, skeleton, names, self.detector.learned)
        drawn, session.drawn = session.drawn, chosen
        if chosen is None:
            return {"skeleton_drawing": {"visible": False}}
        updates: Updates = {}
        if chosen != drawn:
            look = {"value": draw_skeleton(chosen[0]), "label": f"{chosen[0].name}: {chosen[1]}"}
            updates["skeleton_drawing"] = {"visible": True, **look}
        points = chosen[0].detected.keypoints
        if (words.split_names(names) or skeleton != words.AUTOMATIC) and points != session.named:
            session.named = points  # they can be renamed, so they are set only once
            updates |= self.edit(session, session.examples.with_names(points))
        return updates

    def _prompts(self, session: Session, way: str, typed: object, skeleton: object, names: object) -> Any:
        examples, learned = session.examples, self.detector.learned
        if way == BY_BANK:
            if session.bank is None:
                raise PromptError("No prompt bank is loaded. Load one, or choose another kind of prompt.")
            return session.bank.prompts(self.detector)
        if way == BY_EXAMPLES:
            return examples.prompt(" ".join(str(typed or "").split()) or None)
        if way == BY_BOTH:
            clicked = [name for name in examples.names if any(name in shot.points for shot in examples.shots)]
            return examples.prompt(None, words.text_with_examples(typed, skeleton, names, clicked, learned))
        return words.text_prompts(typed, skeleton, names, learned)

    def try_sample(self, session: Session, number: int) -> Updates:
        """Fill the fields with one of the samples."""
        sample, files = samples()[number], photographs()
        way = BY_BOTH if sample.joined else BY_EXAMPLES if sample.by_points else BY_WORDS
        updates = self.show_fields(session, way) | self.show_skeleton(session, sample.words, words.AUTOMATIC, "")
        updates["words"]["value"] = sample.words
        fields: dict[str, Any] = {"way": way, "skeleton": words.AUTOMATIC, "names": ""}
        fields["pictures"] = [(str(files[name]), name) for name in sample.pictures]
        if sample.by_points:
            picture = UploadedPicture(files["astronaut.png"], "astronaut.png")
            example = ClickedExample.of(picture, FACE_POINTS)
            updates |= self.edit(session, ExampleSet().with_names(example.points).add(example))
        session.refused = []
        updates["pictures_status"] = {"visible": False}
        return updates | {name: {"value": value} for name, value in fields.items()}

    def check_pictures(self, session: Session, uploads: Sequence[Upload]) -> Updates:
        """After an upload: remove unusable files, and report why."""
        pictures, session.refused = self._read(uploads)
        usable = [(str(picture.path), picture.name) for picture in pictures]
        text = f"{len(pictures)} of {len(uploads)} files can be used." if len(uploads) > 1 else "This cannot be used."
        return {
            "pictures": {"value": usable},
            "pictures_status": {"visible": bool(session.refused), "value": note(text, "problem", session.refused)},
        }

    def take_picture(self, session: Session, uploads: Sequence[Upload], path: str | None) -> Updates:
        """Add a picture from the camera to the uploaded ones."""
        taken = [(path, f"camera-{len(uploads) + 1}{Path(path).suffix}")] if path else []
        return self.check_pictures(session, [*uploads, *taken]) | {"camera": {"value": None}}

    def _read(self, uploads: Sequence[Upload]) -> tuple[list[UploadedPicture], list[str]]:
        pictures, failed, most = [], [], self.limits.pictures
        for path, name in uploads[:most]:
            try:
                pictures.append(read_picture(path, name, self.limits))
            except XPoseError as error:
                failed.append(str(error))
        if len(uploads) > most:
            failed.append(f"At most {most} pictures are searched in one run. Search the rest later.")
        return pictures, failed

    def run(
        self, session: Session, progress: Callable[[int, int, str], Any], uploads: Sequence[Upload], *asked: Any
    ) -> Updates:
        """Search all pictures. Pages take turns after each picture, because only one can use the network at a time."""
        prompts, hint = self._prompts(session, *asked), WORDINGS[asked[0]][2]
        pictures, failed = self._read(uploads)
        if not pictures:
            raise PromptError("\n".join(failed) or "There is no picture to search yet. Upload one, or try a sample.")
        session.stop.clear()
        with self.network:
            encoded = self.detector.encode_prompts(prompts)
            usual = answers.usual_thresholds(self.detector, encoded)
        failed = list(dict.fromkeys([*session.refused, *failed]))
        searched, candidates = [], []
        for number, picture in enumerate(pictures):
            progress(number, len(pictures), picture.name)
            if session.stop.is_set():
                failed.append(f"The run was stopped after {number} of {len(pictures)} pictures.")
                break
            try:
                with self.network:
                    candidates.append(answers.candidates(self.detector, encoded, picture))
                searched.append(picture)
            except XPoseError as error:
                failed.append(str(error))
        with session.lock:
            session.answer, session.shown = RunCandidates(usual, searched, candidates, failed, hint), 0
            sliders: Updates = {f"score-{number}": {"visible": False} for number in range(words.MOST_OBJECTS)}
            for number, (name, limit) in enumerate([*usual.scores.items()][: words.MOST_OBJECTS]):
                look = {"visible": True, "label": f"Score threshold: {name}", "value": answers.rounded(limit)}
                sliders[f"score-{number}"] = look
            sliders |= {"confidence": {"value": usual.confidence}, "overlap": {"value": usual.overlap}}
            return sliders | {"pictures_status": {"visible": False}} | self._keep(session, usual)

    def stop(self, session: Session) -> Updates:
        """End the run after its current picture."""
        session.stop.set()
        return {}

    def filter(self, session: Session, *sliders: float) -> Updates:
        """Apply the thresholds of the sliders without running the network."""
        *scores, confidence, overlap = sliders
        if session.answer is None:
            return {}
        usual = session.answer.usual.scores
        return self._keep(session, Thresholds({**usual, **dict(zip(usual, scores, strict=False))}, confidence, overlap))

    def _keep(self, session: Session, thresholds: Thresholds) -> Updates:
        answer = _result(session)
        session.kept = results = answer.keep(thresholds)
        counts, several = answers.counted(results), len(results) > 1
        text = f"Found: {counts or 'nothing'}" + (f" in {len(results)} pictures." if several else ".")
        if not counts:
            text += f" Move the score thresholds to the left to see what is less certain{answer.hint}."
        drawings = [
            (answers.draw_shown(picture, poses, "none"), f"{picture.name}: {answers.counted([poses]) or 'nothing'}")
            for picture, poses in zip(answer.pictures, results, strict=True)
            if several
        ]
        status = note(text, "problem" if answer.failed else "good" if counts else "info", answer.failed)
        return {
            "status": {"value": status},
            "result": {"visible": bool(results)},
            "gallery": {"value": drawings, "visible": several},
            "table": {"value": answers.table(results)},
            **(self.show_picture(session, session.shown) if results else {}),
        }

    def show_picture(self, session: Session, number: object) -> Updates:
        """Show one picture of the result."""
        answer = _result(session)
        if not isinstance(number, int) or not 0 <= number < len(session.kept):
            raise PromptError("There is no such picture in the result. Press Find again.")
        session.shown = number
        picture, poses = answer.pictures[number], session.kept[number]
        text = f"{picture.name}: {answers.counted([poses]) or 'nothing'}."
        text += " Click on a keypoint or a box to read its name." if len(poses) else ""
        return {"picture": {"value": answers.draw_shown(picture, poses, "below")}, "named": {"value": note(text)}}

    def name_at(self, session: Session, spot: object) -> Updates:
        """Name what was detected at a click on the shown picture."""
        answer = _result(session)
        poses, picture = session.kept[session.shown], answer.pictures[session.shown]
        text = answers.name_at(poses, *_pixel(spot, poses.image_size[1] / picture.shown.width))
        return {"named": {"value": note(text or "Nothing was found here.")}}

    def file(self, session: Session, kind: str) -> Updates:
        """Create a file of the result to download."""
        path = answers.write_file(kind, _result(session), session.kept, Path(session.folder.name))
        return {"download": {"value": str(path)}}

    def edit(self, session: Session, examples: ExampleSet) -> Updates:
        """Show changed examples; a step can be undone if it changes the prompt."""
        if (examples.names, examples.shots) != (session.examples.names, session.examples.shots):
            session.history = [*session.history[-_MOST_UNDO:], examples]
        session.history[-1] = examples
        shot = examples.shot if examples.shots else None
        signs = {name: "hidden: " if place is None else "✓ " for name, place in (shot.points if shot else {}).items()}
        points = [(f"{signs.get(name, '')}{name}", name) for name in examples.names]
        numbers = [(f"Example {number + 1}", number) for number in range(len(examples.shots))]
        box = "Remove box" if shot and shot.box else "Cancel box" if examples.tool == "box" else "Draw box"
        return {
            "example": {"value": shot and shot.draw(examples.current, examples.corner)},
            "example_number": {"choices": numbers, "value": examples.at, "visible": len(numbers) > 1},
            "points": {"choices": points, "value": examples.current, "visible": bool(points)},
            "draw_box": {"value": box},
            "example_tools": {"visible": shot is not None},
            "example_status": {"value": note(next_step(examples))},
        }

    def add_example(self, session: Session, path: str | None) -> Updates:
        """Add an uploaded example picture."""
        try:
            picture = read_picture(path or "", Path(path or "").name, self.limits)
        except XPoseError as error:
            return self.edit(session, session.examples) | {"example_status": {"value": note(str(error), "problem")}}
        return self.edit(session, session.examples.add(ClickedExample.of(picture)))

    def click(self, session: Session, spot: object) -> Updates:
        """Handle a click on the example."""
        shot = session.examples.shot
        return self.edit(session, session.examples.click(*_pixel(spot, shot.width / shot.picture.shown.width)))

    def undo(self, session: Session) -> Updates:
        """Undo the last change to the examples."""
        del session.history[max(1, len(session.history) - 1) :]
        return self.edit(session, session.examples)

    def save_bank(self, session: Session, typed: object) -> Updates:
        """Encode the examples into a prompt bank to download."""
        from xpose.inference import PromptBank

        with self.network:
            bank = PromptBank.make(self.detector, self._prompts(session, BY_EXAMPLES, typed, None, None))
        return {"download": {"value": str(bank.save(Path(session.folder.name) / "prompts.safetensors"))}}

    def save_examples(self, session: Session, typed: object, kind: str) -> Updates:
        """Create a file with the points of the examples to download."""
        prompt = self._prompts(session, BY_EXAMPLES, typed, None, None)
        content = example_files.content_of(kind, session.examples, prompt.resolved)
        stem = Path(session.examples.shot.picture.name).stem if kind == "points" else "labels"
        path = Path(session.folder.name) / f"{stem}.json"
        write_text(path, json_text(content))
        return {"download": {"value": str(path)}}

    def load_points(self, session: Session, path: str | None) -> Updates:
        """Show the points of an uploaded file in the selected example, to correct them."""
        try:
            examples, label, count = example_files.loaded(Path(path or ""), session.examples)
        except XPoseError as error:
            raise type(error)(str(error).replace(str(path), Path(path or "").name)) from None
        updates = self.edit(session, examples)
        more = f" The file has {count} objects in this picture; this is the first." if count > 1 else ""
        text = f"The points were loaded.{more} {next_step(session.examples)}"
        updates["example_status"] = {"value": note(text, "good")}
        return updates | ({} if label is None else {"words": {"value": label}})

    def correct(self, session: Session) -> Updates:
        """Make the best object of the shown picture an example, to correct its points."""
        answer, poses = _result(session), session.kept[session.shown]
        if not len(poses):
            raise PromptError("Nothing was found in this picture. Choose another one, or click on the points yourself.")
        example, pose = ClickedExample.of(answer.pictures[session.shown]), poses[0]
        updates = self.show_fields(session, BY_EXAMPLES) | {"way": {"value": BY_EXAMPLES}}
        updates["words"]["value"] = pose.category
        return updates | self.edit(session, example_files.corrected(example, pose))

    def load_bank(self, session: Session, path: str | None) -> Updates:
        """Use an uploaded prompt bank and list its content, or remove it."""
        from xpose.inference import PromptBank

        session.bank = None
        if path is None:
            return {"bank_status": {"value": ""}}
        try:
            bank = PromptBank.load(path)
            bank.prompts(self.detector)
        except XPoseError as error:
            raise type(error)(str(error).replace(str(path), Path(path).name)) from None
        session.bank = bank
        lines = [f"{label}: {', '.join(entry.names.names) or 'only a box'}" for label, entry in bank.items()]
        return {"bank_status": {"value": note("The prompt bank holds:", "good", lines)}}


def note(text: str, kind: Literal["info", "good", "problem"] = "info", lines: Sequence[str] = ()) -> str:
    """A message as HTML, followed by a list. Texts of visitors are escaped here."""
    items = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
    return f'<div class="note {kind}" role="{"alert" if kind == "problem" else "status"}">{escape(text)}{items}</div>'


def _result(session: Session) -> RunCandidates:
    if session.answer is None:
        raise PromptError("The result is no longer there. Press Find again.")
    return session.answer


def next_step(examples: ExampleSet) -> str:
    """What to do next with the examples."""
    if not examples.shots:
        return "Upload a picture that shows the object, then click on its points."
    if examples.tool == "box":
        return "Click on one corner of the object." if examples.corner is None else "Click on the opposite corner."
    if examples.tool == "move":
        return f"{examples.current} is selected. Click where it belongs."
    if examples.current is not None and examples.current not in examples.shot.points:
        return f"Click on: {examples.current}"
    return "Click on a point of the object." if not examples.names else "Click to add a point, or press Find."


def _pixel(spot: object, scale: float) -> tuple[float, float]:
    """Convert a clicked pixel of the shown picture to one of the original."""
    x, y = spot if isinstance(spot, list | tuple) and len(spot) == 2 else (None, None)
    if not isinstance(x, int | float) or not isinstance(y, int | float):
        raise PromptError("The click has no coordinates. Click again, or reload the page.")
    return x * scale, y * scale
