"""`xpose video`: follow objects and their keypoints through a video; writes tracks, a drawing and a report."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop, _prompts
from xpose.cli._inputs import printable
from xpose.cli._output_folder import check_folder
from xpose.cli._progress import Bars, noticing_interrupts
from xpose.errors import ImageError, counted, quote

if TYPE_CHECKING:
    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.video.pipeline import TrackOptions
    from xpose.video.report import TrackSummary
    from xpose.video.sources import SkippedFrames, Source
    from xpose.video.timeline import TrackedFrame

_PANEL = "Video"
_MOST_ROWS = 20  # of the table of tracks
_IN_HELP = 'A video, a folder of pictures or a quoted pattern ("frames/*.png"), or the number of a camera: 0.'
_OUT_HELP = "Folder for the results."
_TIMES = re.compile(r"^(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)$")


def _seconds(words: str) -> float:
    match = _TIMES.match(words.strip())
    if match is None:
        raise typer.BadParameter(f"{words!r} is not a time. Write seconds, or hours:minutes:seconds: 75.5 or 1:15.5.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _option(names: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(names, metavar=metavar, help=text, rich_help_panel=_PANEL, **more)


_EVERY = "Detect in every n-th frame, and interpolate between them."
_FILL = "Interpolate where an object was not detected in up to so many frames."
_SMOOTH = "Also write smoothed coordinates, in columns of their own, and draw these."
_FPS = "Frames per second of a sequence of pictures; videos know their times."


@_options.expanded
def video(
    source: Annotated[str, typer.Argument(metavar="IN", help=_IN_HELP)],
    options: _options.SearchOptions,
    keypoint_threshold: _options.KeypointThreshold = None,
    every: Annotated[int, _option("--every", "N", _EVERY, min=1)] = 1,
    start: Annotated[str | None, _option("--start", "TIME", "Begin at this time: 75.5 or 1:15.5.")] = None,
    end: Annotated[str | None, _option("--end", "TIME", "Stop at this time.")] = None,
    fill_gaps: Annotated[int, _option("--fill-gaps", "N", _FILL, min=0)] = 0,
    smooth: Annotated[bool, typer.Option("--smooth", help=_SMOOTH, rich_help_panel=_PANEL)] = False,
    fps: Annotated[float, _option("--fps", "NUMBER", _FPS)] = 25.0,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help=_OUT_HELP)] = Path("xpose-out"),
    fresh: _options.Fresh = False,
) -> None:
    """Follow objects and their keypoints through a video.

    Writes an annotated video, the tracks as CSV, Parquet and COCO files, and a report. The same command goes on where
    an interrupted one has stopped. Damaged frames are reported and skipped.

    Examples:

    - xpose video mice.mp4 -t mouse -o results
    - xpose video mice.mp4 -t mouse --every 5 --smooth --start 1:00 --end 2:00
    - xpose video "frames/*.png" -t fly --fps 100
    - xpose video 0 -t person
    """
    out = out.expanduser()
    check_folder(out)
    times = [None if words is None else _seconds(words) for words in (start, end)]
    prompts = _prompts.build_prompts(options, options.bank)
    from xpose.video.pipeline import TrackOptions
    from xpose.video.sources import open_source

    frames = open_source(source, start=times[0], end=times[1], fps=fps)
    detection = _picture_loop.detection_options(options, keypoint_threshold)
    detector = _prompts.load_detector(options.weights, options.config, options.device, options.dtype, options.clip)
    classes = _prompts.encode(prompts, options.bank, detector)
    _prompts.show_prompts(prompts, [entry.names for entry in classes[: len(prompts)]])
    settings = {"input": _identity(source), "start": times[0], "end": times[1], "fps": fps}
    run = VideoRun(frames, detector, classes, detection, TrackOptions(every, fill_gaps, smooth), out, settings, fresh)
    if not run.go():
        raise typer.Exit(_console.FAILURE)


class VideoRun:
    """One video, from the source to the files."""

    def __init__(
        self,
        source: Source,
        detector: Detector,
        classes: Sequence[EncodedClass],
        detection: DetectionOptions,
        options: TrackOptions,
        out: Path,
        settings: Mapping[str, Any],
        fresh: bool = False,
    ) -> None:
        """`settings` identify the run, together with the prompts, the weights and the options."""
        self._source, self._options, self._out, self._fresh = source, options, out, fresh
        self._prepare, self._detect, self._at_once = detector.for_frames([*classes], detection)
        self._classes = [entry.names for entry in classes]
        self._files = {ending: out / f"{source.name}_{ending}" for ending in _FILES}
        self._work = out / f".{source.name}_xpose"
        tokens = hashlib.sha256(
            b"".join(entry.object_token.tobytes() + entry.keypoint_tokens.tobytes() for entry in classes)
        )
        self._settings = {
            **settings,
            **asdict(options),
            "weights": detector.engine.identity,
            "prompts": [names.label for names in self._classes],
            "tokens": tokens.hexdigest()[:16],
            "detection": repr(detection),
        }
        self._about = [("weights", detector.name), ("objects", ", ".join(names.label for names in self._classes))]
        self._about += [("detected in", f"1 of {options.every} frames")] * (options.every > 1)
        self._about += [("gaps filled", f"up to {counted(options.fill_gaps, 'frame')}")] * (options.fill_gaps > 0)
        self._about += [("smoothing", "One-Euro filter; the table has both coordinates")] * options.smooth

    def go(self) -> bool:
        """Process the video; whether no frame had to be skipped."""
        from xpose.video.annotated import finished_frames
        from xpose.video.journal import VideoJournal
        from xpose.video.pipeline import track_frames

        if self._fresh or self._source.live:
            shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True, exist_ok=True)
        journal = VideoJournal(self._work / "journal.jsonl", self._settings, self._classes)
        if journal.frames:
            _console.note(f"Going on after {counted(journal.frames, 'finished frame')} of an interrupted run.")
        drawn = min(finished_frames(self._work), journal.frames)
        frames = track_frames(self._source, self._prepare, self._detect, self._options, journal, drawn, self._at_once)
        with closing(frames), closing(journal):
            first = next(frames, None)  # files are touched after the first frame has shown that all options fit
            if first is None:
                raise ImageError(f"{quote(self._source.name)} has no frame between the start and the end.")
            if not journal.frames and any(path.exists() for path in self._files.values()):
                _console.note("Earlier results are replaced. To keep them, give another folder with -o.")
            outputs = Outputs(self._files, self._work, self._source, self._classes, self._options.smooth)
            return self._finished(chain([first], frames), outputs)

    def _finished(self, frames: Iterator[Any], outputs: Outputs) -> bool:
        complete = False
        try:
            self._write_each(frames, outputs)
            complete = True
        except KeyboardInterrupt:
            complete = self._source.live  # Ctrl-C is how a camera is stopped
            if not complete:
                raise
        finally:
            tracks = outputs.finish(self._about)
            if outputs.log.frames:
                self._tell(outputs, tracks, complete)
            if complete:
                shutil.rmtree(self._work)
        return not outputs.log.skipped

    def _write_each(self, frames: Iterator[Any], outputs: Outputs) -> None:
        """Write every frame in another thread, while the network processes the next ones."""
        rates: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=50)
        writing: deque[Future[None]] = deque()
        expected, done = self._source.expected, 0
        with noticing_interrupts() as check, Bars() as bars, ThreadPoolExecutor(1, "writer") as writer:
            for item in frames:
                check()
                writing.append(writer.submit(outputs.add, item))
                while len(writing) > self._options.every + 1:
                    writing.popleft().result()  # nothing is written after a frame that could not be written
                done += 1
                rates.append((time.monotonic(), done))
                rate = (rates[-1][1] - rates[0][1]) / max(rates[-1][0] - rates[0][0], 1e-9)
                total = None if expected is None else max(expected, done)
                bars.update("frames", done, total, f"frames, {rate:.1f}/s")
            while writing:
                writing.popleft().result()
            check()

    def _tell(self, outputs: Outputs, tracks: Sequence[TrackSummary], complete: bool) -> None:
        for stretch, reason in outputs.log.skipped:
            span = f"{stretch.start:.2f} s to {stretch.end:.2f} s"
            _console.fail(f"Skipped {counted(stretch.count, 'frame')} from {span}: {printable(reason.rstrip('.'))}.")
        rows = [
            [
                str(track.id),
                printable(track.category),
                f"{track.start:.2f}",
                f"{track.end:.2f}",
                str(track.detected),
                f"{track.score:.2f}",
            ]
            for track in tracks[:_MOST_ROWS]
        ]
        if rows:
            columns = ("track", "class", "from, s", "to, s", "frames", "mean score")
            _console.show(_console.table(columns, rows, right=columns[2:]))
        if len(tracks) > len(rows):
            _console.note(f"and {counted(len(tracks) - len(rows), 'shorter track')}")
        names = ", ".join(path.name for path in self._files.values() if path.exists())
        _console.note(f"{counted(outputs.log.frames, 'frame')} in {printable(self._out)}: {printable(names)}.")
        if not complete:
            _console.note("Repeat the command to go on.")


_FILES = ("xpose.mp4", "tracks.csv", "tracks.parquet", "tracks.json", "report.html")


class Outputs:
    """All files of a run."""

    def __init__(
        self, files: Mapping[str, Path], work: Path, source: Source, classes: Sequence[Any], smooth: bool
    ) -> None:
        from xpose.video import tables
        from xpose.video.annotated import AnnotatedVideo
        from xpose.video.report import VideoLog

        self._files, self._name = files, source.name
        self.log = VideoLog()
        columns = tables.Columns(classes, smooth)
        self._writers: list[Any] = [
            tables.CsvTracks(files["tracks.csv"], columns),
            tables.ParquetTracks(files["tracks.parquet"], columns),
            tables.CocoTracks(files["tracks.json"], source.name, classes),
            AnnotatedVideo(files["xpose.mp4"], work, source.rate),
        ]

    def add(self, item: TrackedFrame | SkippedFrames) -> None:
        """Write one frame to all files."""
        from xpose.video.sources import SkippedFrames

        self.log.add(item)
        if not isinstance(item, SkippedFrames):
            for writer in self._writers:
                writer.add(item)

    def finish(self, about: Sequence[tuple[str, str]]) -> list[TrackSummary]:
        """Complete the files."""
        from xpose.video.report import write_report

        for writer in self._writers:
            writer.finish()
        return write_report(
            self._files["report.html"],
            self._files["tracks.parquet"],
            self._files["xpose.mp4"],
            self.log,
            about,
            self._name,
        )


def _identity(source: str) -> list[Any]:
    """What tells an input from another one, or from a changed one."""
    path = Path(source).expanduser()
    files = (
        [path]
        if path.is_file()
        else sorted(path.iterdir())
        if path.is_dir()
        else sorted(path.parent.glob(path.name or "*"))
    )
    digest = hashlib.sha256()
    for file in files:
        with suppress(OSError):
            state = os.stat(file)
            digest.update(f"{file.name} {state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return [source, digest.hexdigest()[:16]]
