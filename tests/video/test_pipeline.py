"""From a source to tracked frames, with a detector that reads the frame's number."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from tests.video.clips import number_of, numbered
from tests.video.scenes import animal, poses_of

from xpose.errors import ConfigError, ImageError
from xpose.results import Poses
from xpose.video.pipeline import TrackOptions, track_frames
from xpose.video.sources import Frame, PictureSequence, SkippedFrames
from xpose.video.timeline import TrackedFrame


def detect(prepared: tuple[int, np.ndarray]) -> Poses:
    return poses_of([animal(20.0 + prepared[0], 50, 0)])


def prepare(pixels: np.ndarray) -> tuple[int, np.ndarray]:
    return number_of(pixels), pixels


def sequence(frames: int, broken: tuple[int, ...] = ()) -> PictureSequence:
    pictures: list = [b"broken" if number in broken else numbered(number) for number in range(frames)]
    return PictureSequence("pictures", pictures, 25.0, 0.0, None)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 50])
def test_every_frame_comes_out_once_and_the_last_one_is_detected(every: int) -> None:
    detected: list[int] = []

    def noting(prepared: tuple[int, np.ndarray]) -> Poses:
        detected.append(prepared[0])
        return detect(prepared)

    frames = [*track_frames(sequence(12), prepare, noting, TrackOptions(every=every))]
    assert [frame.number for frame in frames if isinstance(frame, TrackedFrame)] == [*range(12)]
    assert detected == sorted({*range(0, 12, every), 11})
    for frame in frames:
        assert isinstance(frame, TrackedFrame)
        assert number_of(frame.pixels) == frame.number
        assert frame.poses.track_ids.tolist() == [1]
        assert frame.interpolated.tolist() == [frame.number not in detected]
        np.testing.assert_allclose(frame.poses.xy[0], animal(20 + frame.number, 50, 0), atol=1e-4)


def test_skipped_frames_are_told_and_do_not_shift_others() -> None:
    items = [*track_frames(sequence(9, (3, 4, 6)), prepare, detect, TrackOptions(every=3))]
    assert sorted(item.number for item in items) == [*range(9)]
    assert [item.number for item in items if isinstance(item, SkippedFrames)] == [3, 4, 6]
    frames = [item for item in items if isinstance(item, TrackedFrame)]
    assert [frame.number for frame in frames if not frame.interpolated.any()] == [0, 5, 8]


def test_an_endless_video_is_read_only_as_far_as_needed() -> None:
    read = []

    class Endless(PictureSequence):
        def frames(self, after: Frame | None = None, *, exact: bool = False) -> Iterator[Frame]:
            for number in range(1_000_000):
                read.append(number)
                yield Frame(number, number / 25, numbered(number % 200))

    stream = track_frames(Endless("endless", [], 25.0, 0.0, None), prepare, detect, TrackOptions(every=4))
    for _ in range(50):
        next(stream)
        assert len(read) <= 50 + 20
    stream.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_errors_of_the_preparation_reach_the_caller() -> None:
    def refuse(pixels: np.ndarray) -> None:
        raise ImageError("The region reaches beyond the picture.")

    with pytest.raises(ImageError, match="The region"):
        [*track_frames(sequence(3), refuse, detect, TrackOptions())]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"every": 1.5}, {"fill_gaps": -1}])
def test_numbers_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        TrackOptions(**wrong)
