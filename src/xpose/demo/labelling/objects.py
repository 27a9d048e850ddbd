"""The labels of one picture, and what clicks and keys change in them.

A `LabelledPicture` is immutable: each method returns a new one, so undo needs only a list. Coordinates come from a
browser and are checked like any other untrusted input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from xpose.demo.examples import Box
from xpose.errors import PromptError, quote
from xpose.prompts.prompt_class import box_around


@dataclass(frozen=True)
class Mark:
    """The place of a keypoint, in pixels of the upright picture."""

    x: float
    y: float
    visible: bool = True  # False: hidden behind something, and placed by judgement


@dataclass(frozen=True)
class LabelledObject:
    """The labels of one object: a mark for each placed keypoint, and None for each one that is not visible."""

    points: Mapping[str, Mark | None] = field(default_factory=dict)
    box: Box | None = None  # of the network or of a file; by default it is derived from the marks
    proposed: bool = False  # by the network or a file; a person has neither corrected nor accepted it

    @property
    def marks(self) -> dict[str, Mark]:
        """The placed keypoints."""
        return {name: mark for name, mark in self.points.items() if mark is not None}

    def scaled(self, across: float, down: float) -> LabelledObject:
        """The object in a picture that is this many times as wide and high."""
        points = {
            name: None if mark is None else Mark(mark.x * across, mark.y * down, mark.visible)
            for name, mark in self.points.items()
        }
        x1, y1, x2, y2 = self.box or (0.0, 0.0, 0.0, 0.0)
        box = None if self.box is None else (x1 * across, y1 * down, x2 * across, y2 * down)
        return replace(self, points=points, box=box)

    def within(self, width: int, height: int) -> LabelledObject:
        """The object without keypoints outside a picture of this size."""
        inside = {
            name: mark
            for name, mark in self.points.items()
            if mark is None or (0 <= mark.x <= width and 0 <= mark.y <= height)
        }
        return replace(self, points=inside)

    def bounds(self, width: int, height: int) -> Box:
        """The box within a picture of this size: the given one, extended to all marks, or one around them."""
        xs, ys = [mark.x for mark in self.marks.values()], [mark.y for mark in self.marks.values()]
        if self.box is None:
            return box_around(list(zip(xs, ys, strict=True)), width, height)
        x1, y1, x2, y2 = self.box
        x1, y1, x2, y2 = min([x1, *xs]), min([y1, *ys]), max([x2, *xs]), max([y2, *ys])
        return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


@dataclass(frozen=True)
class LabelledPicture:
    """All objects of one picture, and what the next click does."""

    names: tuple[str, ...]  # the keypoints of the category
    width: int
    height: int
    objects: tuple[LabelledObject, ...] = ()
    at: int = 0  # the index of the selected object
    current: str | None = None  # the keypoint that the next click places or moves
    hiding: bool = False  # whether the next click places a hidden keypoint

    @property
    def selected(self) -> LabelledObject:
        """The selected object; an empty one if there is none yet."""
        return self.objects[self.at] if self.at < len(self.objects) else LabelledObject()

    @property
    def begun(self) -> tuple[LabelledObject, ...]:
        """The objects, without new ones of which no keypoint is decided."""
        return tuple(labelled for labelled in self.objects if labelled.points)

    @property
    def labels(self) -> tuple[LabelledObject, ...]:
        """The objects as accepted labels, without those that have no keypoint."""
        return tuple(replace(labelled, proposed=False) for labelled in self.objects if labelled.marks)

    def click(self, x: object, y: object) -> LabelledPicture:
        """Place or move the current keypoint."""
        if self.current is None:
            raise PromptError("All keypoints of this object are placed. Select one to move it, or add an object.")
        before = self.selected.points.get(self.current)
        visible = before.visible if before is not None else not self.hiding
        return self._with_point(self.current, self._mark(x, y, visible)).go(self.at)

    def drag(self, number: object, name: object, x: object, y: object) -> LabelledPicture:
        """Move a placed keypoint of any object."""
        picked = self.select(number, name)
        return picked._with_point(str(name), self._mark(x, y, picked.selected.marks[str(name)].visible)).go(picked.at)

    def select(self, number: object, name: object) -> LabelledPicture:
        """Select a placed keypoint of any object; the next click moves it."""
        picked = self.go(number)
        if name not in picked.selected.marks:
            raise PromptError(f"The keypoint {quote(name)} is not placed in this object. Reload the page.")
        return replace(picked, current=str(name))

    def choose(self, name: object) -> LabelledPicture:
        """Select a keypoint of the current object by name; the next click places or moves it."""
        if name not in self.names:
            raise PromptError(f"There is no keypoint {quote(name)}. Choose one from the list, or reload the page.")
        return replace(self, current=str(name), hiding=False)

    def deselect(self) -> LabelledPicture:
        """Return to the next keypoint that is neither placed nor marked as not visible."""
        return self.go(self.at)

    def toggle_hidden(self) -> LabelledPicture:
        """Switch the current keypoint between visible and hidden; one without a place is placed by the next click."""
        name = self._chosen()
        mark = self.selected.points.get(name)
        if mark is None:
            return replace(self, hiding=not self.hiding)
        return self._with_point(name, replace(mark, visible=not mark.visible))

    def toggle_absent(self) -> LabelledPicture:
        """Mark the current keypoint as not visible, or undo that."""
        name, points = self._chosen(), self.selected.points
        if name in points and points[name] is None:
            return self._with_points({other: mark for other, mark in points.items() if other != name})
        return self._with_point(name, None).go(self.at)

    def add_object(self) -> LabelledPicture:
        """Start another object; the next click places its first keypoint."""
        empty = [number for number, labelled in enumerate(self.objects) if not labelled.points]
        if empty:
            return self.go(empty[0])
        return replace(self, objects=(*self.objects, LabelledObject())).go(len(self.objects))

    def remove_object(self) -> LabelledPicture:
        """Remove the selected object."""
        objects = (*self.objects[: self.at], *self.objects[self.at + 1 :])
        return replace(self, objects=objects).go(max(0, min(self.at, len(objects) - 1)))

    def go(self, number: object) -> LabelledPicture:
        """Select an object, and its next keypoint that is neither placed nor marked as not visible."""
        if type(number) is not int or not 0 <= number < max(1, len(self.objects)):
            raise PromptError(f"There is no object {quote(repr(number))}. Reload the page.")
        moved = replace(self, at=number, hiding=False)
        return replace(moved, current=next((name for name in self.names if name not in moved.selected.points), None))

    def _mark(self, x: object, y: object, visible: bool) -> Mark:
        if not (isinstance(x, int | float) and isinstance(y, int | float) and math.isfinite(x) and math.isfinite(y)):
            raise PromptError("The click has no coordinates. Click again, or reload the page.")
        return Mark(round(min(max(x, 0.0), self.width), 2), round(min(max(y, 0.0), self.height), 2), visible)

    def _with_point(self, name: str, mark: Mark | None) -> LabelledPicture:
        return self._with_points({**self.selected.points, name: mark})

    def _with_points(self, points: Mapping[str, Mark | None]) -> LabelledPicture:
        changed = replace(self.selected, points=points, proposed=False)
        return replace(self, objects=(*self.objects[: self.at], changed, *self.objects[self.at + 1 :]))

    def _chosen(self) -> str:
        if self.current is None:
            raise PromptError("No keypoint is selected. Select one from the list, or click on it in the picture.")
        return self.current
