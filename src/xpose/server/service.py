"""What the server does, independent of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import XPoseError, XPoseWarning, did_you_mean, quote
from xpose.inference.bank import PromptBank
from xpose.prompts import Prompt, PromptClass, TextPrompt, VisualPrompt
from xpose.server.banks import Banks
from xpose.server.batching import Batcher
from xpose.server.limits import RefusalError, ServerLimits, check_at_most
from xpose.server.metrics import Metrics
from xpose.server.parsing import Asked, BankReference, Body, asked_of, decode_picture, options_of, refusing
from xpose.vocabulary import list_categories, list_skeletons

if TYPE_CHECKING:
    from xpose.inference import Detector
    from xpose.inference.encoded import EncodedClass, PreparedImage


class Service:
    """Detects, and keeps prompt banks. Decoding and encoding have threads of their own, apart from the network's."""

    def __init__(
        self, detector: Detector, limits: ServerLimits, batch_size: int = 8, banks: Banks | None = None
    ) -> None:
        self.detector, self.limits, self.metrics = detector, limits, Metrics()
        self.banks = banks or Banks(limits.banks)
        self.batcher = Batcher(detector, limits.queue, batch_size, self.metrics)
        self.ready = False
        self._readers = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2)), "read")

    def warm_up(self) -> None:
        """Load everything that the first request would have to wait for."""
        warnings.simplefilter("ignore", XPoseWarning)  # about words and frames of requests, which nobody would read
        pixels = np.zeros((64, 64, 3), np.uint8)
        image, classes = self.detector.prepare_image(pixels), self.detector.encode_prompts("person")
        self.detector.encode_prompts(TextPrompt("a word that nobody has learned", keypoints=["x"]))
        with contextlib.suppress(XPoseError):  # some weights take no example pictures
            self.detector.encode_prompts(VisualPrompt(pixels, {"corner": (8, 8)}))
        self.batcher.submit(image, classes, options_of(Body({}), self.limits)).result()
        self.ready = True

    def close(self) -> None:
        """Finish the work that was taken, and end the threads."""
        self.ready = False
        self._readers.shutdown()
        self.batcher.close()

    async def detect(self, body: Body) -> dict[str, Any]:
        """The poses in every picture of a body."""
        count, options = len(body.images), options_of(body, self.limits)
        if not count:
            raise RefusalError(422, 'The request has no picture. Send at least one as "image" or in "images".')
        loop = asyncio.get_running_loop()
        with self.batcher.places(count):
            asked = await loop.run_in_executor(self._readers, self._encoded, body)
            asked = asked * count if len(asked) == 1 else asked
            images = await asyncio.gather(
                *(loop.run_in_executor(self._readers, self._prepared, body, number) for number in range(count))
            )
            futures = [
                self.batcher.submit(image, classes, options) for image, classes in zip(images, asked, strict=True)
            ]
            with refusing():
                poses = await asyncio.gather(*map(asyncio.wrap_future, futures))
        return {"results": [of_image.to_dict() for of_image in poses]}

    async def save_prompts(self, body: Body) -> dict[str, Any]:
        """Encode prompts once, and return the id of their bank, which depends only on its content."""
        with self.batcher.places(1):
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._saved, body)

    async def measurements(self) -> bytes:
        """What /metrics shows."""
        return self.metrics.text()

    def _saved(self, body: Body) -> dict[str, Any]:
        (classes,) = self._encoded(body)
        with refusing():
            bank = PromptBank.make(self.detector, classes)
        key = bank.id
        self.banks.put(key, bank)
        named = [{"object": label, "keypoints": list(entry.names.names)} for label, entry in bank.items()]
        return {"id": key, "classes": named}

    def _prepared(self, body: Body, number: int) -> PreparedImage:
        name = "picture" if len(body.images) == 1 else f"picture {number + 1}"
        with self.metrics.timed("pictures"):
            return self.detector.prepare_image(decode_picture(body.images[number], name, self.limits))

    def _encoded(self, body: Body) -> list[list[EncodedClass]]:
        """The encoded prompts of each picture, or those of all pictures."""
        with self.metrics.timed("prompts"):
            return [self._classes(asked) for asked in asked_of(body, self.limits)]

    def _classes(self, asked: Asked) -> list[EncodedClass]:
        classes: list[EncodedClass] = []
        points = 0
        for prompt in asked:
            if isinstance(prompt, BankReference):
                entries = self._of_bank(prompt)
                points += sum(len(entry.names.names) for entry in entries)
            else:
                points += len(self._resolved(prompt).names)
                entries = []
            check_at_most(points, self.limits.points, "keypoint for one picture", "keypoints for one picture")
            if not isinstance(prompt, BankReference):
                with refusing():
                    entries = self.detector.encode_prompts(prompt)
            classes += entries
        check_at_most(len(classes), self.limits.classes, "class for one picture", "classes for one picture")
        labels = [entry.names.label for entry in classes]
        for label in labels:
            if labels.count(label) > 1:
                raise RefusalError(422, f'Two prompts of a picture are called "{label}". Each needs its own name.')
        return classes

    def _resolved(self, prompt: Prompt) -> PromptClass:
        """The prompt with its names looked up."""
        learned = self.detector.learned
        with refusing():
            text = prompt if isinstance(prompt, TextPrompt) and not prompt.names_keypoints else None
            word = text.object if text is not None and text.part is None else None
            if word is None or learned.default_skeleton(word) is not None:
                return prompt.resolve(learned)
        known = {entry.name for entry in list_categories()} | {category.name for category in learned.categories}
        way_out = 'It has no default keypoints: give "keypoints", or a "skeleton" of /v1/skeletons.'
        raise RefusalError(422, f"Unknown object {quote(word)}.{did_you_mean(word, known)} {way_out}")

    def _of_bank(self, reference: BankReference) -> list[EncodedClass]:
        bank = self.banks.get(reference.bank)
        if bank is None:
            way_out = "It may have been forgotten. Post its prompts again to /v1/prompts."
            raise RefusalError(404, f"There is no prompt bank with this id. {way_out}")
        with refusing():
            return bank.prompts(self.detector, list(reference.classes) if reference.classes else None)

    def models(self) -> dict[str, Any]:
        """The weights that are served, and what they have learned."""
        learned = [
            {"object": category.name, "skeleton": category.skeleton, "keypoints": list(category.keypoints)}
            for category in self.detector.learned.categories
        ]
        name = Path(self.detector.name).name  # not where it is on this machine
        engine = self.detector.engine
        return {
            "models": [
                {
                    "name": name,
                    "network": engine.config.name,
                    "runtime": engine.runtime,
                    "prompts": engine.fingerprint(),
                    "learned": learned,
                }
            ]
        }


def skeletons() -> dict[str, Any]:
    """The skeletons that prompts can name."""
    return {"skeletons": [*_skeletons()]}


def _skeletons() -> Iterable[dict[str, Any]]:
    for skeleton in list_skeletons():
        shown = skeleton.detected
        edges = [list(edge) for edge in shown.edges]
        yield {
            "name": skeleton.name,
            "also": list(skeleton.also),
            "title": skeleton.title,
            "keypoints": list(shown.keypoints),
            "edges": edges,
        }
