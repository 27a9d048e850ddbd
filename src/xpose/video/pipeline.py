"""From the frames of a source to tracked frames: reading ahead, detecting, tracking, interpolating."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar

import numpy as np

from xpose.errors import ConfigError
from xpose.pictures.ahead import ahead
from xpose.results import Poses
from xpose.video.journal import VideoJournal
from xpose.video.sources import Frame, SkippedFrames, Source
from xpose.video.timeline import Timeline, TrackedFrame
from xpose.video.tracker import Tracker

_Prepared = TypeVar("_Prepared")


@dataclass(frozen=True)
class TrackOptions:
    """How a video is tracked.

    Attributes:
        every: detect in every n-th frame, and interpolate between them.
        fill_gaps: interpolate where an object was not detected in up to so many frames.
        smooth: also return smoothed coordinates.

    Raises:
        ConfigError: a number is out of range.
    """

    every: int = 1
    fill_gaps: int = 0
    smooth: bool = False

    def __post_init__(self) -> None:
        for name, least in (("every", 1), ("fill_gaps", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} is {value!r}. It must be a whole number of at least {least}.")


def track_frames(
    source: Source,
    prepare: Callable[[np.ndarray], _Prepared],
    detect: Callable[[_Prepared], Poses],
    options: TrackOptions,
    journal: VideoJournal | None = None,
    drawn: int = 0,
    at_once: int = 1,
) -> Generator[TrackedFrame | SkippedFrames, None, None]:
    """Every frame of the source with its tracked objects, and the stretches that cannot be read, in order.

    Args:
        source: where the frames come from.
        prepare: prepares a picture for the network, in a thread that reads ahead.
        detect: runs the network.
        options: how to track.
        journal: keeps the detections. Those that it holds already are not detected again.
        drawn: the number of frames whose pixels are not needed any more, of those that the journal holds.
        at_once: the number of calls of `detect` that run at the same time.

    Raises:
        ImageError: the source cannot be read.
        ConfigError: the frames are not those of the journal.
    """
    tracker, timeline = Tracker(), Timeline(options.fill_gaps, options.smooth)
    for item, poses in _detected(source, prepare, detect, options.every, journal, drawn, at_once):
        if isinstance(item, SkippedFrames):
            yield item
            continue
        tracked = None if poses is None else tracker.update(item.time, poses)
        yield from timeline.push(item, tracked, () if poses is None else tuple(tracker.doubts))
    yield from timeline.finish()


@dataclass(frozen=True, eq=False)
class _Reading:
    item: Frame | SkippedFrames
    recorded: bool
    poses: Poses | None  # if they are recorded
    prepared: Any  # None if the network is not to run


def _detected(
    source: Source,
    prepare: Callable[[np.ndarray], _Prepared],
    detect: Callable[[_Prepared], Poses],
    every: int,
    journal: VideoJournal | None,
    drawn: int,
    at_once: int,
) -> Iterator[tuple[Frame | SkippedFrames, Poses | None]]:
    reader = _readings(source, prepare, every, journal, drawn)

    def detected(entry: tuple[int, Future[_Reading | None]]) -> tuple[_Reading, Poses | None] | None:
        reading = entry[1].result()
        if reading is None or reading.prepared is None:
            return None if reading is None else (reading, reading.poses)
        return reading, replace(detect(reading.prepared), source=None)

    with (
        ahead(lambda _: next(reader, None), count(), at_once * every + 1) as readings,
        ahead(detected, readings, at_once * every, threads=at_once if at_once > 1 else 0) as detections,
    ):
        for _, future in detections:
            outcome = future.result()
            if outcome is None:
                return
            reading, poses = outcome
            if journal is not None and not reading.recorded:
                poses = journal.add(reading.item, poses)
            yield reading.item, poses


def _readings(
    source: Source, prepare: Callable[[np.ndarray], Any], every: int, journal: VideoJournal | None, drawn: int
) -> Iterator[_Reading]:
    """The recorded frames, as long as nobody needs their pixels, and then those of the source.

    Objects are detected in every n-th frame and in the last one.
    """
    records = iter(()) if journal is None else journal.records()
    last: Frame | None = None
    sampled = -every  # the number of the last frame in which objects were detected
    while drawn:
        item, poses = next(records)
        if isinstance(item, Frame):
            last, drawn = item, drawn - 1
            sampled = sampled if poses is None else item.number
        yield _Reading(item, True, poses, None)
    items = source.frames(last, exact=journal is not None and journal.faulty)
    current = next(items, None)
    while current is not None:
        following, known, due = next(items, None), next(records, None), False
        if known is not None:
            if (type(known[0]), known[0].number) != (type(current), current.number):
                raise ConfigError(
                    f"{source.name} gives frame {current.number} where the interrupted run had frame "
                    f"{known[0].number}. The video has changed. Start over with --fresh."
                )
            due = known[1] is not None
            yield _Reading(current, True, known[1], None)
        elif isinstance(current, SkippedFrames):
            yield _Reading(current, False, None, None)
        else:
            due = current.number >= sampled + every or following is None
            assert current.pixels is not None
            yield _Reading(current, False, None, prepare(current.pixels) if due else None)
        sampled = current.number if due else sampled
        current = following
