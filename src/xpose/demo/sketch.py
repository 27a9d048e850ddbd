"""Clicks on example pictures become a visual prompt: points by name, hidden points, boxes, and a way back.

A `Board` never changes; a `Sketch` holds the boards so far, so that undoing is taking one off. What comes from a
browser is checked here like any other untrusted input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xpose.errors import PromptError, quote
from xpose.prompts import MOST_SHOTS, CombinedPrompt, TextPrompt, VisualPrompt

MOST_NAMES = 300
_MOST_UNDO = 200
_LONGEST_NAME = 100

Tool = Literal["point", "box"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A point that was clicked; `hidden` says that it cannot be seen, and then it needs no place."""

    x: float | None
    y: float | None
    hidden: bool = False


@dataclass(frozen=True)
class Shot:
    """One example: its picture, and what was clicked on it."""

    picture: str  # id of the upload
    width: int
    height: int
    marks: Mapping[str, Mark] = field(default_factory=dict)
    box: Box | None = None

    @property
    def says_something(self) -> bool:
        """Whether it shows where the object is: a box or a point that can be seen."""
        return self.box is not None or any(not mark.hidden for mark in self.marks.values())


@dataclass(frozen=True)
class Board:
    """All examples, the names of their points, and what the next click does.

    Attributes:
        names: the points that the class has, in order.
        shots: the examples.
        at: which example is worked on.
        current: the name that the next click places, or the point that was chosen; None makes a new point.
        tool: whether dragging draws a box.
    """

    names: tuple[str, ...] = ()
    shots: tuple[Shot, ...] = ()
    at: int = 0
    current: str | None = None
    tool: Tool = "point"

    @property
    def shot(self) -> Shot:
        """The example that is worked on.

        Raises:
            PromptError: there is none yet.
        """
        if not self.shots:
            raise PromptError("There is no example picture yet. Points go onto one. Choose an example picture first.")
        return self.shots[self.at]

    def with_shot(self, shot: Shot) -> Board:
        """The board with this one in place of the example that is worked on."""
        return replace(self, shots=(*self.shots[: self.at], shot, *self.shots[self.at + 1 :]))

    def next_name(self, after: str | None) -> str | None:
        """The first name behind `after` that the example lacks, else the first at all, else None."""
        start = self.names.index(after) + 1 if after in self.names else 0
        order = self.names[start:] + self.names[:start]
        return next((name for name in order if name not in self.shot.marks), None)


