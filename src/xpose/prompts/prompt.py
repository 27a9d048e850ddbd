"""The three kinds of prompt for one class of objects (words, an example picture, or both), and prompt lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.errors import PromptError, quote
from xpose.prompts.prompt_class import (
    ANY_OBJECT,
    VOCABULARY,
    Defaults,
    Edge,
    PromptClass,
    box_around,
    check_words,
    checked_box,
    checked_edges,
    checked_point,
)
from xpose.vocabulary import Skeleton, check_part, load_skeleton

if TYPE_CHECKING:
    from xpose.pictures.reading import PictureSource

MOST_SHOTS = 5
_NUMBERED = re.compile(r"p\d+")  # the name of a keypoint of an example without names

Point = tuple[float, float] | tuple[float, float, bool | int]


class _Joinable:
    def __add__(self, other: Prompt) -> CombinedPrompt:
        return CombinedPrompt.of(self, other)  # type: ignore[arg-type]  # all subclasses are prompts


@dataclass(frozen=True)
class TextPrompt(_Joinable):
    """A class described by words.

    Args:
        object: what to detect, e.g. "horse"; None detects the given keypoints on any object.
        skeleton: name of a skeleton, path of a skeleton file, or a Skeleton. If neither this nor `keypoints` is given,
            the object's default is used: what the weights have learned for it, or else that of the vocabulary.
        keypoints: names in the skeleton if one is given, otherwise any words; none for only a box.
        part: detect this part of the object, e.g. "hand" of a "person"; without keypoints only its box.
        style: kind of picture, e.g. "cartoon".

    Raises:
        PromptError: there is nothing to detect, or a name is empty or repeated.
        VocabularyError: a skeleton or one of its keypoints is unknown; near matches are proposed.
    """

    object: str | None = None
    skeleton: str | Path | Skeleton | None = None
    keypoints: Sequence[str] | None = None
    part: str | None = None
    style: str | None = None

    def __post_init__(self) -> None:
        for name in ("object", "part", "style"):
            check_words(name, getattr(self, name))
        if self.keypoints is not None:
            if isinstance(self.keypoints, str):
                raise PromptError(f"keypoints is the text {quote(self.keypoints)}. It must be a list of names.")
            names = tuple(self.keypoints)
            for name in names:
                check_words("a keypoint", name, needed=True)
                if names.count(name) > 1:
                    raise PromptError(f"The keypoint {quote(name)} is named more than once. Each may appear once.")
            object.__setattr__(self, "keypoints", names)
        if self.object is None and not self.keypoints and self.skeleton is None:
            raise PromptError("The prompt names neither an object nor keypoints. Name at least one of them.")
        if self.part is not None and self.object is None:
            raise PromptError(f"The part {quote(self.part)} has no object. Name the object that it belongs to.")
        if self.part is not None and self.object is not None:
            check_part(self.object, self.part)
        if self.skeleton is not None:
            self.resolved  # noqa: B018 - errors are reported when the prompt is created

    @property
    def label(self) -> str:
        """The name of the class in results."""
        name = self.object or ANY_OBJECT
        return f"{name}'s {self.part}" if self.part else name

    @property
    def names_keypoints(self) -> bool:
        """Whether the prompt states what to detect on the object."""
        return self.skeleton is not None or self.keypoints is not None

    @cached_property
    def resolved(self) -> PromptClass:
        """The prompt with its names looked up in the vocabulary."""
        return self.resolve()

    def resolve(self, defaults: Defaults = VOCABULARY) -> PromptClass:
        """The prompt with its names looked up.

        Raises:
            VocabularyError: the prompt names no keypoints, and the object has no default.
        """
        if self.skeleton is not None:
            chosen = self.skeleton if isinstance(self.skeleton, Skeleton) else load_skeleton(self.skeleton)
            return PromptClass.of_skeleton(self.label, chosen, self.keypoints)
        if self.object is None or self.part is not None:
            return PromptClass.of_words(self.label, self.keypoints or ())
        default = defaults.default_skeleton(self.object)
        if self.keypoints is None:
            if default is None:
                raise defaults.unknown_object(self.object)
            return PromptClass.of_skeleton(self.label, default.skeleton, None, default.reason)
        if default is not None and all(name in default.skeleton for name in self.keypoints):
            return PromptClass.of_skeleton(self.label, default.skeleton, self.keypoints)
        return PromptClass.of_words(self.label, self.keypoints)


@dataclass(frozen=True)
class VisualPrompt(_Joinable):
    """A class defined by one example picture with its points.

    Args:
        image: path, bytes of a file, PIL picture, array or tensor, as for `detect`.
        keypoints: name → (x, y) or (x, y, visible) in pixels of the upright picture; or a plain list of points, which
            are then called p1, p2, ...; an invisible point can be (None, None, False).
        box: x1, y1, x2, y2 of the example object; by default derived from the points.
        name: the name of the class in results; default "object".
        edges: pairs of keypoint names, which drawings connect by lines; by default those of the skeleton, if `name`
            has one with these keypoints.

    Raises:
        PromptError: a point, the box or an edge is malformed.
    """

    image: PictureSource
    keypoints: Mapping[str, Point] | Sequence[Point] = field(default_factory=dict)
    box: Sequence[float] | None = None
    name: str | None = None
    edges: Sequence[Edge] = ()

    def __post_init__(self) -> None:
        check_words("name", self.name)
        points = self.keypoints
        if not isinstance(points, Mapping):
            if isinstance(points, (str, bytes)) or not isinstance(points, Iterable):
                raise PromptError(
                    f'keypoints is {quote(repr(points))}. Write keypoints={{"left eye": (x, y)}}, or a list of points.'
                )
            points = {f"p{i}": point for i, point in enumerate(points, start=1)}
        for name in points:
            check_words("a keypoint", name, needed=True)
        object.__setattr__(self, "keypoints", {name: checked_point(name, value) for name, value in points.items()})
        object.__setattr__(self, "edges", checked_edges(self.edges, self.points))
        if self.box is not None:
            object.__setattr__(self, "box", checked_box(self.box))
        elif not any(visible for *_, visible in self.points.values()):
            raise PromptError("The example has no box and no visible keypoint. Give at least one of them.")

    @property
    def points(self) -> dict[str, tuple[float, float, bool]]:
        """Name → x, y, visible."""
        return self.keypoints  # type: ignore[return-value]

    def region(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The object's box, given or derived from its points; PromptError if box or points are outside the picture."""
        for name, (x, y, visible) in self.points.items():
            if visible and not (-0.5 <= x <= width and -0.5 <= y <= height):
                raise PromptError(
                    f"The example's point {quote(name)} is at ({x:g}, {y:g}), outside the picture of {width} x "
                    f"{height} pixels. Correct it, or mark it invisible: (x, y, False)."
                )
        if self.box is None:
            return box_around([(x, y) for x, y, visible in self.points.values() if visible], width, height)
        x1, y1, x2, y2 = map(float, self.box)
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise PromptError(
                f"The example's box {(x1, y1, x2, y2)} is outside the picture of {width} x {height} pixels."
            )
        return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))

    @property
    def label(self) -> str:
        """The name of the class in results."""
        return self.name or ANY_OBJECT

    @cached_property
    def resolved(self) -> PromptClass:
        """The prompt with its names looked up in the vocabulary."""
        return self.resolve()

    def resolve(self, defaults: Defaults = VOCABULARY) -> PromptClass:
        """The prompt with its names looked up."""
        return PromptClass.of_example(self.name, tuple(self.points), defaults).with_edges(self.edges)

    @classmethod
    def from_coco(cls, path: str | Path, annotation_id: int, *, pictures: str | Path | None = None) -> VisualPrompt:
        """Create an example from a COCO keypoint annotation.

        `pictures` is the picture folder; by default the folder of the file, or `images/` in it.

        Raises:
            PromptError: the file or the annotation does not exist or lacks keypoints or its picture.
        """
        from xpose.prompts.annotations import example_from_coco

        return cls(**example_from_coco(Path(path), annotation_id, None if pictures is None else Path(pictures)))


