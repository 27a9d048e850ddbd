"""The annotated video: every frame with its own time, joined from segments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import number_of, numbered, same_frames
from tests.video.scenes import animal, poses_of

from xpose.video import annotated
from xpose.video.annotated import AnnotatedVideo, finished_frames
from xpose.video.sources import open_source
from xpose.video.timeline import TrackedFrame

pytest.importorskip("av", reason="videos need the extra video")


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotated, "FRAMES", 5)


def tracked(number: int, time: float, size: tuple[int, int] = (64, 32), **changes: object) -> TrackedFrame:
    poses = replace(poses_of([animal(20.0 + number, 24, 0)]), track_ids=np.array([3]))
    values: dict = {"pixels": numbered(number, *size), "interpolated": np.array([False])}
    return TrackedFrame(number=number, time=time, poses=poses, **(values | changes))


@pytest.mark.parametrize("codec", [None, "mpeg4"])
def test_frames_keep_their_times(tmp_path: Path, codec: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if codec:
        monkeypatch.setattr(annotated, "_encoder", lambda: (codec, {"bf": "0"}))
    times = np.cumsum([0.0, *np.random.default_rng(0).integers(10, 300, 12) / 1000])
    video = AnnotatedVideo(tmp_path / "out.mp4", tmp_path, 25.0)
    for number, time in enumerate(times.tolist()):
        video.add(tracked(number, time))
    assert finished_frames(tmp_path) == 10
    video.finish()
    frames = [*open_source(tmp_path / "out.mp4").frames()]
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1 / annotated._TICKS)
    assert [number_of(frame.pixels[8:13]) % 4 for frame in frames] == [n % 4 for n in range(13)]  # beside the animal
    assert not [*tmp_path.glob("partial*")]


def test_finished_segments_are_not_drawn_again(tmp_path: Path) -> None:
    frames = [tracked(number, number / 25) for number in range(13)]
    first = AnnotatedVideo(tmp_path / "first.mp4", tmp_path, 25.0)
    for frame in frames[:12]:
        first.add(frame)
    first.finish()
    again = AnnotatedVideo(tmp_path / "again.mp4", tmp_path, 25.0)
    for frame in frames:
        again.add(replace(frame, pixels=None) if frame.number < 10 else frame)
    again.finish()
    (tmp_path / "b").mkdir()
    whole = AnnotatedVideo(tmp_path / "b" / "whole.mp4", tmp_path / "b", 25.0)
    for frame in frames:
        whole.add(frame)
    whole.finish()
    assert same_frames(tmp_path / "again.mp4", tmp_path / "b" / "whole.mp4")


def test_odd_sizes_and_times_that_stand_still(tmp_path: Path) -> None:
    video = AnnotatedVideo(tmp_path / "out.mp4", tmp_path, 25.0)
    for number in range(6):
        video.add(tracked(number, 0.5, size=(65, 33)))
    video.finish()
    frames = [*open_source(tmp_path / "out.mp4").frames()]
    assert [frame.pixels.shape for frame in frames] == [(34, 66, 3)] * 6


def test_poses_and_trails_are_drawn_in_the_colour_of_the_track(tmp_path: Path) -> None:
    video = AnnotatedVideo(tmp_path / "out.mp4", tmp_path, 25.0)
    blank = np.full((120, 160, 3), 128, np.uint8)
    for number in range(40):
        poses = replace(poses_of([animal(30.0 + 2 * number, 60, 0)]), track_ids=np.array([3]))
        frame = TrackedFrame(number, number / 25, blank, poses, np.array([False]))
        video.add(frame)
    picture = video._drawn(frame, blank)
    changed = (picture != blank).any(-1)
    assert changed[60, 60:85].mean() > 0.9  # the trail
    assert changed[55:65, 96:120].any()  # the animal
    assert not changed[:30].any()
    without = video._drawn(replace(frame, interpolated=np.array([True])), blank)
    assert (picture != without).any()  # the box is dashed
    assert (blank == 128).all()
