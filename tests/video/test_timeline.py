"""Interpolation, gap filling and smoothing: detections stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.video.scenes import animal, jitter, lag, poses_of

from xpose.results import Poses
from xpose.video.sources import Frame
from xpose.video.timeline import OneEuro, Timeline, TrackedFrame

FPS = 30.0


def through(timeline: Timeline, detections: dict[int, Poses | None]) -> list[TrackedFrame]:
    """The frames of a timeline; detections have the ids 1, 2, ... in their order."""
    frames: list[TrackedFrame] = []
    for number, poses in detections.items():
        tracked = None if poses is None else replace(poses, track_ids=np.arange(1, len(poses) + 1))
        frames += timeline.push(Frame(number, number / FPS, None), tracked)
    return frames + timeline.finish()


def at(x: float, absent: int | None = None) -> Poses:
    visibility = np.full((1, 4), 2)
    if absent is not None:
        visibility[0, absent] = 0
    return poses_of([animal(x, 50, 0)], visibility=visibility)


def test_frames_between_detections_are_interpolated() -> None:
    frames = through(Timeline(), {n: at(10.0 + n, 2 if n == 6 else None) if n % 3 == 0 else None for n in range(8)})
    assert [frame.number for frame in frames] == [*range(8)]
    assert [frame.interpolated.tolist() for frame in frames] == [*([[False], [True], [True]] * 2), [False], []]
    for frame in frames[:7]:
        np.testing.assert_allclose(frame.poses.xy[0], animal(10 + frame.number, 50, 0), atol=1e-4)
        assert frame.poses.track_ids.tolist() == [1]
    # The back is absent in frame 6, and so between 3 and 6.
    assert [frame.poses.visibility[0, 2] for frame in frames[:7]] == [2, 2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize("most", [0, 2, 3, 5])
def test_gaps_are_filled_up_to_a_length(most: int) -> None:
    nothing = poses_of([])
    detections = {n: nothing if n in (2, 3, 4, 8) else at(10.0 + n) for n in range(12)}
    frames = through(Timeline(fill_gaps=most), detections)
    assert [frame.number for frame in frames] == [*range(12)]
    filled = {frame.number for frame in frames if frame.interpolated.any()}
    assert filled == ({2, 3, 4} if most >= 3 else set()) | ({8} if most >= 1 else set())
    for frame in frames:
        if len(frame.poses):
            np.testing.assert_allclose(frame.poses.xy[0], animal(10 + frame.number, 50, 0), atol=1e-4)
        assert len(frame.poses) == (frame.number not in {2, 3, 4, 8} - filled)


def test_a_frame_is_returned_as_soon_as_nothing_can_change() -> None:
    timeline = Timeline(fill_gaps=2)
    ready = []
    for number in range(6):
        poses = replace(at(10.0), track_ids=np.array([1]))
        ready.append([frame.number for frame in timeline.push(Frame(number, number / FPS, None), poses)])
    assert ready == [[], [], [0], [1], [2], [3]]
    assert [frame.number for frame in timeline.finish()] == [4, 5]


def wave(seconds: float = 20.0, fps: float = FPS) -> np.ndarray:
    """An animal of 40 pixels that runs back and forth, with pauses: [T, 2]."""
    time = np.arange(int(seconds * fps)) / fps
    x = np.where(time % 8 < 4, 40 * np.sin(np.pi * time), 0.0)
    return np.stack((100 + x, 80 + 0.5 * x), 1)


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
def test_smoothing_halves_the_jitter_with_less_than_a_frame_of_lag(fps: float) -> None:
    true = wave(fps=fps)
    raw = true + np.random.default_rng(0).normal(0, 1.2, true.shape)
    smoothing = OneEuro(1)
    smooth = np.array([smoothing(n / fps, xy[None], np.ones(1, bool), 40.0)[0] for n, xy in enumerate(raw)])
    assert jitter(smooth) <= 0.5 * jitter(raw)
    assert abs(lag(smooth[:, 0], true[:, 0])) < 1
    assert lag(np.roll(true[:, 0], 3), true[:, 0]) == pytest.approx(3, abs=0.3)  # the measure sees a real lag
    assert jitter(raw) == pytest.approx(1.2, rel=0.3)


def test_smoothing_keeps_raw_values_and_absent_keypoints() -> None:
    random = np.random.default_rng(1)
    detections: dict[int, Poses | None] = {
        n: poses_of([animal(60, 50, 0) + random.normal(0, 1, (4, 2))], visibility=np.array([[2, 2, 2, 2 * (n % 2)]]))
        for n in range(40)
    }
    plain, smooth = through(Timeline(), detections), through(Timeline(smooth=True), detections)
    assert [frame.smooth for frame in plain] == [None] * 40
    for raw, frame in zip(plain, smooth, strict=True):
        assert raw.poses == frame.poses
        assert np.isnan(frame.smooth[0]).any(1).tolist() == (raw.poses.visibility[0] == 0).tolist()
    points = np.array([frame.smooth[0, 0] for frame in smooth])
    assert jitter(points) < 0.5 * jitter(np.array([frame.poses.xy[0, 0] for frame in plain]))


def test_smoothing_starts_again_after_a_long_absence() -> None:
    smoothing = OneEuro(1)
    smoothing(0.0, np.zeros((1, 2)), np.ones(1, bool), 10.0)
    assert smoothing(5.0, np.full((1, 2), 90.0), np.ones(1, bool), 10.0).tolist() == [[90.0, 90.0]]
