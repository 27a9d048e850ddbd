"""Who answers the questions: our detector here; results files and other systems give the same kind of answer.

A source gives `Poses` in the pixels and under the names of the records. This module is the one place where a detector's
answer is brought there: half a pixel less (records count pixel by pixel, a detector continuously), and the record's
names in the place of the prompt's words.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from xpose.evaluation.answers import Answers
from xpose.evaluation.matching import in_records_pixels, match
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.settings import Settings
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.inference import Detector, EncodedImage
    from xpose.inference.options import DetectionOptions


class AnswerSource(Protocol):
    """Anything that answers questions about pictures."""

    name: str
    batch: int  # pictures it likes to get at once

    @property
    def identity(self) -> str:
        """What tells it from every other source: a checksum of its weights or its file."""

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """For each task the answers to its questions, in the records' pixels and names."""


class DetectorSource:
    """Our own detector.

    Pictures with one question go through the network together, `batch` at a time; a picture with several questions is
    encoded once and decoded once per question.
    """

    def __init__(self, detector: Detector, batch: int = 1) -> None:
        self.detector, self.batch = detector, batch
        self.name = detector.name

    @property
    def identity(self) -> str:
        """The sha256 of all weights."""
        state = hashlib.sha256()
        for name, value in sorted(self.detector.model.state_dict().items()):
            state.update(name.encode())
            state.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return state.hexdigest()

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """For each task the answers to its questions."""
        straight = self._ask(tasks, pixels, settings)
        if not settings.flip:
            return straight
        from xpose.evaluation.flipping import merged

        mirrored = self._ask(tasks, [np.ascontiguousarray(one[:, ::-1]) for one in pixels], settings)
        return [
            tuple(merged(a, b, question) for a, b, question in zip(one, other, task.questions, strict=True))
            for task, one, other in zip(tasks, straight, mirrored, strict=True)
        ]

    def _ask(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        usual = self.detector.engine.config.instances
        together = [
            n for n, task in enumerate(tasks) if len(task.questions) == 1 and (task.questions[0].most or 1) <= usual
        ]
        answers: dict[int, Answers] = {}
        if len(together) > 1:
            found = self.detector.detect(
                [pixels[n] for n in together],
                per_image=[prompts_of(tasks[n].questions[0]) for n in together],
                batch_size=len(together),
                options=options_of(settings),
            )
            for n, poses in zip(together, found, strict=True):
                question = tasks[n].questions[0]
                answers[n] = (in_records_words(poses[: question.most], question, settings),)
        for n, task in enumerate(tasks):
            if n not in answers and task.questions:
                image = self.detector.encode_image(pixels[n], side=settings.side)
                answers[n] = tuple(self._one(image, question, settings) for question in task.questions)
        return [answers.get(n, ()) for n in range(len(tasks))]

    def _one(self, image: EncodedImage, question: Question, settings: Settings) -> Poses:
        found = self.detector.detect(image, prompts_of(question), options=options_of(settings, question.most))
        return in_records_words(found, question, settings)


def open_detector(
    weights: str | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    clip: str | None = None,
    batch: int = 1,
) -> DetectorSource:
    """A detector as a source, from what a command line says; a function of a module, so that processes can be sent it.

    Raises:
        XPoseError: there are no such weights, or no such device.
    """
    from xpose.inference import load

    return DetectorSource(load(weights, device=device, dtype=dtype, clip=clip), batch)


def prompts_of(question: Question) -> list[Any]:
    """The prompts of a question, one per class."""
    return [one.prompt() for one in question.asked]


def options_of(settings: Settings, most: int | None = None) -> DetectionOptions:
    """What settings mean to the detector; `most` is the number of answers wanted."""
    from xpose.inference.options import DetectionOptions

    stored = settings.threshold == "weights"
    return DetectionOptions(
        threshold=None if settings.threshold == "weights" else settings.threshold,
        rivals=None if stored or settings.rivals else (),
        nms=1.0 if settings.nms is None else None if settings.nms == "weights" else settings.nms,
        max_instances=most,
        side=settings.side,
    )


def trimmed(found: Poses, question: Question) -> Poses:
    """The answers that can matter, where a question says so: protocols with a million questions keep few."""
    if not question.trim or len(found) < 2:
        return found
    fitting = [row for row in match(question.truth, found) if row is not None]
    return found[sorted({int(found.scores.argmax()), *fitting})]


def in_records_words(found: Poses, question: Question, settings: Settings) -> Poses:
    """A detector's answer in the pixels of records and under their names.

    Points move by half a pixel, unless the weights count as records do (`Settings.index_pixels`).
    """
    asked = {one.called: one for one in question.asked}
    names = tuple(tuple(asked[pose.category].names[name] for name in pose.names) for pose in found)
    edges = tuple(
        tuple((asked[pose.category].names[a], asked[pose.category].names[b]) for a, b in pose.edges) for pose in found
    )
    return dataclasses.replace(
        found if settings.index_pixels else in_records_pixels(found),
        categories=tuple(asked[name].category.name for name in found.categories),
        keypoint_names=names,
        canonical_names=names,
        edges=edges,
    )
