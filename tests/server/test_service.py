"""Requests while the network is busy: a full queue, a deadline, and the end of the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tests.server.conftest import LIMITS, PATIENCE, Site, served
from tests.server.test_app import DOG, ENCODED

from xpose.inference import Detector

BODY = {"images": [ENCODED], "prompts": [DOG]}


class Gate:
    """Holds the network until `open` is set."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.entered, detect = (
            threading.Event(),
            threading.Semaphore(0),
            site.service.batcher.detector.detect,
        )

        def held(*args: Any, **options: Any) -> Any:
            self.entered.release()
            assert self.open.wait(PATIENCE)
            return detect(*args, **options)

        monkeypatch.setattr(site.service.batcher.detector, "detect", held)


@pytest.fixture
def busy(tiny: Detector, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Gate]]:
    with served(tiny, replace(LIMITS, deadline=20.0)) as site:
        gate = Gate(site, monkeypatch)
        try:
            yield site, gate
        finally:
            gate.open.set()


def test_a_full_queue_a_deadline_and_the_end(busy: tuple[Site, Gate]):
    site, gate = busy
    with ThreadPoolExecutor(4) as pool:
        taken = pool.submit(site.post, "/v1/detect", BODY)
        assert gate.entered.acquire(timeout=PATIENCE)
        status, answer = site.post("/v1/detect", BODY | {"deadline": 1})
        assert (status, answer["detail"][:21]) == (504, "The deadline of 1 s h")
        assert site.service.batcher.open == 1, "a request without an answer in time holds no place"
        waiting = pool.submit(site.post, "/v1/detect", {"images": [ENCODED] * 3, "prompts": [DOG]})
        while site.service.batcher.open < LIMITS.queue:
            assert not waiting.done()
        status, answer, headers = site.ask("POST", "/v1/detect", BODY_BYTES, content_type="application/json")
        assert status == 429
        assert int(headers["retry-after"]) >= 1
        assert "busy" in answer["detail"]
        assert site.ask("GET", "/healthz")[0] == 200, "the rest answers"
        site.server.should_exit = True  # as SIGTERM does
        while True:
            try:
                site.ask("GET", "/healthz")
            except OSError:
                break
        gate.open.set()
        assert taken.result(PATIENCE)[0] == 200, "what was taken is finished"
        assert [len(result) for result in [waiting.result(PATIENCE)[1]["results"]]] == [3]


BODY_BYTES = b'{"images": ["%s"], "prompts": [{"object": "dog", "keypoints": ["nose"]}]}' % ENCODED.encode()
