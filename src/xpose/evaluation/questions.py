"""What a protocol asks about a picture: plain data that can be made twice alike and sent to other processes.

A `Task` is one picture with all its questions. A `Question` is one list of classes, and the truth its answer is
compared with. An `AskedClass` becomes a prompt of the detector only where it is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from xpose.data.loading.pool import content_of
from xpose.errors import ImageError, VocabularyError, first_line, quote
from xpose.pictures.reading import stored_pixels
from xpose.prompts import CombinedPrompt, Prompt, TextPrompt, VisualPrompt
from xpose.records import Category, Instance, Record
from xpose.vocabulary import load_skeleton


@dataclass(frozen=True)
class LabelledExample:
    """A labelled object that serves as a visual prompt."""

    record: Record
    place: Path
    number: int  # of the object in the record

    @property
    def key(self) -> str:
        """Its name in tables and run files."""
        return f"{key_of(self.record)}#{self.number}"

    @property
    def instance(self) -> Instance:
        """The object."""
        return self.record.instances[self.number]

    def prompt(self, name: str, names: Mapping[str, str]) -> VisualPrompt:
        """The example as a prompt of the detector; `names` maps the prompt's keypoint names to the record's."""
        instance, picture = self.instance, self.record.picture
        points: dict[str, tuple[float, float, bool]] = {}
        for prompted, labelled in names.items():
            x, y, v = instance.point(labelled)
            # Prompts use continuous coordinates, as the detector does; a record's point is a pixel index.
            points[prompted] = (x + 0.5, y + 0.5, True) if v else (0.0, 0.0, False)
        x, y, width, height = instance.box
        corners = (max(x, 0.0), max(y, 0.0), min(x + width, picture.width), min(y + height, picture.height))
        pixels = _example_pixels(self.place, picture.file, (picture.width, picture.height))
        return VisualPrompt(pixels, points, corners, name)


@lru_cache(maxsize=64)
def _example_pixels(place: Path, file: str, size: tuple[int, int]) -> np.ndarray:
    return read_pixels(place, file, size)


@dataclass(frozen=True)
class AskedClass:
    """One class of a question: its name and the names of its keypoints in the prompt."""

    category: Category  # as the records know it
    label: str | None  # its name in the prompt; None for examples alone
    names: Mapping[str, str]  # the prompt's keypoint names → the record's, in the prompt's order
    examples: tuple[LabelledExample, ...] = ()

    @classmethod
    def of(cls, category: Category, kind: str = "text", examples: tuple[LabelledExample, ...] = ()) -> AskedClass:
        """A class under its own names: by "text", "visual" or "combined" prompts."""
        label = None if kind == "visual" else category.name
        names = {name: name for name in category.keypoints}
        return cls(category, label, names, () if kind == "text" else examples)

    @property
    def called(self) -> str:
        """Its name in answers."""
        return self.label or self.category.name

    def prompt(self) -> Prompt:
        """The prompt for a detector."""
        names = tuple(self.names)
        text = None if self.label is None else _text(self.label, self.category.skeleton, names)
        if not self.examples:
            assert text is not None, "a class without words needs an example"
            return text
        shown = tuple(example.prompt(self.called, self.names) for example in self.examples)
        return shown[0] if text is None and len(shown) == 1 else CombinedPrompt(text, shown)


@lru_cache(maxsize=4096)
def _text(label: str, skeleton_name: str, names: tuple[str, ...]) -> TextPrompt:
    """Words for a class: its points by the skeleton if that has all of them, else as plain words."""
    try:
        skeleton = load_skeleton(skeleton_name)
    except VocabularyError:
        return TextPrompt(label, keypoints=names)
    fits = bool(names) and all(name in skeleton for name in names)
    return TextPrompt(label, skeleton=skeleton if fits else None, keypoints=names)


@dataclass(frozen=True)
class Question:
    """One list of classes for a picture, asked in one forward pass."""

    asked: tuple[AskedClass, ...]
    truth: Record  # with only the objects that the answer is compared with
    most: int | None  # the largest number of answers, best first; None for all that the network has
    group: str  # the row of the table that it counts for, usually the set
    variant: str = ""  # the difference to other questions about the same picture: kind of prompt, wording, ...
    matched: int | None = None  # only so many of the best answers can be assigned to objects; None for all
    trim: bool = False  # keep only the best answer and those that fit the labelled boxes best


@dataclass(frozen=True)
class Task:
    """One picture with all its questions."""

    key: str  # its unique name in the run
    record: Record
    place: Path  # of the picture file
    questions: tuple[Question, ...]
    unasked: tuple[str, ...] = ()  # what could not be asked, and why

    def pixels(self) -> np.ndarray:
        """RGB bytes [h, w, 3] as stored; errors as in `read_pixels`."""
        picture = self.record.picture
        return read_pixels(self.place, picture.file, (picture.width, picture.height))


def key_of(record: Record) -> str:
    """A picture's name in a run: `SET/FILE`."""
    return f"{record.source}/{record.picture.file}"


def only(record: Record, category: Category) -> Record:
    """The record with only its objects of one category."""
    return replace(record, instances=tuple(one for one in record.instances if one.category == category))


def read_pixels(place: Path, file: str, size: tuple[int, int]) -> np.ndarray:
    """RGB bytes [h, w, 3] of a picture; its EXIF orientation is *not* applied, since labels belong to stored pixels.

    Raises:
        ImageError: it is not a picture, damaged, or of another size (width, height) than its labels say.
        DataError: it cannot be read at all.
    """
    content = content_of(place)
    try:
        pixels = stored_pixels(content)
    except Exception as error:  # decoders raise errors of every kind for damaged files
        raise ImageError(
            f"The picture {quote(file)} cannot be read ({first_line(error)}). It is damaged: fetch it again."
        ) from None
    if (pixels.shape[1], pixels.shape[0]) != size:
        raise ImageError(
            f"The picture {quote(file)} is {pixels.shape[1]}x{pixels.shape[0]}, but its labels are for a picture of "
            f"{size[0]}x{size[1]} pixels. Fetch the labelled file."
        )
    return pixels
