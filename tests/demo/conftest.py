"""A small detector that counts its forward passes, drawn pictures, and pages of the demo without a browser."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from tests.inference.conftest import own_detector

from xpose.demo.desk import Desk
from xpose.demo.uploads import Limits, Upload, receive
from xpose.inference import Detector


class Forwards:
    """How often the network ran on a picture."""

    def __init__(self, detector: Detector) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._decode = detector.model.decode
        detector.model.decode = self._counted  # type: ignore[method-assign]

    def _counted(self, *args: object, **options: object) -> object:
        with self._lock:
            self.count += 1
        return self._decode(*args, **options)  # type: ignore[arg-type]


def counting_detector() -> tuple[Detector, Forwards]:
    """Random weights, but fixed ones with scores of all sizes, all of which pass the usual threshold."""
    # With these two its random scores spread widely, and its points stay in the picture.
    detector = own_detector(1, thresholds={"": 0.0}, score="last", point_steps="picture")
    return detector, Forwards(detector)


@pytest.fixture(scope="module")
def counted() -> tuple[Detector, Forwards]:
    return counting_detector()


@pytest.fixture
def detector(counted: tuple[Detector, Forwards]) -> Detector:
    return counted[0]


@pytest.fixture
def forwards(counted: tuple[Detector, Forwards]) -> Forwards:
    return counted[1]


@pytest.fixture
def desk(detector: Detector) -> Desk:
    return Desk(detector, Limits(file_bytes=200_000, pixels=500_000, batch_files=4, session_bytes=600_000, sessions=3))


@pytest.fixture
def key(desk: Desk) -> str:
    return desk.sessions.open().key


def png(seed: int = 0, size: tuple[int, int] = (120, 90)) -> bytes:
    """A picture file with coarse random colours."""
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def upload() -> Upload:
    return receive(png(), "one.png", Limits())


def placed(desk: Desk, key: str, **points: tuple[float, float]) -> None:
    """Put an example picture on the page and click these points."""
    upload_id = desk.receive(key, "example", "example.png", 0, png(5, (200, 150)))
    desk.arrived(key, "example", {"arrived": [upload_id]})
    desk.name_points(key, None, ", ".join(points))
    for x, y in points.values():
        desk.act(key, {"kind": "place", "x": x, "y": y})


Place = Callable[..., None]
