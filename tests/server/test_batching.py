"""Batches of equal pictures, several threads, the bounded queue, deadlines and the end."""

from __future__ import annotations

import pytest
from tests.server.conftest import PATIENCE, StubDetector, prepared

from xpose.inference.options import DetectionOptions
from xpose.server.batching import Batcher
from xpose.server.limits import RefusalError
from xpose.server.metrics import Metrics

ANY = DetectionOptions()


def started(detector: StubDetector, queue: int = 100, batch_size: int = 4) -> Batcher:
    return Batcher(detector, queue, batch_size, Metrics())  # type: ignore[arg-type]


def test_waiting_pictures_of_equal_size_and_options_share_a_call_and_keep_their_results():
    detector = StubDetector()
    batcher = started(detector)
    first = batcher.submit(prepared(), [], ANY)
    assert detector.entered.acquire(timeout=PATIENCE)  # the rest arrives while the network runs
    sizes = [(8, 8), (8, 16), (8, 8), (8, 16), (8, 8), (8, 8), (8, 8)]
    others = [batcher.submit(prepared(*size), [], ANY) for size in sizes]
    strict = batcher.submit(prepared(), [], DetectionOptions(threshold=0.9))
    detector.gate.set()
    results = [future.result(PATIENCE) for future in (first, *others, strict)]
    batcher.close()
    assert [poses.image_size for poses in results] == [(8, 8), *sizes, (8, 8)]
    assert detector.batches == [[(8, 8)], [(8, 8)] * 4, [(8, 16)] * 2, [(8, 8)], [(8, 8)]]
    assert b"xpose_batch_pictures_sum 9.0" in batcher.metrics.text()


def test_an_engine_for_several_calls_at_once_gets_them_one_by_one():
    detector = StubDetector(calls=2)
    batcher = started(detector)
    futures = [batcher.submit(prepared(), [], ANY) for _ in range(5)]
    for _ in range(2):
        assert detector.entered.acquire(timeout=PATIENCE), "two calls run at once"
    assert not detector.entered.acquire(timeout=0.05), "but no third one"
    detector.gate.set()
    for future in futures:
        future.result(PATIENCE)
    batcher.close()
    assert detector.batches == [[(8, 8)]] * 5


def test_a_picture_that_fails_does_not_spoil_its_batch():
    detector = StubDetector()
    detector.fails = {9}
    batcher = started(detector)
    blocker = batcher.submit(prepared(), [], ANY)
    assert detector.entered.acquire(timeout=PATIENCE)
    images = [prepared(), prepared(9), prepared()]
    images[1] = type(images[1])(images[1].values, (8, 8), images[1].size, images[1].frame, None)
    good, bad, after = (batcher.submit(image, [], ANY) for image in images)
    detector.gate.set()
    assert [future.result(PATIENCE).image_size for future in (blocker, good, after)] == [(8, 8)] * 3
    with pytest.raises(RuntimeError, match="no"):
        bad.result(PATIENCE)
    assert batcher.submit(prepared(), [], ANY).result(PATIENCE) is not None
    batcher.close()


def test_a_full_queue_refuses_and_says_when_to_return():
    batcher = started(StubDetector(), queue=3)
    with batcher.places(2):
        with pytest.raises(RefusalError, match=r"busy: 2 of 3 places.*Try again in 1 s") as refused, batcher.places(2):
            pass
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        with batcher.places(1):
            assert batcher.open == 3
            assert b"xpose_queue_pictures 3.0" in batcher.metrics.text()
    assert batcher.open == 0
    batcher.close()


def test_cancelled_pictures_never_reach_the_network_and_closing_finishes_the_rest():
    detector = StubDetector()
    batcher = started(detector)
    first = batcher.submit(prepared(), [], ANY)
    assert detector.entered.acquire(timeout=PATIENCE)
    late, kept = batcher.submit(prepared(16), [], ANY), batcher.submit(prepared(24), [], ANY)
    assert late.cancel()
    detector.gate.set()
    batcher.close()
    assert first.done()
    assert kept.result(0).image_size == (24, 8)
    assert [(16, 8)] not in detector.batches
    with pytest.raises(RefusalError, match="stopping"):
        batcher.submit(prepared(), [], ANY)
