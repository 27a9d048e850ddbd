"""The report of a tracked video: one HTML page, computed from the Parquet file column by column."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xpose.drawing.figures import numbered_colour
from xpose.pages import embedded, render
from xpose.pictures.atomic import write_text
from xpose.video.sources import SkippedFrames
from xpose.video.timeline import TrackedFrame

_MOST = 24  # rows of tracks, and twice as many of other lists
_SHOWN = 8  # tracks with curves
_BINS = 240  # points of a curve
_LEFT, _WIDTH = 54, 836  # of the charts' area
_MERGED = 1.0  # seconds between doubts about the same tracks that are reported as one
_STILLS, _STILL_SIZE = 6, (480, 320)  # their number and largest size
_WORDS = {"exchange": "an exchange of their objects", "new id": "the second is the first again"}


@dataclass
class Stretch:
    """A part of the video with something to report: damaged frames, or tracks that may have been confused."""

    start: float
    end: float
    count: int


class VideoLog:
    """What happened while the video was read."""

    def __init__(self) -> None:
        self.frames, self.start, self.end = 0, 0.0, 0.0
        self.size: tuple[int, int] | None = None
        self.skipped: list[tuple[Stretch, str]] = []
        self.doubts: dict[tuple[tuple[int, int], Literal["exchange", "new id"]], list[Stretch]] = {}
        self._next = -1  # number of the frame after the last skipped one

    def add(self, item: TrackedFrame | SkippedFrames) -> None:
        """Note a frame or a skipped stretch."""
        if isinstance(item, SkippedFrames):
            if self.skipped and item.number == self._next and self.skipped[-1][1] == item.reason:
                self.skipped[-1][0].count += item.count
                self.skipped[-1][0].end = item.end
            else:
                self.skipped.append((Stretch(item.start, item.end, item.count), item.reason))
            self._next = item.number + item.count
            return
        self.start = item.time if not self.frames else self.start
        self.frames, self.end, self.size = self.frames + 1, item.time, item.poses.image_size
        for doubt in item.doubts:
            stretches = self.doubts.setdefault((doubt.ids, doubt.kind), [])
            if stretches and doubt.time - stretches[-1].end <= _MERGED:
                stretches[-1].end, stretches[-1].count = doubt.time, stretches[-1].count + 1
            else:
                stretches.append(Stretch(doubt.time, doubt.time, 1))


@dataclass(frozen=True, eq=False)
class TrackSummary:
    """A track in numbers."""

    id: int
    category: str
    start: float
    end: float
    detected: int
    interpolated: int
    score: float
    path: float  # of the centre of the box, in pixels


def _summaries(table: _Table) -> list[TrackSummary]:
    """All tracks, those with the most detections first."""
    centres = (table.floats("x1") + table.floats("x2")) / 2, (table.floats("y1") + table.floats("y2")) / 2
    interpolated, scores = table.column("interpolated").to_numpy(zero_copy_only=False), table.floats("score")
    summaries = []
    for track_id, rows in table.tracks.items():
        between = int(interpolated[rows].sum())
        path = float(sum(np.hypot(*(np.diff(axis[rows]) for axis in centres))))
        summaries.append(
            TrackSummary(
                track_id,
                table.categories[table.classes[rows[0]]],
                float(table.times[rows[0]]),
                float(table.times[rows[-1]]),
                len(rows) - between,
                between,
                float(scores[rows][~interpolated[rows]].mean()),
                path,
            )
        )
    return sorted(summaries, key=lambda track: -track.detected)


def write_report(
    path: Path, parquet: Path, video: Path, log: VideoLog, about: Sequence[tuple[str, str]], title: str
) -> list[TrackSummary]:
    """Write the page, and return the tracks."""
    table = _Table(parquet)
    tracks = _summaries(table)
    shown = sorted(tracks[:_SHOWN], key=lambda track: track.id)
    rows_of = table.tracks
    page = _Axis(log)
    speeds, keypoints = _keypoints(table)
    scores = table.floats("score")
    content = render(
        "video_report.html",
        title=title,
        about=[*_facts(log), *about],
        stills=list(_stills(video)),
        key=[(f"{track.category} {track.id}", _colour(track.id)) for track in shown],
        tracks=[_row(track) for track in tracks[:_MOST]],
        more_tracks=max(0, len(tracks) - _MOST),
        presence=page.presence([(track, table.times[rows_of[track.id]]) for track in tracks[:_MOST]]),
        doubts=[
            (_clock(part.start), _clock(part.end), f"{first}, {second}", _WORDS[kind])
            for (first, second), kind, part in _by_time(log)
        ][: 2 * _MOST],
        skipped=[(_clock(p.start), _clock(p.end), p.count, reason) for p, reason in log.skipped[: 2 * _MOST]],
        confidence=page.curves(
            "score of each object", [(t, table.times[rows_of[t.id]], scores[rows_of[t.id]]) for t in shown], 1.0
        ),
        speed=page.curves(
            "speed of each object: the mean over its keypoints, in pixels per second",
            [(track, table.times[rows_of[track.id]], speeds[rows_of[track.id]]) for track in shown],
            None,
        ),
        keypoints=keypoints,
    )
    write_text(path, content)
    return tracks


class _Table:
    """The Parquet file, of which only the columns in use are in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self._pool = pyarrow.default_memory_pool()
        self._file = pyarrow.parquet.ParquetFile(path)
        self.names = self._file.schema_arrow.names
        self.times = self.column("time").to_numpy()
        self.numbers = self.column("frame").to_numpy()
        classes = self.column("class").dictionary_encode()
        self.categories, self.classes = classes.dictionary.to_pylist(), classes.indices.to_numpy()

    def column(self, name: str) -> Any:
        column = self._file.read([name], use_threads=False).column(name).combine_chunks()
        self._pool.release_unused()  # of the groups of rows, which it keeps otherwise
        return column

    def floats(self, name: str) -> np.ndarray:
        """A column of numbers, NaN where it is empty."""
        values: np.ndarray = self.column(name).to_numpy(zero_copy_only=False).astype(np.float32)
        return values

    @cached_property
    def tracks(self) -> dict[int, np.ndarray]:
        """The rows of each track, in the order of time."""
        track_ids = self.column("track_id").to_numpy()
        order = np.argsort(track_ids, kind="stable").astype(np.int32)
        ids, starts = np.unique(track_ids[order], return_index=True)
        return dict(zip(ids.tolist(), np.split(order, starts[1:]) if len(order) else [], strict=True))


