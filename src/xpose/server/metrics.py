"""Measurements for Prometheus. Labels have few values, none of which a client chooses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from xpose.errors import missing_extra

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters and histograms of one server."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError:
            raise missing_extra("The server", "prometheus-client", "serve") from None
        self.registry = registry = CollectorRegistry()
        labels = ["route", "status"]
        self._requests = Counter("xpose_requests_total", "Answered requests.", labels, registry=registry)
        self._seconds = Histogram(
            "xpose_request_seconds", "Time from request to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._stages = Histogram(
            "xpose_stage_seconds",
            "Time in a stage: receive, prompts, pictures, wait, network.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "xpose_batch_pictures",
            "Pictures in a call of the network.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self._queue = Gauge(
            "xpose_queue_pictures", "Pictures being read, waiting, or in the network.", registry=registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Note the time in a stage."""
        self._stages.labels(name).observe(seconds)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note the time of a block, as a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stage(name, time.perf_counter() - began)

    def batch(self, pictures: int) -> None:
        """Note the size of a batch."""
        self._batches.observe(pictures)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Take the length of the queue from a function."""
        self._queue.set_function(length)

    def families(self) -> list[Any]:
        """The measurements, as objects of prometheus_client."""
        return list(self.registry.collect())

    def text(self) -> bytes:
        """The measurements in the format of Prometheus."""
        return _text(self.families())


def of_replicas(replicas: Mapping[str, Iterable[Any]]) -> bytes:
    """The measurements of several servers in the format of Prometheus, with the name of each as a label."""
    from prometheus_client import Metric

    together: dict[str, Any] = {}
    for name, families in replicas.items():
        for family in families:
            whole = together.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            whole.samples += [sample._replace(labels={**sample.labels, "replica": name}) for sample in family.samples]
    return _text(together.values())


def _text(families: Iterable[Any]) -> bytes:
    from prometheus_client import generate_latest

    return generate_latest(SimpleNamespace(collect=lambda: families))