class Sketch:
    """A board, and the ones before it."""

    def __init__(self) -> None:
        self.board = Board()
        self._before: list[Board] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a board to go back to."""
        return bool(self._before)

    def act(self, action: Mapping[str, Any]) -> None:
        """Do what the page asks for; `kind` says what, the rest depends on it.

        Raises:
            PromptError: there is no such action, or something in it cannot be.
        """
        kind = action.get("kind")
        if kind == "undo":
            if self._before:
                self.board = self._before.pop()
            return
        step = _STEPS.get(kind) if isinstance(kind, str) else None
        if step is None:
            raise PromptError(f"The page asked for {quote(repr(kind))}, which does not exist. Reload the page.")
        self._set(step(self.board, action), remember=kind not in _NOT_UNDONE)

    def name_points(self, names: Iterable[str]) -> None:
        """Set the names that clicks place next. Points whose names are not among them go away.

        Raises:
            PromptError: a name is empty, too long or there twice, or there are too many.
        """
        checked = checked_names(names)
        shots = tuple(
            replace(shot, marks={name: mark for name, mark in shot.marks.items() if name in checked})
            for shot in self.board.shots
        )
        board = replace(self.board, names=checked, shots=shots, current=None, tool="point")
        self._set(replace(board, current=board.next_name(None)) if shots else board)

    def add(self, picture: str, width: int, height: int, shown: Shot | None = None) -> None:
        """Add an example picture and go to it; `shown` brings its points along.

        Raises:
            PromptError: there are as many as are used.
        """
        if len(self.board.shots) >= MOST_SHOTS:
            raise PromptError(
                f"There are {MOST_SHOTS} example pictures already. At most {MOST_SHOTS} are used for one class. "
                "Remove one first."
            )
        shot = shown or Shot(picture, width, height)
        board = replace(self.board, shots=(*self.board.shots, shot), at=len(self.board.shots), tool="point")
        self._set(replace(board, current=board.next_name(None)))

    def examples(self, pixels_of: Callable[[str], Any], label: str | None) -> list[VisualPrompt]:
        """A prompt for each example on which something was clicked.

        Args:
            pixels_of: the picture for an id.
            label: what results call the class; None leaves it open.

        Raises:
            PromptError: nothing was clicked.
        """
        shots = [shot for shot in self.board.shots if shot.says_something]
        if not shots:
            raise PromptError(
                "No example shows where the object is. A prompt needs at least one visible point or a box. "
                "Choose an example picture and click on its points."
            )
        return [VisualPrompt(pixels_of(shot.picture), _points(self.board, shot), shot.box, label) for shot in shots]

    def prompt(
        self, pixels_of: Callable[[str], Any], label: str | None, text: TextPrompt | None = None
    ) -> VisualPrompt | CombinedPrompt:
        """One class: all examples together, with `text` if there is one."""
        shots = self.examples(pixels_of, label)
        if text is None and len(shots) == 1:
            return shots[0]
        return CombinedPrompt.of(*([] if text is None else [text]), *shots)

    def _set(self, board: Board, remember: bool = True) -> None:
        if board == self.board:
            return
        if remember:
            self._before = [*self._before[-_MOST_UNDO + 1 :], self.board]
        self.board = board


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names of points, without blanks around them.

    Raises:
        PromptError: one is empty, too long or there twice, or there are too many.
    """
    checked = tuple(_name(name) for name in names)
    if len(checked) > MOST_NAMES:
        raise PromptError(f"There are {len(checked)} names. At most {MOST_NAMES} points fit one class. Leave some out.")
    twice = next((name for name in checked if checked.count(name) > 1), None)
    if twice is not None:
        raise PromptError(f"The point {quote(twice)} is named more than once. Each name may appear once. Rename one.")
    return checked


def _points(board: Board, shot: Shot) -> dict[str, tuple[float, float, bool]]:
    """Name → x, y, visible, in the order of the names; a point that was not clicked is left out."""
    placed = {name: shot.marks[name] for name in board.names if name in shot.marks}
    return {
        name: (0.0, 0.0, False) if mark.hidden or mark.x is None or mark.y is None else (mark.x, mark.y, True)
        for name, mark in placed.items()
    }


def _place(board: Board, action: Mapping[str, Any]) -> Board:
    """A click: places the current name, or moves on to the next one that has no place yet."""
    shot = board.shot
    x, y = _spot(action, shot)
    name = board.current if board.current is not None else board.next_name(None)
    if name is not None and name in shot.marks and shot.marks[name].x is not None:
        name = board.next_name(name)  # a chosen point is moved by dragging it, never by a stray click
    if name is None:
        name = _free_name(board.names)
        checked_names((*board.names, name))
        board = replace(board, names=(*board.names, name))
    old = shot.marks.get(name)
    mark = Mark(x, y, hidden=old.hidden if old is not None else False)
    board = board.with_shot(replace(shot, marks={**shot.marks, name: mark}))
    following = board.next_name(name)
    return replace(board, current=name if following is None else following)


def _move(board: Board, action: Mapping[str, Any]) -> Board:
    shot, name = board.shot, _known(board, action)
    x, y = _spot(action, shot)
    old = shot.marks.get(name, Mark(None, None))
    return replace(board.with_shot(replace(shot, marks={**shot.marks, name: replace(old, x=x, y=y)})), current=name)


def _choose(board: Board, action: Mapping[str, Any]) -> Board:
    return replace(board, current=_known(board, action), tool="point")


def _hide(board: Board, action: Mapping[str, Any]) -> Board:
    """Mark the current point as hidden, or as visible again."""
    shot, name = board.shot, _current(board)
    old = shot.marks.get(name, Mark(None, None))
    marks = dict(shot.marks)
    if old.hidden and old.x is None:
        del marks[name]
    else:
        marks[name] = replace(old, hidden=not old.hidden)
    return board.with_shot(replace(shot, marks=marks))


def _remove(board: Board, action: Mapping[str, Any]) -> Board:
    """Take the current point off this example; its name stays."""
    shot, name = board.shot, _current(board)
    return board.with_shot(replace(shot, marks={own: mark for own, mark in shot.marks.items() if own != name}))