def _keypoints(table: _Table) -> tuple[np.ndarray, list[tuple[str, list[str], list[list[str]]]]]:
    """The speed of the object in each row, and a table of the keypoints of each class."""
    points = [name.removesuffix("_confidence") for name in table.names if name.endswith("_confidence")]
    has_smooth = any(name.endswith("_x_smooth") for name in table.names)
    detected = ~table.column("interpolated").to_numpy(zero_copy_only=False)
    tracks = list(table.tracks.values())
    total, number = np.zeros(len(table.times), np.float32), np.zeros(len(table.times), np.int32)
    tables: dict[str, list[list[str]]] = {}
    for point in points:
        xy = np.stack([table.floats(f"{point}_x"), table.floats(f"{point}_y")], 1)
        smooth = np.stack([table.floats(f"{point}_{axis}_smooth") for axis in "xy"], 1) if has_smooth else None
        confidence = table.floats(f"{point}_confidence")
        moving = xy if smooth is None else smooth
        speeds = np.full(len(table.times), np.nan, np.float32)
        for rows in tracks:
            speeds[rows[1:]] = np.hypot(*np.diff(moving[rows], axis=0).T) / np.diff(table.times[rows])
        total += np.nan_to_num(speeds)
        number += np.isfinite(speeds)
        for code, category in enumerate(table.categories):
            of_class = (table.classes == code) & detected & np.isfinite(confidence)
            if not of_class.any():
                continue
            parts = [rows[detected[rows]] for rows in tracks if table.classes[rows[0]] == code]
            speed = speeds[of_class & np.isfinite(speeds)]
            cells = [
                f"{100 * np.isfinite(xy[of_class, 0]).mean():.0f} %",
                f"{confidence[of_class].mean():.2f}",
                *(f"{np.quantile(speed, share):.0f}" if len(speed) else "" for share in (0.5, 0.95)),
                _jitter(xy, table.numbers, parts),
                *([] if smooth is None else [_jitter(smooth, table.numbers, parts)]),
            ]
            tables.setdefault(category, []).append([point, *cells])
    head = ["keypoint", "present", "confidence", "median speed", "95 % of speeds", "jitter"]
    head += ["jitter, smoothed"] if has_smooth else []
    mean = np.where(number > 0, total / number.clip(1), np.nan)
    return mean, [(category, head, rows) for category, rows in sorted(tables.items())]


