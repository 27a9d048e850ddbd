"""Encodes prompts as network tokens, with a cache.

Every kind of prompt becomes an `EncodedClass`, which is the same for words and pictures. Words and examples of one
class are joined as the mean of their projected tokens, first over the examples, then with the words.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import WordWarning
from xpose.inference.encoded import EncodedClass
from xpose.inference.engines import Engine
from xpose.inference.learned import Learned
from xpose.inference.preprocess import MEAN, STD
from xpose.model.checkpoints.categories import LearnedCategory
from xpose.model.prompting import TextEncoder
from xpose.model.prompting.picture import example_picture, prompt_picture
from xpose.pictures.reading import read_picture
from xpose.prompts import CombinedPrompt, Prompt, PromptClass, TextPrompt, VisualPrompt
from xpose.vocabulary import bare_object_text, released_keypoint_text, released_object_text

if TYPE_CHECKING:
    from xpose.pictures.reading import PictureSource

_CAPACITY = 512


class PromptEncoder:
    """Encodes prompts for one network and caches the results. Safe to use from several threads."""

    def __init__(
        self,
        engine: Engine,
        text: Callable[[], TextEncoder],
        categories: Sequence[LearnedCategory] | None = None,
    ) -> None:
        """Take the engine of the network, and what loads its text encoder.

        With `categories`, those that the weights have learned, it warns of words that they do not know.
        """
        self.engine, self._make_text = engine, text
        self.learned, self._warns = Learned(categories or ()), categories is not None
        self._lock = threading.RLock()
        self._cache: OrderedDict[object, EncodedClass] = OrderedDict()
        self._objects: tuple[tuple[str, ...], np.ndarray] = (), np.zeros((0, engine.config.dim), np.float32)
        self._clip = engine.config.prompt_encoder == "clip"
        self.runs = 0  # number of prompts encoded, not counting cached ones

    @cached_property
    def text(self) -> TextEncoder:
        """The text encoder, loaded when first needed."""
        return self._make_text()

    def encode(self, prompt: Prompt | EncodedClass) -> EncodedClass:
        """The tokens of one class, cached if the same prompt was encoded before."""
        if isinstance(prompt, EncodedClass):
            return prompt
        names = prompt.resolve(self.learned)
        key = (names, prompt_key(prompt))
        with self._lock:
            if key not in self._cache:
                if self._warns and isinstance(prompt, TextPrompt):
                    for message in self.learned.warnings(prompt, names):
                        warnings.warn(message, WordWarning, stacklevel=3)
                self._cache[key] = self._encode(prompt, names)
            self._cache.move_to_end(key)
            if len(self._cache) > _CAPACITY:
                self._cache.popitem(last=False)
            return self._cache[key]

    def objects(self, names: tuple[str, ...]) -> np.ndarray:
        """The object tokens of plain names, [n, C]; those of the last call are cached."""
        if not names:
            return np.zeros((0, self.engine.config.dim), np.float32)
        with self._lock:
            if names != self._objects[0]:
                embedded = self.text.encode(list(map(released_object_text if self._clip else bare_object_text, names)))
                self._objects = names, self.engine.project(embedded, embedded[:0])[0]
            return self._objects[1]

    def _encode(self, prompt: Prompt, names: PromptClass) -> EncodedClass:
        self.runs += 1
        if isinstance(prompt, VisualPrompt):
            prompt = CombinedPrompt(None, (prompt,))
        text = prompt if isinstance(prompt, TextPrompt) else prompt.text
        embeddings = [] if isinstance(prompt, TextPrompt) else [self._examples(prompt, names)]
        if text is not None:
            embeddings.append(self._words(text, names))
        tokens = [self.engine.project(*pair) for pair in embeddings]
        objects, keypoint_tokens = (np.stack(parts).mean(0) for parts in zip(*tokens, strict=True))
        return EncodedClass(names, objects[0], keypoint_tokens)

    def _words(self, prompt: TextPrompt, names: PromptClass) -> tuple[np.ndarray, np.ndarray]:
        points = map(released_keypoint_text, names.aliases) if self._clip else names.canonical
        embedded = self.text.encode([object_text(prompt, clip=self._clip), *points])
        return embedded[:1], embedded[1:]

    def _examples(self, prompt: CombinedPrompt, names: PromptClass) -> tuple[np.ndarray, np.ndarray]:
        pictures, points, visible = [], [], []
        for example in prompt.examples:
            matched = prompt.example_names(example)
            pixels, _ = read_picture(example.image)
            region = example.region(pixels.shape[1], pixels.shape[0])
            if self._clip:
                picture = prompt_picture(pixels, region)
            else:
                picture = example_picture(pixels, region, MEAN, STD, size=self.engine.config.example_side)
            shown = [example.points[matched[n]] if n in matched else (0.0, 0.0, False) for n in names.names]
            places = np.array([(x, y) for x, y, _ in shown], np.float32).reshape(-1, 2)
            placed, seen = picture.place(places, np.array([v for *_, v in shown], bool))
            pictures.append(picture.pixels)
            points.append(placed)
            visible.append(seen)
        shown_points = np.stack(visible)
        embeddings = self.engine.encode_examples(np.stack(pictures), np.stack(points), shown_points)
        objects, keypoints = average_shots(*embeddings, shown_points)
        unseen = np.flatnonzero(~shown_points.any(axis=0))
        if not self._clip and len(unseen):  # a point that no example shows is prompted by its name, as in training
            keypoints[unseen] = self.text.encode(list(names.canonical))[unseen]
        return objects[None], keypoints


def average_shots(objects: np.ndarray, keypoints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average several pictures into one prompt, as `average_shots` of `model/prompting/clip.py` does in training."""
    weights = (visible | ~visible.any(axis=0)).astype(keypoints.dtype)[..., None]  # [n, K, 1]
    return objects.mean(0), (keypoints * weights).sum(0) / weights.sum(0)


def object_text(prompt: TextPrompt, *, clip: bool) -> str:
    """An object's text: the bare name or, for CLIP, the released checkpoint's text (exact without style and part)."""
    return (released_object_text if clip else bare_object_text)(prompt.label, prompt.style)


def prompt_key(prompt: Prompt) -> object:
    """What a prompt adds to the names of its class; example pictures count by their content."""
    if isinstance(prompt, TextPrompt):
        return ("text", prompt.style)
    if isinstance(prompt, VisualPrompt):
        shown = tuple((name, *(p if p[2] else (0.0, 0.0, False))) for name, p in prompt.points.items())
        return ("visual", picture_key(prompt.image), shown, prompt.box, prompt.name)
    text = prompt_key(prompt.text) if prompt.text is not None else None
    return ("combined", text, tuple(prompt_key(example) for example in prompt.examples))


def picture_key(image: PictureSource) -> object:
    """A picture's key: its content, or a file's path, size and change time."""
    if isinstance(image, (str, Path)):
        path = Path(image).expanduser()
        try:
            status = path.stat()
        except OSError:
            return (str(path), None)
        return (str(path.resolve()), status.st_size, status.st_mtime_ns)
    pixels, _ = read_picture(image)
    return (pixels.shape, hashlib.sha256(pixels.tobytes()).hexdigest())
