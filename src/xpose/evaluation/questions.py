"""What a protocol asks about a picture: plain, reproducible data that can be sent to other processes.

A `Task` is one picture with all its questions. A `Question` is one list of classes, and the truth to compare its answer
with. An `AskedClass` becomes a detector prompt only when it is answered. `Settings` are the options of one run; all are
stored in its file and printed above its tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from xpose.data.loading.pool import content_of
from xpose.errors import ConfigError, ImageError, VocabularyError, did_you_mean, first_line, quote
from xpose.evaluation.data import EvaluationData, Placed
from xpose.pictures.reading import stored_pixels
from xpose.prompts import MOST_SHOTS, CombinedPrompt, Prompt, TextPrompt, VisualPrompt
from xpose.records import VISIBLE, Category, Instance, Record
from xpose.vocabulary import load_skeleton

PromptKind = Literal["text", "visual", "combined"]
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)
LEAST_SIDE = 64.0  # longer side of an example's box, in pixels
_SMALLER = (1.0, 0.5, 0.25, 0.0)  # shares of it to try


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a protocol is run; a ConfigError names all values that are out of range."""

    prompts: PromptKind = "text"  # "visual" takes examples from the training split
    shots: int = 1  # examples per class
    seed: int = 0  # for drawing examples and absent classes
    flip: bool = False  # also process the mirrored picture, and average both
    limit: int | None = None  # maximum pictures per set
    # Answers must have a higher score; "weights" uses the class thresholds and rivals stored with the weights.
    threshold: float | Literal["weights"] = 0.0
    side: int | None = None  # the longer side of the network's input in pixels; None for the weights' own
    absent: tuple[str, ...] = ()  # classes that the pictures do not show, for `negatives`; empty to draw them
    index_pixels: bool = False  # the weights use pixel indices, as the released checkpoint does
    rivals: bool = False  # use the weights' rivals even if `threshold` is a number

    def __post_init__(self) -> None:
        rules = {
            "prompts": (self.prompts in KINDS, f"one of {', '.join(KINDS)}"),
            "shots": (1 <= self.shots <= MOST_SHOTS, f"a whole number from 1 to {MOST_SHOTS}"),
            "limit": (self.limit is None or self.limit >= 1, "a whole number of at least 1"),
            "threshold": (0 <= self.least_score(0.0) <= 1, "a number from 0 to 1"),
            "side": (self.side is None or self.side >= 32, "a whole number of at least 32"),
        }
        broken = {name: rule for name, (holds, rule) in rules.items() if not holds}
        faults = [f"{name} is {getattr(self, name)}; it must be {rule}" for name, rule in broken.items()]
        if faults:
            near = "" if self.prompts in KINDS else did_you_mean(self.prompts, KINDS)
            raise ConfigError(f"The evaluation cannot be run: {'; '.join(faults)}.{near} Correct these settings.")

    @property
    def stored_thresholds(self) -> bool:
        """Whether the thresholds that are stored with the weights apply."""
        return self.threshold == "weights"

    def least_score(self, stored: float) -> float:
        """The threshold, or `stored` for "weights"."""
        return stored if self.threshold == "weights" else self.threshold

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, in the form that is compared with runs on disk."""
        values = {**dataclasses.asdict(self), "nms": "weights"}
        return values if self.rivals else {name: value for name, value in values.items() if name != "rivals"}

    def describe(self) -> dict[str, str]:
        """The settings in words, for the head of a table."""
        threshold = "those of the weights, by class"
        if not self.stored_thresholds:
            threshold = f"{self.threshold:g}" + (", beside the rivals of the weights" if self.rivals else "")
        examples = f"{self.prompts}, {self.shots}-shot from the training split, seed {self.seed}"
        return {
            "prompts": "text" if self.prompts == "text" else examples,
            "threshold": f"{threshold}, duplicates removed as the weights say",
            "input": f"longer side {self.side}" if self.side else "as the weights say",
            "pixels": "by index, as in the labels" if self.index_pixels else "continuous, half a pixel taken off",
            "flip test": "yes, mean of both" if self.flip else "no",
            "seed": str(self.seed),
        }


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
        labelled = {prompted: instance.point(name) for prompted, name in names.items()}
        # Prompts use continuous coordinates, as the detector does; a record's point is a pixel index.
        points = {name: (x + 0.5, y + 0.5, True) if v else (0.0, 0.0, False) for name, (x, y, v) in labelled.items()}
        x, y, width, height = instance.box
        corners = (max(x, 0.0), max(y, 0.0), min(x + width, picture.width), min(y + height, picture.height))
        pixels = _example_pixels(self.place, picture.file, (picture.width, picture.height))
        return VisualPrompt(pixels, points, corners, name)


@dataclass(frozen=True)
class AskedClass:
    """One class of a question: its name and the names of its keypoints in the prompt."""

    category: Category  # as in the records
    label: str | None  # its name in the prompt; None for only examples
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
    """A text prompt for a class, with its skeleton if that has all points, else with plain words."""
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
    matched: int | None = None  # how many of the best answers can be assigned to objects; None for all
    trim: bool = False  # keep only the best answer and those that fit the labelled boxes best

    def prompts(self) -> list[Prompt]:
        """The prompts for a detector, one per class."""
        return [asked.prompt() for asked in self.asked]


@dataclass(frozen=True)
class Task:
    """One picture with all its questions."""

    key: str  # its unique name in the run
    record: Record
    place: Path  # of the picture file
    questions: tuple[Question, ...]
    unasked: tuple[str, ...] = ()  # what could not be asked, and why

    def pixels(self) -> np.ndarray:
        """RGB bytes [h, w, 3] as stored; raises as `read_pixels`."""
        picture = self.record.picture
        return read_pixels(self.place, picture.file, (picture.width, picture.height))


def key_of(record: Record) -> str:
    """A picture's name in a run: `SET/FILE`."""
    return f"{record.source}/{record.picture.file}"


