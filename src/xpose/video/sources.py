"""The frames of a video file, a camera, or a sequence of pictures, one after the other."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from xpose.errors import ConfigError, ImageError, first_line, missing_extra, quote
from xpose.pictures import PICTURE_ENDINGS
from xpose.pictures.reading import find_pictures, natural_key, read_frames, read_picture

if TYPE_CHECKING:
    from xpose.pictures.reading import PictureSource

    VideoInput: TypeAlias = str | Path | int | Iterable[PictureSource]

DEFAULT_FPS = 25.0  # of a sequence of pictures
_STACKS = (".tif", ".tiff", ".webp")  # picture files whose frames are read by Pillow
_MOST_FAULTS = 1000  # parts of a file in a row that cannot be read, after which reading stops
_DAMAGED = "damaged"


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its number in the source, counted from 0, its time, and its upright RGB bytes [height, width, 3].

    `pixels` is None if nobody needs them, because the frame is already in the results of an interrupted run.
    """

    number: int
    time: float  # seconds
    pixels: np.ndarray | None


@dataclass(frozen=True)
class SkippedFrames:
    """A stretch of frames that cannot be used, and why."""

    number: int  # of the first frame
    count: int
    start: float  # seconds
    end: float
    reason: str


class Source(Protocol):
    """Frames in order; `expected` is their number, if it can be estimated, and `rate` the nominal frames per second."""

    name: str
    rate: float
    expected: int | None
    live: bool  # a camera, which cannot be read again

    def frames(self, after: Frame | None = None, *, exact: bool = False) -> Iterator[Frame | SkippedFrames]:
        """The frames after the given one, or all. With `exact`, everything before is decoded, which takes longer."""


def open_source(
    source: VideoInput, *, start: float | None = None, end: float | None = None, fps: float = DEFAULT_FPS
) -> Source:
    """The frames of a video file, a camera (its number), a folder or pattern of pictures, or of any pictures.

    Args:
        source: as above.
        start: skip frames before this time, in seconds.
        end: stop before this time.
        fps: the frames per second of a sequence of pictures; videos know their times.

    Raises:
        ImageError: there is no such video, or it cannot be read.
        ConfigError: a time or the rate is out of range.
    """
    start = 0.0 if start is None else start
    if not start >= 0 or (end is not None and not end > start):
        raise ConfigError(
            f"The start is {start:g} s and the end {end} s. Both must be at least 0, the end after the start."
        )
    if not 0 < fps <= 100_000:
        raise ConfigError(f"fps is {fps}. It must be a number of frames per second above 0. Most videos have 25 or 30.")
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        return VideoSource(int(source), start, end)
    if not isinstance(source, str | Path):
        return PictureSequence("pictures", source, fps, start, end)
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(find_pictures(path), key=natural_key)
        if not files:
            raise ImageError(
                f"The folder {quote(path)} contains no pictures. Pictures end in {', '.join(PICTURE_ENDINGS)}."
            )
        return PictureSequence(path.name, files, fps, start, end)
    if path.is_file():
        if path.suffix.lower() in _STACKS:
            return PictureSequence(path.stem, path, fps, start, end)
        return VideoSource(path, start, end)
    if re.search(r"[*?\[]", path.name) and path.parent.is_dir():
        files = [file for file in path.parent.glob(path.name) if file.suffix.lower() in PICTURE_ENDINGS]
        files.sort(key=natural_key)
        if not files:
            raise ImageError(f"No picture matches {quote(path)}. Check the folder and the ending.")
        return PictureSequence(path.parent.resolve().name, files, fps, start, end)
    raise ImageError(f"There is no video {quote(path)}. Check the path; cameras have numbers: 0.")


class PictureSequence:
    """Pictures as frames, at a constant rate; those that cannot be read are skipped."""

    live = False

    def __init__(
        self, name: str, pictures: Iterable[PictureSource] | Path, rate: float, start: float, end: float | None
    ) -> None:
        self.name, self.rate = name, rate
        self._pictures, self._start, self._end = pictures, start, end
        self.expected = None
        if isinstance(pictures, list):
            last = len(pictures) / rate if end is None else min(end, len(pictures) / rate)
            self.expected = max(0, round((last - start) * rate))

    def frames(self, after: Frame | None = None, *, exact: bool = False) -> Iterator[Frame | SkippedFrames]:
        """See `Source`."""
        pictures = read_frames(self._pictures) if isinstance(self._pictures, Path) else self._pictures
        for number, picture in enumerate(pictures):
            time = number / self.rate
            if self._end is not None and time >= self._end:
                return
            if time < self._start or (after is not None and number <= after.number):
                continue
            try:
                yield Frame(number, time, read_picture(picture)[0])
            except ImageError as error:
                yield SkippedFrames(number, 1, time, time + 1 / self.rate, str(error))


