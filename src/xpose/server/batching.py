"""Pictures of all requests, in calls of the network.

Engines that gain from several calls at once (`Detector.side_by_side`) get one thread for each; the others get one
thread that combines waiting pictures of equal input size and options in a batch. No picture waits for others to come.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xpose.inference.options import DetectionOptions
from xpose.server.limits import RefusalError
from xpose.server.metrics import Metrics

if TYPE_CHECKING:
    from xpose.inference import Detector
    from xpose.inference.encoded import EncodedClass, PreparedImage
    from xpose.results import Poses


@dataclass(eq=False)
class _Job:
    """A picture to search; its future is cancelled when the deadline of its request has passed."""

    image: PreparedImage
    classes: list[EncodedClass]
    options: DetectionOptions
    future: Future[Poses] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)

    def key(self) -> Hashable:
        """Equal for jobs that can share a batch."""
        return (self.image.input_size, self.options)


class Batcher:
    """Threads that run the network on the pictures of all requests.

    Attributes:
        calls: the number of threads.
        batch_size: the largest number of pictures in a call.
        open: the pictures for which there is a place in the queue, from `places` to the result.
    """

    def __init__(self, detector: Detector, queue: int, batch_size: int, metrics: Metrics) -> None:
        self.detector, self.calls = detector.side_by_side()
        self.batch_size = batch_size if self.calls == 1 else 1
        self.queue, self.metrics, self.open = queue, metrics, 0
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._pace = 0.1  # seconds for a picture, with all threads together
        metrics.watch_queue(lambda: self.open)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.calls)]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold places in the queue; the request is refused if there are too few."""
        with self._changed:
            if self.open + count > self.queue:
                wait = max(1, math.ceil(self._pace * self.open))
                raise RefusalError(
                    429,
                    f"The server is busy: {self.open} of {self.queue} places in its queue are taken. Try again in "
                    f"{wait} s.",
                    **{"Retry-After": str(wait)},
                )
            self.open += count
        try:
            yield
        finally:
            with self._changed:
                self.open -= count

    def submit(self, image: PreparedImage, classes: list[EncodedClass], options: DetectionOptions) -> Future[Poses]:
        """Search a picture; cancel the future to give up."""
        job = _Job(image, classes, options)
        with self._changed:
            if self._closed:
                raise RefusalError(503, "The server is stopping. Try another one.")
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Finish all pictures, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next():
            now = time.perf_counter()
            for job in batch:
                self.metrics.stage("wait", now - job.since)
            self.metrics.batch(len(batch))
            with self.metrics.timed("network"):
                self._detect(batch)
            seconds = (time.perf_counter() - now) / len(batch) / self.calls
            self._pace += 0.1 * (seconds - self._pace)

    def _next(self) -> list[_Job]:
        """The oldest job and others like it; none when the server has stopped and everything is done."""
        with self._changed:
            while True:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs:
                    return []
                key = self._jobs[0].key()
                chosen = [job for job in self._jobs if job.key() == key][: self.batch_size]
                for job in chosen:
                    self._jobs.remove(job)
                running = [job for job in chosen if job.future.set_running_or_notify_cancel()]
                if running:
                    return running

    def _detect(self, batch: Sequence[_Job]) -> None:
        try:
            results = self.detector.detect(
                [job.image for job in batch],
                per_image=[job.classes for job in batch],
                batch_size=len(batch),
                options=batch[0].options,
            )
        except Exception as error:  # goes to the request; the thread lives on
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for job in batch:  # one picture must not spoil the others
                self._detect([job])
            return
        for job, poses in zip(batch, results, strict=True):
            job.future.set_result(poses)