@dataclass(frozen=True)
class CombinedPrompt(_Joinable):
    """One class from words and examples, or from several examples: `TextPrompt("tit") + VisualPrompt(...)`.

    Names and order of the keypoints come from the text if it states any, or else from the examples. An example need not
    show every point. The edges come from the examples, or else from the text.
    """

    text: TextPrompt | None
    examples: tuple[VisualPrompt, ...]

    @classmethod
    def of(cls, *parts: Prompt) -> CombinedPrompt:
        """Join prompts for one class; PromptError for two texts, over five examples, or an unknown keypoint."""
        texts: list[TextPrompt] = []
        examples: list[VisualPrompt] = []
        for part in parts:
            if not isinstance(part, Prompt):
                raise PromptError(f"A {type(part).__name__} cannot be joined to a prompt. Join texts and examples.")
            text = part.text if isinstance(part, CombinedPrompt) else part
            texts += [text] if isinstance(text, TextPrompt) else []
            examples += part.examples if isinstance(part, CombinedPrompt) else []
            examples += [part] if isinstance(part, VisualPrompt) else []
        if len(texts) > 1:
            raise PromptError("Two texts were joined into one class. A class has one text; several classes are a list.")
        return cls(texts[0] if texts else None, tuple(examples))

    def __post_init__(self) -> None:
        if not self.examples:
            raise PromptError("A combined prompt has no example. Use the TextPrompt alone.")
        if len(self.examples) > MOST_SHOTS:
            raise PromptError(f"{len(self.examples)} examples were given for one class. At most {MOST_SHOTS} are used.")
        if self.text is not None and self._named_by_examples and all(map(_NUMBERED.fullmatch, self._shown)):
            raise PromptError(
                f"The keypoints of the example for {quote(self.text.label)} have no names. Words and examples are "
                'combined by keypoint, so they need names: {"left eye": [x, y], ...}. Name them, or omit the words.'
            )
        for number, example in enumerate(self.examples, start=1):
            unknown = self.example_names(example).keys() - set(self._names.names) if example.points else set()
            if unknown:
                raise PromptError(
                    f"Example {number} has the point {quote(min(unknown))}, which the class does not have. "
                    f"All examples of a class share its names: {', '.join(self._names.names) or '(none)'}."
                )

    @property
    def label(self) -> str:
        """The name of the class in results."""
        return self.text.label if self.text else next((e.name for e in self.examples if e.name), ANY_OBJECT)

    def example_names(self, example: VisualPrompt) -> dict[str, str]:
        """Map the class's keypoint names to the example's; spelling variants are matched by the vocabulary."""
        if not example.points:
            return {}
        by_canonical = dict(zip(self._names.canonical, self._names.names, strict=True))
        skeleton = (self.text.skeleton if self.text else None) or self._names.skeleton
        if skeleton is None:
            return {name: name for name in example.points}
        known = skeleton if isinstance(skeleton, Skeleton) else load_skeleton(skeleton)
        return {
            by_canonical.get(known.point(name).name, name)
            if name not in self._names.names and name in known
            else name: name
            for name in example.points
        }

    @cached_property
    def resolved(self) -> PromptClass:
        """The prompt with its names looked up in the vocabulary."""
        return self.resolve()

    def resolve(self, defaults: Defaults = VOCABULARY) -> PromptClass:
        """The prompt with its names looked up; VocabularyError as for a `TextPrompt`."""
        edges: list[Edge] = []
        for example in self.examples:
            spelling = {name: own for own, name in self.example_names(example).items()}
            edges += [(spelling[start], spelling[end]) for start, end in example.edges]
        return self._named(defaults).with_edges(edges)

    @cached_property
    def _names(self) -> PromptClass:
        """The class of the vocabulary, before its examples' edges are added."""
        return self._named(VOCABULARY)

    def _named(self, defaults: Defaults) -> PromptClass:
        if self.text is not None and not self._named_by_examples:
            return self.text.resolve(defaults)
        label = None if self.label == ANY_OBJECT else self.label
        return PromptClass.of_example(label, tuple(self._shown), defaults)

    @property
    def _named_by_examples(self) -> bool:
        return bool(self._shown) and (self.text is None or not self.text.names_keypoints)

    @cached_property
    def _shown(self) -> dict[str, None]:
        """The names of the examples' keypoints."""
        return dict.fromkeys(name for example in self.examples for name in example.points)


