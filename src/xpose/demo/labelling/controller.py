"""One method for each action on the labelling page, independent of the web framework.

A method takes the page's session and the values of fields. It returns updates: new properties by the names of the
components that change. If the user made a mistake, it raises an `XPoseError`, and the page shows the message.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from xpose.demo.answers import plural
from xpose.demo.controller import Updates, note
from xpose.demo.labelling import view
from xpose.demo.labelling.folder import LabelFolder
from xpose.demo.labelling.objects import LabelledPicture
from xpose.errors import PromptError, XPoseError, counted, quote

PICTURE_ADDRESS = "picture/{}"  # where the server gives the picture of this number


@dataclass(eq=False)
class LabelSession:
    """The state of one open page."""

    lock: threading.RLock  # of the labels, which all pages share
    number: int  # the index of the shown picture
    shown: bool = False  # whether the page shows the state of this session, and not that of an earlier program


class LabelController:
    """Connects the page with the labels of a folder. Safe to use from several threads."""

    def __init__(self, labelling: LabelFolder, finetune: str) -> None:
        """`finetune` is the command that trains with the labels."""
        self.labelling, self.finetune = labelling, finetune
        self.sessions: dict[str, LabelSession] = {}

    def session(self, key: str) -> LabelSession:
        """The session of an open page; a new one starts at the first picture that is not labelled."""
        return self.sessions.setdefault(key, LabelSession(self.labelling.lock, self.labelling.first_open()))

    def close(self, key: str) -> None:
        """Save what was changed in the picture of a closed page, which may come back (a computer that was asleep)."""
        session = self.sessions.get(key)
        if session is not None:
            with session.lock:
                self._leave(session)

    def act(self, session: LabelSession, shown: object, method: str, *values: object) -> Updates:
        """Call a method if it was meant for the session's picture; `shown` is the address of the one on the page.

        Another one is there if the program was started again, or if somebody clicks while the next picture is awaited.
        """
        if not session.shown:
            return self.show(session, "The program was started again since this page was opened.")
        if shown not in ("", self._address(session.number)):
            return self.show(session)
        updates: Updates = getattr(self, method)(session, *values)
        return updates

    def show(self, session: LabelSession, said: str = "") -> Updates:
        """Show the session's picture; `said` is what happened before."""
        labelling, session.shown = self.labelling, True
        name, total = labelling.names[session.number], len(labelling.names)
        choices = [
            (f"{'✓' if labelling.is_labelled(other) else '·'} {other}", number)
            for number, other in enumerate(labelling.names)
        ]
        bar = f'<div class="bar"><div style="width: {100 * labelling.labelled / total:.1f}%"></div></div>'
        updates: Updates = {
            "progress": {"value": f"<b>{labelling.labelled} of {total} labelled</b>{bar}"},
            "jump": {"choices": choices, "value": session.number},
        }
        try:
            labels = labelling.open(name)
        except XPoseError as error:
            fault = note(f"{said} {error} Go to another picture.".strip(), "problem")
            hidden: Updates = {name: {"visible": False} for name in ("points", "objects")}
            return updates | hidden | {"status": {"value": fault}, "picture": {"value": ""}}
        labelling.prepared(labelling.names[self._following(session)])
        prepared, proposes = labelling.prepared(name).result(), labelling.proposing and not labelling.is_labelled(name)
        return updates | self._labels(session, labels, said=f"{said} {prepared.fault * proposes}".strip())

    def _labels(self, session: LabelSession, labels: LabelledPicture, said: str = "") -> Updates:
        labelling = self.labelling
        points = [(f"{_sign(labels, name)}{place} {name}", name) for place, name in enumerate(labels.names, start=1)]
        objects = [
            (f"{number}{' (proposed)' * labelled.proposed}", number - 1)
            for number, labelled in enumerate(labels.objects, start=1)
        ]
        addresses = [self._address(number) for number in (session.number, self._following(session))]
        done = said and labelling.labelled == len(labelling.names)
        text = said if done else " ".join(filter(None, (said, self._next_step(labels))))
        return {
            "picture": {"value": view.draw(labels, labelling.file.category.edges, *addresses)},
            "points": {"choices": points, "value": labels.current, "visible": True},
            "objects": {"choices": objects, "value": labels.at if objects else None, "visible": len(objects) > 1},
            "status": {"value": note(text)},
        }

    def _next_step(self, labels: LabelledPicture) -> str:
        """What to do next with the picture."""
        what = self.labelling.file.category.name
        others = sum(labelled.proposed for labelled in labels.objects if labelled is not labels.selected)
        more = f" Proposed as well: {counted(others, what, plural(what))}." if others else ""
        if labels.current is not None and labels.selected.points.get(labels.current) is not None:
            return f"{labels.current} is selected. Click where it belongs.{more}"
        if labels.selected.proposed:
            return f"This {what} is proposed. Correct its marks, or accept it with Enter, or remove it with Del.{more}"
        if labels.current is None:
            return f"All keypoints of this {what} are done. Enter: save and go on. N: label another one.{more}"
        return f"Click on: {labels.current}{', which is hidden' if labels.hiding else ''}{more and f'.{more}'}"

    def point(self, session: LabelSession, spot: object) -> Updates:
        """Handle a click on the picture or on a mark, or a mark that was dragged."""
        values = spot if isinstance(spot, dict) else {}
        labels = self._shown(session)
        if "name" not in values:
            return self._change(session, labels.click(values.get("x"), values.get("y")))
        if "x" not in values:
            return self._change(session, labels.select(values.get("object"), values["name"]))
        return self._change(session, labels.drag(values.get("object"), values["name"], values["x"], values.get("y")))

    def edit(self, session: LabelSession, method: str, *values: object) -> Updates:
        """Change the labels by a method of `LabelledPicture`."""
        return self._change(session, getattr(self._shown(session), method)(*values))

    def undo(self, session: LabelSession) -> Updates:
        """Undo the last change of the picture since it was opened or saved."""
        name = self.labelling.names[session.number]
        self._shown(session)
        self.labelling.undo(name)
        return self._labels(session, self._shown(session))

    def accept(self, session: LabelSession) -> Updates:
        """Save the labels as they are shown, and go to the next picture that is not labelled."""
        self._shown(session)
        said = self._save(session)
        session.number = self.labelling.first_open(self._following(session))
        if self.labelling.labelled == len(self.labelling.names):
            said += f" All pictures are labelled. Stop the program with Ctrl-C, then: {self.finetune}"
        return self.show(session, said)

    def step(self, session: LabelSession, step: int) -> Updates:
        """Go to the next picture (1) or the previous one (-1)."""
        return self.jump(session, (session.number + step) % len(self.labelling.names))

    def jump(self, session: LabelSession, number: object) -> Updates:
        """Go to a picture; the shown one is saved if it was changed."""
        if type(number) is not int or not 0 <= number < len(self.labelling.names):
            raise PromptError(f"There is no picture {quote(repr(number))}. Choose one from the list.")
        said = self._leave(session)
        session.number = number
        return self.show(session, said)

    def propose(self, session: LabelSession, proposing: object) -> Updates:
        """Open pictures with or without proposals."""
        self.labelling.propose(bool(proposing))
        return self.show(session)

    def _shown(self, session: LabelSession) -> LabelledPicture:
        return self.labelling.open(self.labelling.names[session.number])

    def _change(self, session: LabelSession, labels: LabelledPicture) -> Updates:
        self.labelling.change(self.labelling.names[session.number], labels)
        return self._labels(session, labels)

    def _leave(self, session: LabelSession) -> str:
        return self._save(session) if self.labelling.changed(self.labelling.names[session.number]) else ""

    def _save(self, session: LabelSession) -> str:
        name, what = self.labelling.names[session.number], self.labelling.file.category.name
        count = self.labelling.save(name)
        return f"Saved {name}: {counted(count, what, plural(what)) if count else f'no {what}'}."

    def _following(self, session: LabelSession) -> int:
        return (session.number + 1) % len(self.labelling.names)

    def _address(self, number: int) -> str:
        return PICTURE_ADDRESS.format(number)


def _sign(labels: LabelledPicture, name: str) -> str:
    """What the list of keypoints shows before a name: placed, hidden, or not visible."""
    if name not in labels.selected.points:
        return ""
    mark = labels.selected.points[name]
    return "✗ " if mark is None else "✓ " if mark.visible else "◌ "
