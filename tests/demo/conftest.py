"""A small detector that counts its forward passes, drawn pictures, and pages of the demo without a browser."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inference.conftest import Sentences, own_detector

from xpose.demo.controller import Controller, Session
from xpose.demo.pictures import Limits, UploadedPicture
from xpose.inference import Detector
from xpose.model.prompting import NanoTextEncoder


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
    detector.prompts._make_text = lambda: NanoTextEncoder(Sentences())
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
def controller(detector: Detector) -> Controller:
    return Controller(detector, Limits(file_bytes=200_000, pixels=500_000, pictures=4, pages=3))


@pytest.fixture
def session(controller: Controller) -> Session:
    return controller.session("a page")


def png(seed: int = 0, size: tuple[int, int] = (120, 90)) -> bytes:
    """A picture file with coarse random colours."""
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def picture(tmp_path: Path) -> UploadedPicture:
    return saved(tmp_path, "one.png")


def saved(folder: Path, name: str, seed: int = 0, size: tuple[int, int] = (120, 90)) -> UploadedPicture:
    """A picture in a file."""
    (folder / name).write_bytes(png(seed, size))
    return UploadedPicture(folder / name, name)


def uploads(folder: Path, count: int = 1) -> list[tuple[str, str]]:
    """Uploaded pictures as the page gives them: path and name."""
    return [(str(saved(folder, f"{number}.png", number).path), f"{number}.png") for number in range(count)]


def place(controller: Controller, session: Session, folder: Path, **points: tuple[float, float]) -> None:
    """Upload an example picture and click these points, given in its own pixels."""
    controller.add_example(session, str(saved(folder, "example.png", 5, (200, 150)).path))
    controller.show_skeleton(session, "", "Automatic", ", ".join(points))
    scale = session.examples.shot.picture.shown.width / 200
    for x, y in points.values():
        controller.click(session, [x * scale, y * scale])