class VideoSource:
    """A video file or a camera, decoded by FFmpeg.

    Times are the presentation timestamps, from the start of the video. Every packet of the file is a frame with a
    number, whether it can be decoded or not.
    """

    def __init__(self, source: Path | int, start: float, end: float | None) -> None:
        self.live = isinstance(source, int)
        self.name = f"camera-{source}" if isinstance(source, int) else source.stem
        self._source, self._start, self._end = source, start, end
        with self._opened() as (container, stream):
            self.rate = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
            self._origin, self._tick = stream.start_time or 0, float(stream.time_base)
            duration = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        last = duration if end is None else min(end, duration)
        self.expected = round((last - start) * self.rate) if duration and not self.live and last > start else None
        if duration and not self.live and start >= duration:
            raise ConfigError(f"The start is {start:g} s, but {quote(source)} lasts {duration:.2f} s. Start earlier.")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        try:
            import av
        except ImportError:
            raise missing_extra("Reading videos", "av", "video") from None
        try:
            container = _camera(self._source) if isinstance(self._source, int) else _file(self._source)
        except (av.FFmpegError, OSError, ValueError) as error:
            what = f"The camera {self._source}" if self.live else quote(self._source)
            advice = "Check that it is connected and not in use." if self.live else "Check that it is a video."
            raise ImageError(f"{what} cannot be opened ({first_line(error)}). {advice}") from None
        with closing(container):
            if not container.streams.video:
                raise ImageError(f"{quote(self._source)} contains no video, only sound or data. Give a video file.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream

    def frames(self, after: Frame | None = None, *, exact: bool = False) -> Iterator[Frame | SkippedFrames]:
        """See `Source`."""
        anchor = self._start if after is None else after.time
        if anchor and not exact and not self.live:
            images = self._images(anchor)
            for image in images:
                time = math.inf if image is None or image.pts is None else self._time(image.pts)
                if time == anchor or (anchor < time < math.inf and after is None):
                    number = int(np.searchsorted(self._timestamps, image.pts)) if after is None else after.number
                    yield from self._in_range(chain([image], images), number, after)
                    return
                if time > anchor:  # the seek led elsewhere
                    break
        yield from self._in_range(self._images(None), 0, after)

    @property
    def count(self) -> int:
        """The number of frames of a file, counted without decoding them."""
        return len(self._timestamps)

    def frames_from(self, number: int) -> Iterator[Frame | SkippedFrames]:
        """The frames from this number on."""
        before = number - 1
        return self.frames(Frame(before, self._time(int(self._timestamps[before])), None) if number else None)

    def _in_range(self, images: Iterator[Any], number: int, after: Frame | None) -> Iterator[Frame | SkippedFrames]:
        """The frames from the start to the end, and those after the given one; the first image has this number.

        Decoders may drop frames after a fault without a message, so from there on frames are numbered by the timestamps
        of all packets.
        """
        previous, damaged, size = -math.inf, False, None

        def wanted(number: int, time: float) -> bool:
            return time >= self._start and (after is None or number > after.number)

        for image in images:
            if image is None:
                damaged = True
                continue
            damaged |= image.is_corrupt
            if damaged and image.pts is not None:
                place = int(np.searchsorted(self._timestamps, image.pts))
                if place < number:
                    continue  # late: its place has been passed
                for missing in range(number, place):
                    time = self._time(int(self._timestamps[missing]))
                    if self._end is not None and time >= self._end:
                        return
                    if wanted(missing, time):
                        yield SkippedFrames(missing, 1, time, time + 1 / self.rate, _DAMAGED)
                number = place
            if self.live and math.isinf(previous):
                self._origin = image.pts or 0
            time = math.nan if image.pts is None else self._time(image.pts)
            if not time > previous:  # without a timestamp, or one that goes backwards
                time = 0.0 if math.isinf(previous) else previous + 1 / self.rate
            if self._end is not None and time >= self._end:
                return
            shape = (image.height, image.width)
            size = size or shape
            if wanted(number, time):
                if image.is_corrupt or shape != size:
                    reason = _DAMAGED if shape == size else f"the size changes to {image.width} x {image.height}"
                    yield SkippedFrames(number, 1, time, time + 1 / self.rate, reason)
                else:
                    yield Frame(number, time, _upright(image))
            previous, number = time, number + 1

    def _time(self, timestamp: int) -> float:
        return (timestamp - self._origin) * self._tick

    def _images(self, seek: float | None) -> Iterator[Any]:
        """The decoded images, from the key frame before the time `seek` or from the beginning; None for a fault."""
        import av

        with self._opened() as (container, stream):
            if seek is not None:
                with suppress(av.FFmpegError):  # then it is read from the beginning
                    container.seek(self._origin + round(seek / self._tick), stream=stream)
            for packet in _packets(container, stream):
                try:
                    yield from [None] if packet is None else packet.decode()
                except av.FFmpegError:
                    yield None

    @cached_property
    def _timestamps(self) -> np.ndarray:
        """The presentation timestamps of all packets, sorted."""
        with self._opened() as (container, stream):
            packets = (packet for packet in _packets(container, stream) if packet is not None)
            times = (packet.dts if packet.pts is None else packet.pts for packet in packets)
            return np.sort(np.fromiter((time for time in times if time is not None), np.int64))


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream; None for a part that cannot be read."""
    import av

    for _ in range(_MOST_FAULTS):
        try:
            for packet in container.demux(stream):
                if not packet.is_discard:
                    yield packet
            return
        except av.FFmpegError:
            yield None


def _upright(image: Any) -> np.ndarray:
    """RGB bytes with the rotation flag applied."""
    pixels: np.ndarray = image.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(image.rotation / 90) % 4)) if image.rotation else pixels


def _file(path: Path) -> Any:
    import av

    # A playlist in disguise may name other files, but no addresses.
    return av.open(str(path.resolve()), metadata_errors="ignore", options={"protocol_whitelist": "file,crypto,data"})


def _camera(number: int) -> Any:
    import av

    if sys.platform == "darwin":
        return av.open(str(number), format="avfoundation", options={"framerate": "30"})
    if sys.platform == "win32":
        names = [device.name for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
        if number >= len(names):
            raise ValueError(f"there are {len(names)} cameras")
        return av.open(f"video={names[number]}", format="dshow")
    return av.open(f"/dev/video{number}", format="v4l2")
