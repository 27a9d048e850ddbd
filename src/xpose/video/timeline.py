"""Interpolates tracks between detections, and smooths them.

Detections stay as they are: interpolated poses are marked, and smoothed coordinates are kept beside the others.

Letters: N poses of a frame, K keypoints.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xpose.results import Poses
from xpose.video.sources import Frame
from xpose.video.tracker import Doubt

_FORGET = 1.0  # seconds without a keypoint, after which its smoothing starts again
# The One-Euro filter: cutoff frequencies in Hz, for sizes of 1 and speeds in sizes per second.
_REST, _OF_SPEED, _SPEEDS = 1.5, 2.0, 2.0


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """One frame with the tracked objects.

    Attributes:
        number: of the frame in its source, from 0.
        time: in seconds.
        pixels: the upright RGB bytes [height, width, 3]; None if nobody needs them.
        poses: the objects with their `track_ids`, best first; as detected, or interpolated between detections.
        interpolated: [N] bool.
        smooth: [N, K, 2] the smoothed coordinates, NaN where a keypoint is absent; None without smoothing.
        doubts: tracks that may have been confused in this frame.
    """

    number: int
    time: float
    pixels: np.ndarray | None
    poses: Poses
    interpolated: np.ndarray
    smooth: np.ndarray | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(eq=False)
class _Waiting:
    frame: Frame
    poses: Poses | None  # None between two frames in which objects were detected
    doubts: tuple[Doubt, ...]
    between: list[Poses] = field(default_factory=list)


class Timeline:
    """Takes the frames of a video in order, and returns each one as soon as nothing in it can change any more."""

    def __init__(self, fill_gaps: int = 0, smooth: bool = False) -> None:
        """`fill_gaps` is the largest number of frames between two detections of a track that are interpolated."""
        self._fill = fill_gaps
        self._filters: dict[int, OneEuro] | None = {} if smooth else None
        self._waiting: deque[_Waiting] = deque()
        self._last: dict[int, tuple[Frame, Poses]] = {}  # the last detection of each track
        self._sampled: Frame | None = None  # the last frame in which objects were detected
        self._size = (1, 1)

    def push(self, frame: Frame, poses: Poses | None, doubts: tuple[Doubt, ...] = ()) -> list[TrackedFrame]:
        """Add a frame with its tracked poses, or None if nothing was detected in it on purpose."""
        self._waiting.append(_Waiting(frame, poses, doubts))
        if poses is None:
            return []
        assert poses.track_ids is not None
        self._size = poses.image_size
        for row, track_id in enumerate(poses.track_ids.tolist()):
            current = poses[[row]]
            if track_id in self._last:
                before, earlier = self._last[track_id]
                if before is self._sampled or frame.number - before.number - 1 <= self._fill:
                    self._interpolate(before, earlier, frame, current)
            self._last[track_id] = (frame, current)
        self._sampled = frame
        oldest = frame.number - self._fill
        self._last = {
            track_id: entry
            for track_id, entry in self._last.items()
            if entry[0] is frame or entry[0].number >= oldest - 1
        }
        return self._ready(oldest)

    def finish(self) -> list[TrackedFrame]:
        """The frames that are left at the end of the video."""
        return self._ready(None)

    def _interpolate(self, before: Frame, earlier: Poses, after: Frame, later: Poses) -> None:
        for entry in self._waiting:
            if before.number < entry.frame.number < after.number:
                share = (entry.frame.time - before.time) / (after.time - before.time)
                entry.between.append(_between(earlier, later, share))

    def _ready(self, newest: int | None) -> list[TrackedFrame]:
        ready = []
        while self._waiting and (newest is None or self._waiting[0].frame.number <= newest):
            entry = self._waiting.popleft()
            poses = entry.poses
            if poses is None:
                poses = replace(Poses.empty(self._size), track_ids=np.zeros(0, np.int64))
            detected = poses.track_ids
            if entry.between:
                poses = Poses.concatenate([poses, *entry.between])
            assert detected is not None
            assert poses.track_ids is not None
            frame, interpolated = entry.frame, ~np.isin(poses.track_ids, detected)
            smooth = self._smooth(frame.time, poses)
            ready.append(
                TrackedFrame(frame.number, frame.time, frame.pixels, poses, interpolated, smooth, entry.doubts)
            )
        return ready

    def _smooth(self, time: float, poses: Poses) -> np.ndarray | None:
        if self._filters is None:
            return None
        smooth = np.full(poses.xy.shape, np.nan)
        for row, pose in enumerate(poses):
            assert pose.track_id is not None
            smoothing = self._filters.setdefault(pose.track_id, OneEuro(len(pose.names)))
            size = max(float(np.sqrt(pose.area)), 1.0)
            smooth[row, : len(pose.names)] = smoothing(time, pose.xy, pose.visibility > 0, size)
        self._filters = {key: kept for key, kept in self._filters.items() if time - kept.time <= _FORGET}
        return smooth


class OneEuro:
    """The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) for K points.

    It is a low-pass filter whose cutoff frequency rises with the speed: points at rest do not tremble, and points that
    move lag little behind. Speeds are in sizes of the object per second, so that all videos are smoothed alike.
    """

    def __init__(self, count: int) -> None:
        self.time = -np.inf
        self._seen = np.full(count, -np.inf)  # when each point was present
        self._xy = np.zeros((count, 2))
        self._speed = np.zeros((count, 2))

    def __call__(self, time: float, xy: np.ndarray, present: np.ndarray, size: float) -> np.ndarray:
        """The smoothed points [K, 2]; NaN where they are absent."""
        elapsed = (time - self._seen)[:, None]
        begins = ~(elapsed <= _FORGET)
        elapsed = np.where(begins, 1.0, np.maximum(elapsed, 1e-6))
        speed = np.where(begins, 0.0, (xy - self._xy) / elapsed)
        share = _share(_SPEEDS, elapsed)
        speed = np.where(begins, 0.0, self._speed + share * (speed - self._speed))
        cutoff = _REST + _OF_SPEED * np.hypot(*speed.T)[:, None] / size
        share = np.where(begins, 1.0, _share(cutoff, elapsed))
        smooth = np.where(begins, xy, self._xy + share * (xy - self._xy))
        there = present[:, None]
        self._xy, self._speed = np.where(there, smooth, self._xy), np.where(there, speed, self._speed)
        self._seen = np.where(present, time, self._seen)
        self.time = time
        return np.where(there, smooth, np.nan)


def _share(cutoff: np.ndarray | float, elapsed: np.ndarray) -> np.ndarray:
    """The weight of a new value in a low-pass filter with this cutoff frequency."""
    weight: np.ndarray = 1 / (1 + 1 / (2 * np.pi * cutoff * elapsed))
    return weight


def _between(a: Poses, b: Poses, share: float) -> Poses:
    """A pose between two of one object; keypoints that are absent in one of them are absent."""
    count = len(a.keypoint_names[0])

    def mixed(name: str) -> Any:
        first, second = getattr(a, name), getattr(b, name)
        if first is None or second is None:
            return None
        if name != "boxes" and first.ndim > 1:
            first, second = first[:, :count], second[:, :count]
        return first + np.float32(share) * (second - first)

    return replace(
        a,
        boxes=mixed("boxes"),
        scores=mixed("scores"),
        xy=mixed("xy"),
        keypoint_scores=mixed("keypoint_scores"),
        keypoint_errors=mixed("keypoint_errors"),
        visibility=np.minimum(a.visibility[:, :count], b.visibility[:, :count]),
    )
