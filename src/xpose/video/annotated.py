"""The annotated video, written in segments, so that an interrupted run keeps the finished ones.

Segments are NUT files, whose timestamps are exact. At the end, they are joined to an MP4 file without encoding again.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from xpose.drawing.tracks import draw_tracks
from xpose.pictures.atomic import write_atomically
from xpose.results.draw import figure_of
from xpose.video.timeline import TrackedFrame

FRAMES = 250  # of a segment
_TICKS = 60_000  # of timestamps, per second; MPEG-4 allows 65,535
_TRAIL = 2.0  # seconds
_STEP = 2.0  # least distance of places in a trail, in pixels
_LONGEST = 48  # places in a trail


def finished_frames(folder: Path) -> int:
    """The number of frames in the finished segments of a folder."""
    return FRAMES * next(number for number in count() if not _segment(folder, number).exists())


def _segment(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.nut"


class AnnotatedVideo:
    """Draws the frames of a video, and encodes them."""

    def __init__(self, path: Path, folder: Path, rate: float) -> None:
        """`path` is the final file, `folder` is for segments; the frames of those in it are not drawn again."""
        self._path, self._folder, self._rate = path, folder, Fraction(rate).limit_denominator(100_000)
        self._finished = finished_frames(folder)
        self._count, self._time = 0, -1
        self._open: tuple[Any, Any, Path] | None = None
        self._trails: dict[int, deque[tuple[float, float, float]]] = {}

    def add(self, frame: TrackedFrame) -> None:
        """Draw and encode a frame."""
        self._lengthen_trails(frame)
        self._time = max(round(frame.time * _TICKS), self._time + 1)
        if self._count >= self._finished:
            if self._count % FRAMES == 0:
                self._close_segment()
            assert frame.pixels is not None
            self._encode(self._drawn(frame, frame.pixels))
        self._count += 1

    def finish(self) -> None:
        """Join the segments, and the frames after them."""
        whole = self._count % FRAMES == 0
        partial = self._close_segment(whole)
        segments = [_segment(self._folder, number) for number in range(self._count // FRAMES)]
        if self._count:
            write_atomically(self._path, lambda path: _join([*segments, *([] if partial is None else [partial])], path))
        if partial is not None:
            partial.unlink()

    def _lengthen_trails(self, frame: TrackedFrame) -> None:
        for pose, smooth in zip(frame.poses, frame.poses.xy if frame.smooth is None else frame.smooth, strict=True):
            seen = smooth[: len(pose.names)][pose.visibility > 0]
            x, y = (seen.mean(0) if len(seen) else (pose.box[:2] + pose.box[2:]) / 2).tolist()
            assert pose.track_id is not None
            trail = self._trails.setdefault(pose.track_id, deque(maxlen=_LONGEST))
            if not trail or abs(x - trail[-1][1]) + abs(y - trail[-1][2]) >= _STEP:
                trail.append((frame.time, x, y))
        for trail in self._trails.values():
            while trail and frame.time - trail[0][0] > _TRAIL:
                trail.popleft()
        self._trails = {track_id: trail for track_id, trail in self._trails.items() if trail}

    def _drawn(self, frame: TrackedFrame, pixels: np.ndarray) -> np.ndarray:
        figures = []
        for row, pose in enumerate(frame.poses):
            figure = replace(
                figure_of(pose), title=f"{pose.category} {pose.track_id}", dashed=bool(frame.interpolated[row])
            )
            if frame.smooth is not None:
                figure = replace(figure, xy=frame.smooth[row, : len(pose.names)])
            figures.append(figure)
        ids = [] if frame.poses.track_ids is None else frame.poses.track_ids.tolist()
        trails = [(track_id, [(x, y) for _, x, y in trail]) for track_id, trail in self._trails.items()]
        return draw_tracks(pixels, figures, ids, trails)

    def _encode(self, pixels: np.ndarray) -> None:
        import av

        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")  # encoders need even sides
        if self._open is None:
            path = self._folder / "partial.nut"
            container = av.open(str(path), "w", format="nut")
            stream: Any = container.add_stream(_encoder()[0], rate=self._rate, options=_encoder()[1])
            stream.width, stream.height, stream.pix_fmt = pixels.shape[1], pixels.shape[0], "yuv420p"
            stream.codec_context.time_base = stream.time_base = Fraction(1, _TICKS)
            self._open = container, stream, path
        container, stream, _ = self._open
        image = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        image.pts, image.time_base = self._time, Fraction(1, _TICKS)
        container.mux(stream.encode(image))

    def _close_segment(self, whole: bool = True) -> Path | None:
        """Finish the open segment; the path of one that is not whole."""
        if self._open is None:
            return None
        container, stream, path = self._open
        self._open = None
        with closing(container):
            container.mux(stream.encode(None))
        if whole:
            path.replace(_segment(self._folder, (self._count - 1) // FRAMES))
            return None
        return path


@cache
def _encoder() -> tuple[str, dict[str, str]]:
    """H.264 if the installed FFmpeg can write it, otherwise MPEG-4."""
    import av

    try:
        av.codec.Codec("libx264", "w")
    except ValueError:
        return "mpeg4", {"qmin": "2", "qmax": "5", "bf": "0", "g": "50"}
    return "libx264", {"preset": "veryfast", "crf": "20", "bf": "0", "g": "50"}


def _join(segments: list[Path], path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as joined:
        target = None
        for segment in segments:
            with av.open(str(segment)) as part:
                target = target or joined.add_stream_from_template(part.streams.video[0])
                for packet in part.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = target
                        joined.mux(packet)