Prompt = TextPrompt | VisualPrompt | CombinedPrompt


def as_prompts(prompts: object) -> list[Any]:
    """Convert any prompt to a list of classes: "person, horse", one prompt, or a list of prompts and texts.

    Prompt bank entries are returned unchanged. PromptError if there is no class, or for other types.
    """
    if isinstance(prompts, str):
        words = [part.strip() for part in prompts.split(",")]
        if not any(words):
            raise PromptError(f'The prompt is {quote(prompts)}. It must name what to detect, e.g. "person, horse".')
        return [TextPrompt(word) for word in words if word]
    if isinstance(prompts, Prompt) or hasattr(prompts, "object_token"):
        return [prompts]
    if isinstance(prompts, Iterable) and not isinstance(prompts, (bytes, Mapping)):
        result = [single for entry in prompts for single in as_prompts(entry)]
        if result:
            return result
        raise PromptError('The list of prompts is empty. Name at least one class, e.g. ["horse"].')
    raise PromptError(f"A {type(prompts).__name__} is not a prompt. Give words, a prompt, or a list of them.")


def prompts_from_pairs(
    objects: Sequence[str],
    skeletons: Sequence[str] | None,
    keypoints: Sequence[str] | None = None,
    part: str | None = None,
    style: str | None = None,
) -> list[TextPrompt]:
    """Classes from words and skeletons paired by position, as on the command line: `-t face,hand -k face,hand`.

    Keypoints, part and style are those of every class.
    """
    if skeletons is None:
        return [TextPrompt(name, None, keypoints, part, style) for name in objects]
    if len(skeletons) != len(objects):
        raise PromptError(
            f"Got {len(objects)} object(s) ({', '.join(objects)}) and {len(skeletons)} skeleton(s) "
            f"({', '.join(skeletons)}). They are paired by position, so the counts must be equal."
        )
    pairs = zip(objects, skeletons, strict=True)
    return [TextPrompt(name, skeleton, keypoints, part, style) for name, skeleton in pairs]


def check_unique(prompts: Sequence[Prompt]) -> None:
    """Check that all classes have different names, because results are listed by name; PromptError if not."""
    labels = [prompt.label for prompt in prompts]
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is not None:
        raise PromptError(
            f"{quote(repeated)} was given more than once. Results are listed by name, so each name must be unique."
        )