def _jitter(xy: np.ndarray, numbers: np.ndarray, parts: Sequence[np.ndarray]) -> str:
    """The noise of a keypoint in pixels, from second differences of evenly spaced detections."""
    squares = []
    for rows in parts:
        gaps = np.diff(numbers[rows])
        second = np.diff(xy[rows], 2, axis=0)[(gaps[1:] == gaps[:-1]) if len(gaps) > 1 else slice(0)]
        squares.append((second[np.isfinite(second).all(1)] ** 2).ravel())
    values = np.concatenate(squares) if squares else np.zeros(0)
    return f"{np.sqrt(values.mean() / 6):.2f}" if len(values) else ""


class _Axis:
    """Charts over the time of a video."""

    def __init__(self, log: VideoLog) -> None:
        self._start, self._end = log.start, max(log.end, log.start + 1e-3)
        self._skipped = [
            (round(self._x(part.start), 1), round(max(1.0, self._x(part.end) - self._x(part.start)), 1))
            for part, _ in log.skipped
        ]
        self._marks = [
            (round(self._x(part.start), 1), f"{ids[0]}, {ids[1]}: perhaps {_WORDS[kind]}")
            for ids, kind, part in list(_by_time(log))[: 2 * _MOST]
        ]

    def _x(self, time: float) -> float:
        return _LEFT + _WIDTH * (time - self._start) / (self._end - self._start)

    def _chart(
        self, title: str, height: int, y_ticks: Sequence[tuple[float, str]], curves: list[Any], stroke: float
    ) -> Any:
        step = _nice((self._end - self._start) / 8)
        times = np.arange(np.ceil(self._start / step) * step, self._end + 1e-9, step)
        return {
            "title": title,
            "height": height,
            "y_ticks": y_ticks,
            "x_ticks": [(round(self._x(time), 1), _clock(time)) for time in times.tolist()],
            "skipped": self._skipped,
            "marks": self._marks,
            "curves": curves,
            "stroke": stroke,
        }

    def presence(self, tracks: list[tuple[TrackSummary, np.ndarray]]) -> Any:
        """A line for each track where it is present."""
        curves, ticks = [], []
        for row, (track, times) in enumerate(sorted(tracks, key=lambda entry: entry[0].id)):
            y = 16 + 14 * row
            ticks.append((y, str(track.id)))
            parts = [(part[0, 0], part[-1, 0]) for part in _uninterrupted(times, times)]
            lines = [f"{self._x(a):.1f},{y} {max(self._x(b), self._x(a) + 1):.1f},{y}" for a, b in parts]
            curves.append((f"{track.category} {track.id}", _colour(track.id), lines))
        return self._chart(
            "where each track is present; orange: see the lists below", 14 * len(tracks) + 4, ticks, curves, 8
        )

    def curves(self, title: str, series: list[tuple[TrackSummary, np.ndarray, np.ndarray]], top: float | None) -> Any:
        """A curve of means over short times for each track."""
        height = 170
        binned = [(track, self._binned(times, values)) for track, times, values in series]
        if top is None:
            highest = max((value for _, parts in binned for part in parts for _, value in part), default=1.0)
            top = _nice(max(highest, 1e-3) / 4) * 4
            top = top if top >= highest else top * 1.25
        ticks = [(8 + height * (1 - share), f"{top * share:.4g}") for share in (0, 0.25, 0.5, 0.75, 1)]
        lines = [
            (
                f"{track.category} {track.id}",
                _colour(track.id),
                [" ".join(f"{self._x(x):.1f},{8 + height * (1 - y / top):.1f}" for x, y in part) for part in parts],
            )
            for track, parts in binned
        ]
        return self._chart(title, height, ticks, lines, 1.6)

    def _binned(self, times: np.ndarray, values: np.ndarray) -> list[list[list[float]]]:
        known = np.isfinite(values)
        times, values = times[known], values[known]
        place = ((times - self._start) / (self._end - self._start) * _BINS).astype(int)
        bins, inverse = np.unique(place, return_inverse=True)
        counts = np.bincount(inverse, minlength=len(bins)).clip(1)
        x, y = (np.bincount(inverse, entries, len(bins)) / counts for entries in (times, values))
        return [p.tolist() for p in _uninterrupted(x, y, (self._end - self._start) / _BINS) if len(p) > 1]