def only(record: Record, category: Category) -> Record:
    """The record with only its objects of one category."""
    return replace(record, instances=tuple(instance for instance in record.instances if instance.category == category))


def read_pixels(place: Path, file: str, size: tuple[int, int]) -> np.ndarray:
    """RGB bytes [h, w, 3] of a picture; its EXIF orientation is *not* applied, since labels belong to stored pixels.

    Raises:
        ImageError: it is not a picture, is damaged, or its size differs from `size` (width, height).
        DataError: the file cannot be read.
    """
    content = content_of(place)
    try:
        pixels = stored_pixels(content)
    except Exception as error:  # decoders raise errors of every kind for damaged files
        why = first_line(error)
        raise ImageError(f"The picture {quote(file)} cannot be read ({why}). It is damaged: fetch it again.") from None
    height, width = pixels.shape[:2]
    if (width, height) != size:
        raise ImageError(
            f"The picture {quote(file)} is {width}x{height}, but its labels are for a picture of "
            f"{size[0]}x{size[1]} pixels. Fetch the labelled file."
        )
    return pixels


_example_pixels = lru_cache(maxsize=64)(read_pixels)


SetCategory = tuple[str, Category]  # set, category
Shots = Mapping[SetCategory, tuple[LabelledExample, ...]]
Questions = Callable[[Record], Iterable[Question | str]]  # a string states a skipped question and why


def categories_of(record: Record) -> list[Category]:
    """The categories of a record's objects without crowds, in the objects' order."""
    return list(dict.fromkeys(instance.category for instance in record.instances if not instance.iscrowd))


def known_categories(records: Iterable[Placed]) -> dict[str, dict[str, Category]]:
    """The labelled categories of each set, by name."""
    sets: dict[str, dict[str, Category]] = {}
    for record, _ in records:
        for category in categories_of(record):
            sets.setdefault(record.source, {}).setdefault(category.name, category)
    return sets


def present(record: Record) -> Iterator[tuple[Category, Record, int]]:
    """Each category that a picture shows, the record with only its objects, and how many there are without crowds."""
    for category in categories_of(record):
        truth = only(record, category)
        yield category, truth, sum(not instance.iscrowd for instance in truth.instances)


def tasks_about(data: EvaluationData, settings: Settings, questions_of: Questions) -> Iterator[Task]:
    """The evaluated pictures with their questions."""
    return tasks_of(limited(data.records(), settings.limit), questions_of)


def tasks_of(records: Iterable[Placed], questions_of: Questions, prefix: str = "") -> Iterator[Task]:
    """One task per picture with questions; each key starts with `prefix`. Others are omitted."""
    for record, place in records:
        asked = list(questions_of(record))
        if asked:
            questions = tuple(question for question in asked if isinstance(question, Question))
            reasons = tuple(reason for reason in asked if isinstance(reason, str))
            yield Task(prefix + key_of(record), record, place, questions, reasons)


def limited(records: Iterable[Placed], limit: int | None) -> Iterator[Placed]:
    """At most `limit` pictures of each set: those with the smallest sha256 of the name, in the usual order."""
    if limit is None:
        yield from records
        return
    placed = list(records)
    ranks: dict[str, list[tuple[str, str]]] = {}
    for record, _ in placed:
        key = key_of(record)
        ranks.setdefault(record.source, []).append((hashlib.sha256(key.encode()).hexdigest(), key))
    chosen = {key for ranked in ranks.values() for _, key in sorted(ranked)[:limit]}
    yield from ((record, place) for record, place in placed if key_of(record) in chosen)


def find_examples(data: EvaluationData, settings: Settings) -> Shots:
    """Draw the training objects that serve as examples for each set and category, using the seed.

    Objects with at least half of the points visible, a box of at least 64 pixels, and from different pictures are
    preferred.
    """
    if settings.prompts == "text":
        return {}
    fit: dict[SetCategory, list[LabelledExample]] = {}
    unfit: dict[SetCategory, list[LabelledExample]] = {}
    for record, place in data.records("train"):
        for number, instance in enumerate(record.instances):
            visible = sum(v == VISIBLE for *_, v in instance.keypoints.values())
            if visible and not instance.iscrowd:
                table = fit if 2 * visible >= len(instance.category.keypoints) else unfit
                table.setdefault((record.source, instance.category), []).append(LabelledExample(record, place, number))
    return {key: _drawn(key, examples, settings) for key, examples in {**unfit, **fit}.items()}


def _drawn(key: SetCategory, examples: list[LabelledExample], settings: Settings) -> tuple[LabelledExample, ...]:
    large: list[LabelledExample] = []
    for share in _SMALLER:
        large = [example for example in examples if max(example.instance.box[2:]) >= share * LEAST_SIDE]
        if len({key_of(example.record) for example in large}) >= settings.shots:
            break
    random.Random(f"{settings.seed}/{key[0]}/{key[1].name}/{key[1].skeleton}").shuffle(large)
    first = {key_of(example.record): example for example in reversed(large)}
    distinct = [example for example in large if first[key_of(example.record)] is example]
    return tuple([*distinct, *(example for example in large if example not in distinct)][: settings.shots])


def ask(record: Record, category: Category, settings: Settings, shots: Shots) -> AskedClass | None:
    """A category of a record as a class to ask for; None if examples are needed and there are none."""
    examples = shots.get((record.source, category), ())
    if settings.prompts != "text" and not examples:
        return None
    return AskedClass.of(category, settings.prompts, examples)
