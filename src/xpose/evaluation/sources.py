"""Sources of answers: our detector here; results files and other systems give the same kind of answer.

Sources return `Poses` in the pixels and under the names of the records. Only this module converts a detector's answer:
it subtracts half a pixel (records use pixel indices, a detector continuous coordinates), and replaces the prompt's
words by the record's names.
"""

from __future__ import annotations

import copyreg
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from xpose.errors import WordWarning, XPoseError
from xpose.evaluation.answers import Answers
from xpose.evaluation.matching import in_records_pixels, match, mirror_names
from xpose.evaluation.questions import Question, Settings, Task
from xpose.geometry import flip_boxes, pairwise_iou
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.inference import Detector, EncodedImage
    from xpose.inference.options import DetectionOptions

SAME_OBJECT = 0.5  # IoU from which boxes of a picture and of its mirror image show one object


class AnswerSource(Protocol):
    """Anything that answers questions about pictures."""

    name: str
    batch: int  # pictures per call

    @property
    def identity(self) -> str:
        """A checksum of its weights or its file, different for every source."""

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """Each task's answers to its questions, in the records' pixels and names."""


class DetectorSource:
    """Our own detector.

    Pictures with one question go through the network together, `batch` at a time; a picture with several questions is
    encoded once and decoded once per question.
    """

    together = True

    def __init__(self, detector: Detector, batch: int = 1) -> None:
        self.detector, self.batch = detector, batch
        self.name = detector.name

    @property
    def identity(self) -> str:
        """The sha256 of all weights."""
        return self.detector.engine.identity

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """For each task the answers to its questions."""
        # Protocols use unknown and misspelt words on purpose.
        with warnings.catch_warnings(action="ignore", category=WordWarning):
            straight = self._ask(tasks, pixels, settings)
            if not settings.flip:
                return straight
            mirrored = self._ask(tasks, [np.ascontiguousarray(picture[:, ::-1]) for picture in pixels], settings)
        return [
            tuple(map(merged, answers, flipped, task.questions))
            for task, answers, flipped in zip(tasks, straight, mirrored, strict=True)
        ]

    def _ask(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        usual = self.detector.engine.config.instances
        single = [n for n, task in enumerate(tasks) if self.together and len(task.questions) == 1]
        together = [n for n in single if (tasks[n].questions[0].most or 1) <= usual]
        answers: dict[int, Answers] = {}
        if len(together) > 1:
            predicted = self.detector.detect(
                [pixels[n] for n in together],
                per_image=[tasks[n].questions[0].prompts() for n in together],
                batch_size=len(together),
                options=options_of(settings),
            )
            for n, poses in zip(together, predicted, strict=True):
                question = tasks[n].questions[0]
                answers[n] = (in_records_words(poses[: question.most], question, settings),)
        for n, task in enumerate(tasks):
            if n not in answers and task.questions:
                image = self.detector.encode_image(pixels[n], side=settings.side)
                answers[n] = tuple(self._one(image, question, settings) for question in task.questions)
        return [answers.get(n, ()) for n in range(len(tasks))]

    def _one(self, image: EncodedImage, question: Question, settings: Settings) -> Poses:
        predicted = self.detector.detect(image, question.prompts(), options=options_of(settings, question.most))
        return in_records_words(predicted, question, settings)


def open_detector(weights: str | None = None, *, batch: int = 1, **options: Any) -> DetectorSource:
    """A detector as a source, with options as for `load`; picklable for other processes."""
    from xpose.inference import load

    return DetectorSource(load(weights, **options), batch)


copyreg.pickle(MappingProxyType, lambda proxy: (MappingProxyType, (dict(proxy),)))  # records contain some
SourceMaker = Callable[[], AnswerSource]  # a module's function, or a partial of one, so that it can be pickled


class ParallelSource:
    """Several processes that answer in parallel, each with its own copy of `source`, which `make` opens."""

    def __init__(self, source: AnswerSource, make: SourceMaker, processes: int) -> None:
        self._make, self._step = make, source.batch
        self.name, self.identity, self.batch = source.name, source.identity, processes * source.batch
        self._threads = max(1, (os.cpu_count() or 1) // processes)
        self._pool = ProcessPoolExecutor(  # this process alone handles Ctrl-C
            processes, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
        )

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """Each task's answers to its questions; re-raises the error of a process."""
        parts = [slice(start, start + self._step) for start in range(0, len(tasks), self._step)]
        futures = [
            self._pool.submit(_answer_in_process, self._make, self._threads, tasks[part], pixels[part], settings)
            for part in parts
        ]
        try:
            return [answers for future in futures for answers in future.result()]
        except BrokenProcessPool:
            raise XPoseError(
                "A process ended unexpectedly; it may have run out of memory. Run the same command again, with fewer "
                "--processes: the answers so far are kept."
            ) from None

    def close(self) -> None:
        """Stop the processes."""
        self._pool.shutdown(cancel_futures=True)


class RaySource:
    """Actors of Ray that answer in parallel, each with its own copy of `source`; a lost one is replaced."""

    def __init__(self, source: AnswerSource, make: SourceMaker, processes: int, gpus: float, ray: Any) -> None:
        self._ray, self._step = ray, source.batch
        self.name, self.identity, self.batch = source.name, source.identity, processes * source.batch
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(_Answering)
        self._actors = [actor.remote(make) for _ in range(processes)]

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """Each task's answers to its questions; re-raises the error of an actor."""
        parts = [slice(start, start + self._step) for start in range(0, len(tasks), self._step)]
        answers = [
            actor.answer.remote(tasks[part], pixels[part], settings)
            for actor, part in zip(self._actors, parts, strict=False)
        ]
        try:
            return [of_task for of_part in self._ray.get(answers) for of_task in of_part]
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None


class _Answering:
    """A process of a cluster that has opened a source."""

    def __init__(self, make: SourceMaker) -> None:
        self._source = make()

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        return self._source.answer(tasks, pixels, settings)


def _answer_in_process(
    make: SourceMaker, threads: int, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings
) -> list[Answers]:
    if not _in_process:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # for other runtimes
        _in_process.append(make())
    return _in_process[0].answer(tasks, pixels, settings)


_in_process: list[AnswerSource] = []  # the source of this process, once opened


def options_of(settings: Settings, most: int | None = None) -> DetectionOptions:
    """The detector's options for these settings; `most` is the largest number of answers."""
    from xpose.inference.options import DetectionOptions

    return DetectionOptions(
        threshold=None if settings.threshold == "weights" else settings.threshold,
        rivals=None if settings.stored_thresholds or settings.rivals else (),
        max_instances=most,
        side=settings.side,
    )


def trimmed(predicted: Poses, question: Question) -> Poses:
    """The answers that can matter if the question is trimmed: protocols with a million questions keep few."""
    if not question.trim or len(predicted) < 2:
        return predicted
    fitting = [row for row in match(question.truth, predicted) if row is not None]
    return predicted[sorted({int(predicted.scores.argmax()), *fitting})]


def in_records_words(predicted: Poses, question: Question, settings: Settings) -> Poses:
    """A detector's answer in the pixels and under the names of records; see `Settings.index_pixels`."""
    classes = {asked.called: asked for asked in question.asked}
    words = [(pose, classes[pose.category].names) for pose in predicted]
    names = tuple(tuple(of_record[name] for name in pose.names) for pose, of_record in words)
    return replace(
        predicted if settings.index_pixels else in_records_pixels(predicted),
        categories=tuple(classes[name].category.name for name in predicted.categories),
        keypoint_names=names,
        canonical_names=names,
        edges=tuple(tuple((of_record[a], of_record[b]) for a, b in pose.edges) for pose, of_record in words),
    )


def merged(straight: Poses, mirrored: Poses, question: Question) -> Poses:
    """The mean of the answers for a picture and for its mirror image, both in records' pixels and names.

    Each pose is merged with the mirror image's pose that overlaps it most: box, points and scores are averaged. A pose
    without a counterpart does not change. Unmatched poses of the mirror image are dropped.
    """
    other = unflipped(mirrored, question)
    if not len(straight) or not len(other):
        return straight
    same = np.array([[a == b for b in other.categories] for a in straight.categories])
    overlap = pairwise_iou(straight.boxes.astype(np.float64), other.boxes.astype(np.float64)) * same
    boxes, xy = straight.boxes.copy(), straight.xy.copy()
    scores, points = straight.scores.copy(), straight.keypoint_scores.copy()
    for row in np.flatnonzero(overlap.max(1) >= SAME_OBJECT):
        partner = int(overlap[row].argmax())
        boxes[row] = (boxes[row] + other.boxes[partner]) / 2
        scores[row] = (scores[row] + other.scores[partner]) / 2
        places = {name: k for k, name in enumerate(other.keypoint_names[partner])}
        for column, name in enumerate(straight.keypoint_names[row]):
            k = places.get(name)
            if k is not None and np.isfinite(other.xy[partner, k]).all():
                xy[row, column] = (xy[row, column] + other.xy[partner, k]) / 2
                points[row, column] = (points[row, column] + other.keypoint_scores[partner, k]) / 2
    order = np.argsort(-scores, kind="stable")
    return replace(straight, boxes=boxes, xy=xy, scores=scores, keypoint_scores=points)[order]


def unflipped(mirrored: Poses, question: Question) -> Poses:
    """An answer about the mirror image in the picture's coordinates, left and right exchanged.

    Points are in the record's pixels, where a picture of width W has its last column at W - 1.
    """
    width = mirrored.image_size[1]
    kinds = {asked.category.name: asked for asked in question.asked}
    partners = {name: mirror_names(kind.category.skeleton, tuple(kind.names.values())) for name, kind in kinds.items()}
    xy = mirrored.xy.copy()
    xy[..., 0] = width - 1 - xy[..., 0]
    names = tuple(tuple(partners[pose.category].get(name, name) for name in pose.names) for pose in mirrored)
    boxes = flip_boxes(mirrored.boxes, width)
    return replace(mirrored, boxes=boxes, xy=xy, keypoint_names=names, canonical_names=names, edges=())