def _uninterrupted(times: np.ndarray, values: np.ndarray, least: float = 0.0) -> list[np.ndarray]:
    """Pairs of times and values [n, 2], parted where more than half a second (and 3 times `least`) is missing."""
    breaks = np.flatnonzero(np.diff(times) > max(0.5, 3 * least)) + 1
    return [part for part in np.split(np.stack([times, values], 1), breaks) if len(part)]


def _by_time(log: VideoLog) -> Iterator[tuple[tuple[int, int], str, Stretch]]:
    entries = [(ids, kind, part) for (ids, kind), parts in log.doubts.items() for part in parts]
    yield from sorted(entries, key=lambda entry: (entry[2].start, entry[0]))


def _facts(log: VideoLog) -> Iterator[tuple[str, str]]:
    if log.size is not None:
        yield "picture", f"{log.size[1]} x {log.size[0]} pixels"
    rate = f", {(log.frames - 1) / (log.end - log.start):.4g} per second" if log.end > log.start else ""
    yield "frames", f"{log.frames:,}{rate}"
    yield "time", f"{_clock(log.start)} to {_clock(log.end)}"


def _row(track: TrackSummary) -> list[object]:
    words = [str(track.id), track.category, _clock(track.start), _clock(track.end)]
    return [*words, track.detected, track.interpolated, f"{track.score:.2f}", round(track.path)]


def _stills(video: Path) -> Iterator[tuple[str, str]]:
    """A few frames of the annotated video, which are spread over its length."""
    import av

    if not video.exists():
        return
    with av.open(str(video)) as container:
        stream: Any = container.streams.video[0]
        start, length = stream.start_time or 0, stream.duration or 0
        for number in range(_STILLS):
            target = start + int(length * (number + 0.5) / _STILLS)
            container.seek(target, stream=stream)
            image: Any = next((image for image in container.decode(stream) if image.pts >= target), None)
            if image is not None:
                picture = image.to_image()
                picture.thumbnail(_STILL_SIZE)
                content = io.BytesIO()
                picture.save(content, "JPEG", quality=85)
                yield embedded(content.getvalue()), _clock(float(image.pts * stream.time_base))


def _colour(track_id: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*numbered_colour(track_id))


def _clock(seconds: float) -> str:
    """A time as "7.25 s" or "1:02:03"."""
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    fraction = f"{rest % 1:.1f}"[1:] if round(rest % 1, 1) not in (0, 1) else ""
    text = f"{minutes}:{int(rest):02d}{fraction}"
    return f"{hours}:{int(minutes):02d}:{int(rest):02d}{fraction}" if hours else text


def _nice(step: float) -> float:
    """The next number of the form 1, 2 or 5 times a power of 10."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9)))
