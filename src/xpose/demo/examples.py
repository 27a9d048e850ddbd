"""Turns clicks on example pictures into a visual prompt: named points, hidden points, boxes.

An `ExampleSet` is immutable: each method returns a new one, so undo needs only a list of sets. Clicks come
from a browser and are checked like any other untrusted input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from PIL import Image, ImageDraw

from xpose.demo.pictures import UploadedPicture
from xpose.drawing.figures import SIDES, picture_radius
from xpose.errors import PromptError, quote
from xpose.prompts import MOST_SHOTS, CombinedPrompt, TextPrompt, VisualPrompt
from xpose.vocabulary import side_of

MOST_NAMES = 300
_LONGEST_NAME = 100
_WHITE, _HIGHLIGHT = (255, 255, 255), (255, 212, 0)

Spot = tuple[float, float]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True)
class ClickedExample:
    """One example picture, its clicked points by name (None for a hidden one), and its box if there is one."""

    picture: UploadedPicture
    width: int
    height: int
    points: Mapping[str, Spot | None] = field(default_factory=dict)
    box: Box | None = None

    @classmethod
    def of(cls, picture: UploadedPicture, points: Mapping[str, Spot] | None = None) -> ClickedExample:
        """A picture as an example with these points."""
        height, width = picture.pixels.shape[:2]
        return cls(picture, width, height, points or {})

    @property
    def usable(self) -> bool:
        """Whether the example shows where the object is."""
        return self.box is not None or any(self.points.values())

    def draw(self, current: str | None, corner: Spot | None) -> Image.Image:
        """The picture with its points and its box; the current point and the first corner of a box are highlighted."""
        image = self.picture.shown.copy()
        scale, radius, pen = image.width / self.width, picture_radius(*image.size), ImageDraw.Draw(image)
        width = max(2, round(radius / 3))
        if self.box is not None:
            pen.rectangle([side * scale for side in self.box], outline=_HIGHLIGHT, width=width)
        for name, place in (*self.points.items(), ("", corner)):
            if place is not None:
                outline = _HIGHLIGHT if name in (current, "") else _WHITE
                spot = (place[0] * scale, place[1] * scale)
                fill = SIDES[side_of(name)] if name else None
                pen.circle(spot, 1.4 * radius, fill=fill, outline=outline, width=width)
        return image


@dataclass(frozen=True)
class ExampleSet:
    """All examples of one class, and what the next click does."""

    names: tuple[str, ...] = ()  # the keypoints of the class, in order
    shots: tuple[ClickedExample, ...] = ()
    at: int = 0  # the index of the selected example
    current: str | None = None  # the selected point, which the next click places if it has no place yet
    tool: Literal["place", "move", "box"] = "place"  # place the next point, move the current one, or set a corner
    corner: Spot | None = None  # the first corner of a box

    @property
    def shot(self) -> ClickedExample:
        """The selected example."""
        if not self.shots:
            raise PromptError("There is no example picture yet. Upload one, then click on the points of its object.")
        return self.shots[self.at]

    def click(self, x: float, y: float) -> ExampleSet:
        """Handle a click on a pixel: set a corner of the box, select a point, or place one."""
        if not (math.isfinite(x) and math.isfinite(y)):
            raise PromptError("The click has no coordinates. Click again, or reload the page.")
        spot = (round(min(max(x, 0.0), self.shot.width), 2), round(min(max(y, 0.0), self.shot.height), 2))
        if self.tool == "box":
            return self._corner(spot)
        near = 1.4 * picture_radius(self.shot.width, self.shot.height)
        hit = next((name for name, at in self.shot.points.items() if at and math.dist(spot, at) <= near), None)
        if hit is not None and self.tool == "place":
            return self.choose(hit)
        name, names = self.current, self.names
        if name is None or (self.tool == "place" and name in self.shot.points):
            name = self._next_name()
        if name is None:
            name = next(free for n in range(1, MOST_NAMES + 2) if (free := f"point {n}") not in names)
            names = checked_names((*names, name))
        placed = replace(self, names=names, tool="place")._with_points({**self.shot.points, name: spot})
        return replace(placed, current=placed._next_name() or name)

    def _corner(self, spot: Spot) -> ExampleSet:
        if self.corner is None:
            return replace(self, corner=spot)
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(self.corner, spot, strict=True))
        if right - left < 1 or bottom - top < 1:
            raise PromptError("The box has no area. Click on the opposite corner of the object.")
        return replace(self._with_shot(replace(self.shot, box=(left, top, right, bottom))), tool="place", corner=None)

    def choose(self, name: object) -> ExampleSet:
        """Select a point; the next click places or moves it."""
        if name not in self.names:
            raise PromptError(f"There is no point {quote(name)}. Choose one from the list, or reload the page.")
        return replace(self, current=str(name), tool="move" if name in self.shot.points else "place", corner=None)

    def toggle_hidden(self) -> ExampleSet:
        """Mark the selected point as hidden in this example, or undo that."""
        name = self._chosen()
        if name in self.shot.points and self.shot.points[name] is None:
            return self.remove_point()
        return self._with_points({**self.shot.points, name: None})

    def remove_point(self) -> ExampleSet:
        """Remove the selected point from this example; keep its name."""
        chosen = self._chosen()
        points = {name: place for name, place in self.shot.points.items() if name != chosen}
        return replace(self._with_points(points), tool="place")

    def rename(self, name: object) -> ExampleSet:
        """Rename the selected point in all examples."""
        old, (new,) = self._chosen(), checked_names([name])
        names = checked_names(new if name == old else name for name in self.names)
        shots = tuple(
            replace(shot, points={new if name == old else name: place for name, place in shot.points.items()})
            for shot in self.shots
        )
        return replace(self, names=names, shots=shots, current=new)

    def draw_box(self) -> ExampleSet:
        """Draw a box with the next two clicks, cancel that, or remove the box."""
        if self.shot.box is not None:
            return self._with_shot(replace(self.shot, box=None))
        return replace(self, tool="place" if self.tool == "box" else "box", corner=None)

    def clear(self) -> ExampleSet:
        """Remove all points and the box from this example."""
        return self._with_shot(replace(self.shot, points={}, box=None)).go(self.at)

    def add(self, example: ClickedExample) -> ExampleSet:
        """Add an example and select it."""
        if len(self.shots) >= MOST_SHOTS:
            raise PromptError(f"At most {MOST_SHOTS} example pictures are used for one object. Remove one first.")
        return replace(self, shots=(*self.shots, example)).go(len(self.shots))

    def load(self, points: Mapping[str, Spot | None], box: Box | None) -> ExampleSet:
        """Replace the points and the box of the selected example; keypoints that are new are added to the class."""
        names = checked_names((*self.names, *(name for name in points if name not in self.names)))
        return replace(self._with_shot(replace(self.shot, points=points, box=box)), names=names).go(self.at)

    def drop(self) -> ExampleSet:
        """Remove the selected example."""
        shots = (*self.shots[: self.at], *self.shots[self.at + 1 :])
        return replace(self, shots=shots).go(max(0, min(self.at, len(shots) - 1)))

    def go(self, at: object) -> ExampleSet:
        """Select another example."""
        if not isinstance(at, int) or not 0 <= at < max(1, len(self.shots)):
            raise PromptError(f"There is no example {quote(repr(at))}. Reload the page.")
        moved = replace(self, at=at, tool="place", corner=None)
        return replace(moved, current=moved._next_name() if self.shots else None)

    def with_names(self, names: Iterable[object]) -> ExampleSet:
        """Change the keypoints of the class; points with other names are removed."""
        checked = checked_names(names)
        shots = tuple(
            replace(shot, points={name: place for name, place in shot.points.items() if name in checked})
            for shot in self.shots
        )
        return replace(self, names=checked, shots=shots).go(self.at)

    def prompt(self, label: str | None, text: TextPrompt | None = None) -> VisualPrompt | CombinedPrompt:
        """One class from all usable examples, called `label` or combined with `text`."""
        prompts = []
        for shot in self.shots:
            places = {name: shot.points[name] for name in self.names if name in shot.points}
            points = {name: (*(place or (0.0, 0.0)), place is not None) for name, place in places.items()}
            if shot.usable:
                prompts.append(VisualPrompt(shot.picture.pixels, points, shot.box, label))
        if not prompts:
            raise PromptError("No example shows the object yet. Upload an example picture and click on its points.")
        if text is None and len(prompts) == 1:
            return prompts[0]
        return CombinedPrompt.of(*([] if text is None else [text]), *prompts)

    def _next_name(self) -> str | None:
        return next((name for name in self.names if name not in self.shot.points), None)

    def _with_shot(self, shot: ClickedExample) -> ExampleSet:
        return replace(self, shots=(*self.shots[: self.at], shot, *self.shots[self.at + 1 :]))

    def _with_points(self, points: Mapping[str, Spot | None]) -> ExampleSet:
        return self._with_shot(replace(self.shot, points=points))

    def _chosen(self) -> str:
        if self.current is None:
            raise PromptError("No point is selected. Select one from the list, or click on it in the picture.")
        return self.current


def checked_names(names: Iterable[object]) -> tuple[str, ...]:
    """The names with normalised spaces; a `PromptError` if one is empty, too long or repeated."""
    checked = tuple(" ".join(name.split()) if isinstance(name, str) else "" for name in names)
    for name in checked:
        if not name:
            raise PromptError("The name of a point is empty. Type one, such as left eye.")
        if len(name) > _LONGEST_NAME:
            raise PromptError(f"The name {quote(name)} is longer than {_LONGEST_NAME} characters. Shorten it.")
        if checked.count(name) > 1:
            raise PromptError(f"The point {quote(name)} is named more than once. Rename one of them.")
    if len(checked) > MOST_NAMES:
        raise PromptError(f"There are {len(checked)} points. At most {MOST_NAMES} fit one object. Leave a few out.")
    return checked
