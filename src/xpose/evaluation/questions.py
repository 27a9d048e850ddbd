"""What a protocol asks of a picture: plain data, so that it can be made twice alike and handed to other processes.

A `Task` is one picture with all its questions. A `Question` is one list of prompts, and the truth its answer is
compared with. What is asked for stands in an `Asked`, which becomes a prompt of the detector only where it is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from xpose.data.loading.pool import content_of
from xpose.errors import ImageError, VocabularyError, quote
from xpose.pictures.reading import stored_pixels
from xpose.prompts import CombinedPrompt, Prompt, TextPrompt, VisualPrompt
from xpose.records import Category, Instance, Record
from xpose.vocabulary import load_skeleton

ORIENTATION = 274  # the EXIF tag


@dataclass(frozen=True)
class Example:
    """A labelled object that serves as a visual prompt."""

    record: Record
    place: Path
    number: int  # of the object in the record

    @property
    def key(self) -> str:
        """What the tables and run files call it."""
        return f"{key_of(self.record)}#{self.number}"

    @property
    def instance(self) -> Instance:
        """The object."""
        return self.record.instances[self.number]

    def prompt(self, name: str, names: tuple[str, ...]) -> VisualPrompt:
        """The example as a prompt of the detector."""
        instance, picture = self.instance, self.record.picture
        points: dict[str, tuple[float, float, bool]] = {}
        for point in names:
            x, y, v = instance.point(point)
            # Prompts count continuously, as the detector does; a record's point is a pixel index.
            points[point] = (x + 0.5, y + 0.5, True) if v else (0.0, 0.0, False)
        x, y, width, height = instance.box
        corners = (max(x, 0.0), max(y, 0.0), min(x + width, picture.width), min(y + height, picture.height))
        pixels = _example_pixels(self.place, picture.file, (picture.width, picture.height))
        return VisualPrompt(pixels, points, corners, name)


@lru_cache(maxsize=64)
def _example_pixels(place: Path, file: str, size: tuple[int, int]) -> np.ndarray:
    return read_pixels(place, file, size)


@dataclass(frozen=True)
class Asked:
    """One class of a question: how it is called, and under which names its points are wanted.

    Attributes:
        category: the class as the records know it.
        label: what the prompt calls it; None leaves the words away (examples alone).
        names: for each point that is asked for, the prompt's name → the record's name, in the prompt's order.
        examples: objects that show it.
        style: kind of picture, for the text.
    """

    category: Category
    label: str | None
    names: Mapping[str, str]
    examples: tuple[Example, ...] = ()
    style: str | None = None

    @classmethod
    def of(cls, category: Category, kind: str = "text", examples: tuple[Example, ...] = ()) -> Asked:
        """A class under its own names: by "text", "visual" or "combined" prompts."""
        label = None if kind == "visual" else category.name
        names = MappingProxyType({name: name for name in category.keypoints})
        return cls(category, label, names, () if kind == "text" else examples)

    @property
    def called(self) -> str:
        """What answers call it."""
        return self.label or self.category.name

    def prompt(self) -> Prompt:
        """The prompt for a detector."""
        names = tuple(self.names)
        text = None if self.label is None else _text(self.label, self.category.skeleton, names, self.style)
        if not self.examples:
            assert text is not None, "a class without words needs an example"
            return text
        shown = tuple(
            _renamed(one.prompt(self.called, tuple(self.names.values())), self.names) for one in self.examples
        )
        return shown[0] if text is None and len(shown) == 1 else CombinedPrompt(text, shown)


def _renamed(prompt: VisualPrompt, names: Mapping[str, str]) -> VisualPrompt:
    if all(mine == theirs for mine, theirs in names.items()):
        return prompt
    return replace(prompt, keypoints={mine: prompt.points[theirs] for mine, theirs in names.items()})


@lru_cache(maxsize=4096)
def _text(label: str, skeleton: str, names: tuple[str, ...], style: str | None) -> TextPrompt:
    """Words for a class: its points by the skeleton where that knows them all, else as plain words."""
    try:
        known = load_skeleton(skeleton)
    except VocabularyError:
        known = None
    fits = known is not None and all(name in known for name in names)
    return TextPrompt(label, skeleton=known if fits and names else None, keypoints=names, style=style)


@dataclass(frozen=True)
class Question:
    """One list of prompts for a picture, asked in one forward pass.

    Attributes:
        asked: the classes.
        truth: the picture's record with only the objects that the answer is compared with.
        most: at most so many instances are wanted, best first; None for all that the network has.
        group: the row of the table it counts for, usually the set.
        variant: what makes it differ from other questions about the same picture: the kind of prompt, a typo, ...
        matched: only the best so many answers may stand for an object; None for all.
        trim: keep of the answers only the best one and those that fit the labelled boxes best.
    """

    asked: tuple[Asked, ...]
    truth: Record
    most: int | None
    group: str
    variant: str = ""
    matched: int | None = None
    trim: bool = False


@dataclass(frozen=True)
class Task:
    """One picture with all its questions.

    Attributes:
        key: its name in the run, different for every task.
        record: the picture with all that is labelled in it.
        place: where its bytes are.
        questions: what is asked.
        unasked: what could not be asked, and why.
    """

    key: str
    record: Record
    place: Path
    questions: tuple[Question, ...]
    unasked: tuple[str, ...] = ()

    def pixels(self) -> np.ndarray:
        """RGB bytes [h, w, 3] as stored.

        Raises:
            ImageError: the picture is damaged, or not the one that was labelled.
            DataError: it is missing.
        """
        picture = self.record.picture
        return read_pixels(self.place, picture.file, (picture.width, picture.height))


def key_of(record: Record) -> str:
    """A picture's name in a run: `SET/FILE`."""
    return f"{record.source}/{record.picture.file}"


def only(record: Record, category: Category) -> Record:
    """The record with only its objects of one category."""
    return with_instances(record, tuple(one for one in record.instances if one.category == category))


def with_instances(record: Record, instances: tuple[Instance, ...]) -> Record:
    """The record with other objects."""
    values: dict[str, Any] = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    return Record(**{**values, "instances": instances, "dropped": ()})


def read_pixels(place: Path, file: str, size: tuple[int, int]) -> np.ndarray:
    """RGB bytes [h, w, 3] of a stored picture, its EXIF orientation *not* applied: labels belong to the stored pixels.

    Raises:
        ImageError: it is not a picture, damaged, or of another size (width, height) than its labels say.
        DataError: it cannot be read at all.
    """
    content = content_of(place)
    try:
        pixels = stored_pixels(content)
    except Exception as error:  # decoders meet damaged files with errors of every kind
        raise ImageError(
            f"The picture {quote(file)} cannot be read ({str(error)[:120] or type(error).__name__}). It is damaged or "
            "cut short: fetch it again."
        ) from None
    if (pixels.shape[1], pixels.shape[0]) != size:
        raise ImageError(
            f"The picture {quote(file)} is {pixels.shape[1]}x{pixels.shape[0]}, but its labels belong to "
            f"{size[0]}x{size[1]} pixels. It was another file when it was labelled: fetch it again."
        )
    return pixels
