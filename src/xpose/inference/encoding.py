"""Encodes prompts as network tokens in PyTorch, with a cache.

Every kind of prompt becomes an `EncodedClass`, which is the same for words and pictures. Words and examples of one
class are joined as the mean of their projected tokens, first over the examples, then with the words.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xpose.errors import CheckpointError, WordWarning
from xpose.inference.encoded import EncodedClass
from xpose.inference.engines.torch import to_array
from xpose.inference.learned import Learned
from xpose.inference.preprocess import MEAN, STD
from xpose.model import XPose
from xpose.model.checkpoints.categories import LearnedCategory
from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder, NanoTextEncoder, TextEncoder
from xpose.model.prompting.clip import average_shots
from xpose.model.prompting.clip_weights import vision_tower
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
        model: XPose,
        text: Callable[[], TextEncoder],
        visual: Callable[[], ClipVisualPromptEncoder] | None,
        categories: Sequence[LearnedCategory] | None = None,
    ) -> None:
        """With `categories`, those that the weights have learned, it warns of words that they do not know."""
        self.model = model
        self.learned, self._warns = Learned(categories or ()), categories is not None
        self._make_text, self._make_visual = text, visual
        self._lock = threading.RLock()
        self._cache: OrderedDict[object, EncodedClass] = OrderedDict()
        self._objects: tuple[tuple[str, ...], np.ndarray] = (), np.zeros((0, model.config.dim), np.float32)
        self._clip = model.config.prompt_encoder == "clip"
        self.runs = 0  # number of prompts encoded, not counting cached ones

    @cached_property
    def text(self) -> TextEncoder:
        """The text encoder, loaded when first needed."""
        return self._make_text()

    @cached_property
    def visual(self) -> ClipVisualPromptEncoder:
        """CLIP's example encoder, loaded when first needed; only for networks without their own."""
        if self._make_visual is None:
            raise CheckpointError(
                "These weights hold no encoder for example pictures (pos_proj and padding are missing). "
                "Use words, or a file that has them."
            )
        return self._make_visual()

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

    @torch.inference_mode()
    def objects(self, names: tuple[str, ...]) -> np.ndarray:
        """The object tokens of plain names, [n, C]; those of the last call are cached."""
        if not names:
            return np.zeros((0, self.model.config.dim), np.float32)
        with self._lock:
            if names != self._objects[0]:
                embedded = self.text.encode(list(map(released_object_text if self._clip else bare_object_text, names)))
                self._objects = names, to_array(self.model.project_tokens(embedded, embedded[:0])[0])
            return self._objects[1]

    @torch.inference_mode()
    def _encode(self, prompt: Prompt, names: PromptClass) -> EncodedClass:
        self.runs += 1
        if isinstance(prompt, VisualPrompt):
            prompt = CombinedPrompt(None, (prompt,))
        text = prompt if isinstance(prompt, TextPrompt) else prompt.text
        embeddings = [] if isinstance(prompt, TextPrompt) else [self._examples(prompt, names)]
        if text is not None:
            embeddings.append(self._words(text, names))
        tokens = [self.model.project_tokens(*pair) for pair in embeddings]
        object_token, keypoint_tokens = (to_array(torch.stack(parts).mean(0)) for parts in zip(*tokens, strict=True))
        return EncodedClass(names, object_token, keypoint_tokens)

    def _words(self, prompt: TextPrompt, names: PromptClass) -> tuple[Tensor, Tensor]:
        points = map(released_keypoint_text, names.aliases) if self._clip else names.canonical
        embedded = self.text.encode([object_text(prompt, clip=self._clip), *points])
        return embedded[0], embedded[1:]

    def _examples(self, prompt: CombinedPrompt, names: PromptClass) -> tuple[Tensor, Tensor]:
        own_encoder = self.model.visual_prompts
        pictures, points, visible = [], [], []
        for example in prompt.examples:
            matched = prompt.example_names(example)
            pixels, _ = read_picture(example.image)
            region = example.region(pixels.shape[1], pixels.shape[0])
            if own_encoder is not None:
                picture = example_picture(pixels, region, MEAN, STD, size=self.model.config.example_side)
            else:
                picture = prompt_picture(pixels, region)
            shown = [example.points[matched[n]] if n in matched else (0.0, 0.0, False) for n in names.names]
            places = torch.tensor([(x, y) for x, y, _ in shown], dtype=torch.float32).view(-1, 2)
            placed, seen = picture.place(places, torch.tensor([v for *_, v in shown], dtype=torch.bool))
            pictures.append(picture.tensor)
            points.append(placed)
            visible.append(seen)
        weight = self.model.heads.norm.weight
        shown_points = torch.stack(visible).to(weight.device)
        stacked = (torch.stack(pictures).to(weight), torch.stack(points).to(weight), shown_points)
        if own_encoder is not None:
            objects, keypoints = own_encoder(self.model.backbone(stacked[0]), *stacked[1:])
        else:
            objects, keypoints = self.visual.encode(*stacked)
        objects, keypoints = average_shots(objects, keypoints, shown_points)
        unseen = ~shown_points.any(0)
        if own_encoder is not None and bool(
            unseen.any()
        ):  # a point that no example shows is prompted by its name, as in training
            named = self.text.encode(list(names.canonical)).to(keypoints)
            keypoints = torch.where(unseen[:, None], named, keypoints)
        return objects, keypoints


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


def encoder_for(
    model: XPose,
    tensors: Mapping[str, Tensor],
    clip: str | Path | None,
    *,
    fresh: bool = False,
    categories: Sequence[LearnedCategory] | None = None,
) -> PromptEncoder:
    """The prompt encoder that belongs to a network.

    Args:
        model: the network.
        tensors: its prompt encoder weights (official names).
        clip: folder or hub id of CLIP's weights, if `tensors` has none.
        fresh: if `tensors` lacks the example encoder's additions to CLIP, start them untrained (for training).
        categories: what the weights have learned, to choose keypoints and to warn of unknown words; None for neither.
    """
    if model.config.prompt_encoder == "nano":
        return PromptEncoder(model, NanoTextEncoder, None, categories)
    device = next(model.parameters()).device
    source = clip or "openai/clip-vit-base-patch32"
    with_clip = any(name.startswith("clip_model.") for name in tensors)
    examples = {"pos_proj.weight", "pos_proj.bias", "padding.weight"} <= set(tensors)

    def text() -> TextEncoder:
        kind = ClipTextEncoder
        return (kind.from_official(tensors) if with_clip else kind.from_folder_or_hub(source)).to(device)

    def visual() -> ClipVisualPromptEncoder:
        kind = ClipVisualPromptEncoder
        encoder = kind(vision_tower(tensors)) if with_clip else kind.from_folder_or_hub(source)
        if examples:
            encoder.load_prompt_weights(tensors)
        return encoder.to(device)

    return PromptEncoder(model, text, visual if examples or fresh else None, categories)
