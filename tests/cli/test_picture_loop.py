"""Reading ahead and writing behind the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import make_picture

from xpose.cli._inputs import Fault, InputPicture
from xpose.cli._picture_loop import _detect_each
from xpose.errors import ImageError
from xpose.inference import DetectionOptions, PreparedImage
from xpose.results import Poses

PICTURES = 8


def reached(condition: Callable[[], bool]) -> bool:
    """Whether the condition becomes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def background() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("ahead", "writer"))]


class Stages:
    """A detector and an output that write down what they do; pictures are numbered by their height."""

    def __init__(self, broken: int | None = None, unwritable: int | None = None, at_once: int = 1) -> None:
        self.broken, self.unwritable, self.at_once = broken, unwritable, at_once
        self.together = threading.Barrier(at_once, timeout=10)  # so many pictures are really detected at once
        self.read: list[int] = []
        self.detected: list[int] = []
        self.written: list[int] = []

    def side_by_side(self) -> tuple[Stages, int]:
        return self, self.at_once

    def prepare_image(self, pixels: np.ndarray, region: object) -> PreparedImage:
        height = len(pixels)
        self.read.append(height)
        if height == self.broken:
            raise ImageError(f"Picture {height} is broken.")
        return PreparedImage(pixels, (height, 20), (height, 20), (0, 0, 20, height), None)

    def detect(self, image: PreparedImage, *_: object, **__: object) -> Poses:
        height = image.size[0]
        if height != PICTURES:
            self.together.wait()
        self.detected.append(height)
        assert reached(lambda: len(self.read) >= min(height + 1, PICTURES)), "the next picture is read meanwhile"
        in_use = 2 * self.at_once + 3  # read, detected, finished and written
        assert len(self.read) <= len(self.written) + in_use + self.at_once, "and few others: those ahead"
        return Poses.empty(image.size)

    def add(self, picture: InputPicture, poses: Poses, pixels: np.ndarray) -> None:
        height = len(pixels)
        following = height + 1 + (height + 1 == self.broken)
        assert reached(lambda: following > PICTURES or following in self.detected), "the network runs meanwhile"
        if height == self.unwritable:
            raise OSError("disk full")
        self.written.append(height)

    def run(self, folder: Path) -> list[Fault | None]:
        paths = [make_picture(folder / f"{n}.png", size=(20, n)) for n in range(1, PICTURES + 1)]
        outcomes: list[Fault | None] = []
        detector: Any = self
        try:
            _detect_each(
                detector, [], [InputPicture(p, p.name, p) for p in paths], None, DetectionOptions(), self, outcomes
            )
        finally:
            self.outcomes = outcomes
            assert not background()
        return outcomes

    def finish(self, faults: object) -> None:
        raise AssertionError


@pytest.mark.parametrize("at_once", [1, 3])
def test_reading_and_writing_overlap_with_the_network(
    at_once: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order, around a broken picture."""
    stages = Stages(broken=3, at_once=at_once)
    outcomes = stages.run(tmp_path)
    assert stages.read == [*range(1, PICTURES + 1)]
    assert stages.written == sorted(stages.detected) == [n for n in stages.read if n != 3]
    assert [fault.name for fault in outcomes if fault] == ["3.png"]
    assert len(outcomes) == PICTURES
    assert "Picture 3 is broken. Skipped." in capsys.readouterr().err


def test_nothing_is_written_after_a_failed_result(tmp_path: Path) -> None:
    stages = Stages(unwritable=4)
    with pytest.raises(OSError, match="disk full"):
        stages.run(tmp_path)
    assert stages.written == [1, 2, 3]
    assert len(stages.outcomes) == 3
    assert stages.detected[-1] == 5