def _rename(board: Board, action: Mapping[str, Any]) -> Board:
    """Give the current point another name, in all examples."""
    old, new = _current(board), _name(action.get("name"))
    if new == old:
        return board
    names = checked_names(new if name == old else name for name in board.names)
    shots = tuple(
        replace(shot, marks={new if name == old else name: mark for name, mark in shot.marks.items()})
        for shot in board.shots
    )
    return replace(board, names=names, shots=shots, current=new)


def _box(board: Board, action: Mapping[str, Any]) -> Board:
    shot = board.shot
    xs = sorted(_number(action, key, shot.width) for key in ("x1", "x2"))
    ys = sorted(_number(action, key, shot.height) for key in ("y1", "y2"))
    if xs[1] - xs[0] < 1 or ys[1] - ys[0] < 1:
        raise PromptError("The box has no area. It must span at least one pixel each way. Drag from corner to corner.")
    return replace(board.with_shot(replace(shot, box=(xs[0], ys[0], xs[1], ys[1]))), tool="point")


def _unbox(board: Board, action: Mapping[str, Any]) -> Board:
    return board.with_shot(replace(board.shot, box=None))


def _tool(board: Board, action: Mapping[str, Any]) -> Board:
    return replace(board, tool="box" if action.get("tool") == "box" else "point")


def _go(board: Board, action: Mapping[str, Any]) -> Board:
    at = action.get("at")
    if not isinstance(at, int) or not 0 <= at < len(board.shots):
        raise PromptError(f"There is no example {quote(repr(at))}. Reload the page.")
    board = replace(board, at=at, tool="point")
    return replace(board, current=board.next_name(None))


def _drop(board: Board, action: Mapping[str, Any]) -> Board:
    """Remove the example that is worked on."""
    _ = board.shot
    shots = (*board.shots[: board.at], *board.shots[board.at + 1 :])
    board = replace(board, shots=shots, at=max(0, min(board.at, len(shots) - 1)), current=None, tool="point")
    return replace(board, current=board.next_name(None)) if shots else board


def _clear(board: Board, action: Mapping[str, Any]) -> Board:
    """Take all points and the box off the example that is worked on."""
    board = board.with_shot(replace(board.shot, marks={}, box=None))
    return replace(board, current=board.next_name(None), tool="point")


_STEPS: dict[str, Callable[[Board, Mapping[str, Any]], Board]] = {
    "place": _place,
    "move": _move,
    "choose": _choose,
    "hide": _hide,
    "remove": _remove,
    "rename": _rename,
    "box": _box,
    "unbox": _unbox,
    "tool": _tool,
    "go": _go,
    "drop": _drop,
    "clear": _clear,
}
_NOT_UNDONE = {"choose", "tool", "go"}  # they change nothing that a prompt is made of


def _spot(action: Mapping[str, Any], shot: Shot) -> tuple[float, float]:
    return _number(action, "x", shot.width), _number(action, "y", shot.height)


def _number(action: Mapping[str, Any], key: str, most: int) -> float:
    """A coordinate; a drag may end a little outside the picture, and then its edge is meant."""
    value = action.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise PromptError(f"{key} is {quote(repr(value))}. It must be a number of pixels. Click on the picture again.")
    return round(min(max(float(value), 0.0), float(most)), 2)


def _name(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text:
        raise PromptError("A point has an empty name. It needs at least one letter. Type one, e.g. left eye.")
    if len(text) > _LONGEST_NAME:
        raise PromptError(f"The name {quote(text)} is too long. It may have {_LONGEST_NAME} letters. Shorten it.")
    return text


def _known(board: Board, action: Mapping[str, Any]) -> str:
    name = action.get("name")
    if name not in board.names:
        raise PromptError(f"There is no point {quote(name)} here. Choose one of the list, or reload the page.")
    return str(name)


def _current(board: Board) -> str:
    if board.current is None:
        raise PromptError("No point is chosen. Choose one by its name below the picture, or click on it.")
    return board.current


def _free_name(names: tuple[str, ...]) -> str:
    number = len(names) + 1
    while f"point {number}" in names:
        number += 1
    return f"point {number}"
