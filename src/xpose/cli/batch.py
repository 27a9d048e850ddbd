"""`xpose batch`: detection in any number of pictures, on one machine or on a Ray cluster."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop, _prompts
from xpose.cli._inputs import absolute, printable
from xpose.cli._output_folder import check_folder
from xpose.cli._progress import Bars, noticing_interrupts
from xpose.errors import XPoseError, counted

if TYPE_CHECKING:
    from xpose.batch.on_ray import Workers
    from xpose.batch.results import ResultsFolder
    from xpose.batch.stages import Rows
    from xpose.inference import DetectionOptions, Detector, PromptBank

_INPUTS = "Inputs and results"
_SILENCE = 60.0  # seconds between lines about the progress, if there is no terminal for a bar


def _option(panel: str, name: str, metavar: str | None, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel, **more)


_SOURCE = (
    'Folders, pictures, quoted patterns, lists (.txt), .tar and .parquet files, videos; or URLs: "s3://bucket/*.tar".'
)
_OUT = "Folder for the results."
_COLUMN = "The column with the pictures in Parquet files. Default: the only one with bytes."
_SHARD = "Pictures in a shard of results: what an interruption can cost."
_COCO = "Also write poses.json, one COCO file of all results."
_WORKERS = "Processes with the network: a number, or MIN:MAX. Default: up to as many as fit."


@_options.expanded
def batch(
    options: _options.SearchOptions,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=_SOURCE)],
    keypoint_threshold: _options.KeypointThreshold = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help=_OUT)] = Path("results"),
    every: Annotated[int, _option(_INPUTS, "--every", "N", "Take every n-th frame of videos.", min=1)] = 1,
    column: Annotated[str | None, _option(_INPUTS, "--column", "NAME", _COLUMN)] = None,
    shard_size: Annotated[int, _option(_INPUTS, "--shard-size", "N", _SHARD, min=1, max=100_000)] = 1000,
    coco: Annotated[bool, _option(_INPUTS, "--coco", None, _COCO)] = False,
    fresh: _options.Fresh = False,
    engine: _options.Engine = "local",
    address: _options.Address = None,
    workers: Annotated[str | None, _option(_options.RAY, "--workers", "N", _WORKERS)] = None,
    gpus: _options.Gpus = 0.0,
) -> None:
    """Detect objects and their keypoints in any number of pictures.

    Writes Parquet files, a manifest, and a list of the pictures that could not be processed (the exit code is then 1).
    The same command goes on where an interrupted one has stopped; no picture is lost or counted twice.

    Examples:

    - xpose batch photos/ -t dog -o results
    - xpose batch "shards/*.tar" clip.mp4 -t person --every 10 -o results
    - xpose batch s3://bucket/photos.txt --bank dogs.safetensors --engine ray --workers 2:16 --gpus 0.5
    """
    out = out.expanduser()
    check_folder(out)
    on_ray = _workers(engine, address, workers, gpus)
    prompts = _prompts.build_prompts(options, options.bank)
    detection = _picture_loop.detection_options(options, keypoint_threshold)
    from xpose.batch.results import ResultsFolder, clear
    from xpose.inference.bank import PromptBank

    detector = _prompts.load_detector(options.weights, options.config, options.device, options.dtype, options.clip)
    classes = _prompts.encode(prompts, options.bank, detector)
    _prompts.show_prompts(prompts, [entry.names for entry in classes[: len(prompts)]])
    bank = PromptBank({entry.names.label: entry for entry in classes}, detector.engine.fingerprint())
    inputs: dict[str, Any] = {"sources": sources, "every": every, "column": column, "shard_size": shard_size}
    settings = {**inputs, "weights": detector.engine.identity, "classes": list(bank), "bank": bank.id}
    if fresh:
        clear(out)
    folder = ResultsFolder(out, {**settings, "detection": asdict(detection)}, partial(_make_plan, **inputs))
    if folder.pending:
        _run(folder, _results(folder, detector, bank, detection, options, column, on_ray))
    else:
        _console.note("All pictures were finished before.")
        folder.finish()  # unless the run was interrupted just then
    _tell(folder)
    if coco:
        path = folder.write_coco([entry.names for entry in classes])
        _console.note(f"All results as COCO: {printable(path)}")
    if folder.total("failed"):
        raise typer.Exit(_console.FAILURE)


def _make_plan(path: Path, sources: list[str], every: int, column: str | None, shard_size: int) -> None:
    from xpose.batch.listing import list_entries
    from xpose.batch.plan import write_plan

    entries = list_entries(sources, every, column, Path(os.path.abspath(path.parent)))
    with Bars() as bars:
        repeated = write_plan(path, entries, shard_size, lambda done: bars.update("pictures listed", done, None))
    if repeated:
        _console.note(f"{counted(repeated, 'picture')} listed more than once, and counted once.")


def _results(
    folder: ResultsFolder,
    detector: Detector,
    bank: PromptBank,
    detection: DetectionOptions,
    options: _options.SearchOptions,
    column: str | None,
    workers: Workers | None,
) -> Generator[Rows]:
    """The results of the pictures that are not finished, from this process or from Ray."""
    from xpose.batch.runners import run_locally
    from xpose.batch.stages import Decode, Detect, DetectSetup

    config, classes = detector.engine.config, list(bank.values())
    decode = Decode(config.image_short, config.image_long, detection.region, column)
    if workers is None:
        return run_locally(folder.plan, folder.pending, decode, Detect(detector, classes, detection))
    from xpose.batch.on_ray import run_on_ray

    weights, clip = absolute(options.weights), absolute(str(options.clip) if options.clip else None)
    setup = DetectSetup(weights, options.device, options.dtype, clip, bank.network, classes, detection)
    return run_on_ray(folder.plan_file, folder.pending, decode, setup, workers)


def _run(folder: ResultsFolder, results: Generator[Rows]) -> None:
    """Write the results as they come; after Ctrl-C and errors, the finished shards stay."""
    before = folder.total("pictures")
    if before:
        _console.note(f"Going on after {before:,} of {counted(folder.plan.pictures, 'picture')} of an interrupted run.")
    try:
        with closing(results), noticing_interrupts() as check, Bars() as bars:
            progress = _Progress(bars, before, folder.plan.pictures)
            for rows in results:
                folder.add(rows)
                check()
                progress.add(rows.pictures)
    except BaseException:
        with suppress(XPoseError):  # on a full disk; the first error says so
            folder.finish()
        _tell(folder)
        raise
    folder.finish()


class _Progress:
    """A bar on a terminal, and a line from time to time elsewhere."""

    def __init__(self, bars: Bars, done: int, total: int) -> None:
        self._bars, self._before, self._done, self._total = bars, done, done, total
        self._start = self._said = time.monotonic()

    def add(self, pictures: int) -> None:
        self._done += pictures
        now = time.monotonic()
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        self._bars.update("pictures", self._done, self._total, f"pictures, {rate:.1f}/s")
        if not self._bars.shown and now > self._said + _SILENCE:
            self._said = now
            left = (self._total - self._done) / rate / 60
            _console.note(f"{self._done:,} of {self._total:,} pictures, {rate:.1f}/s, {left:.0f} min left")


def _tell(folder: ResultsFolder) -> None:
    pictures, objects, failed = (folder.total(name) for name in ("pictures", "objects", "failed"))
    place = printable(folder.folder / "shards")
    _console.note(f"{counted(pictures, 'picture')} with {counted(objects, 'object')} in {place} (Parquet).")
    if failed:
        _console.fail(f"{counted(failed, 'picture')} could not be processed: see {printable(folder.failed)}.")
    if folder.pending:
        _console.note(f"Stopped after {pictures:,} of {folder.plan.pictures:,} pictures. Repeat the command to go on.")


def _workers(engine: str, address: str | None, workers: str | None, gpus: float) -> Workers | None:
    """The options of Ray, or None for the engine in this process."""
    _options.check_engine(engine, {"--address": address, "--workers": workers, "--gpus": gpus})
    if engine == "local":
        return None
    from xpose.batch.on_ray import Workers

    if workers is None:
        return Workers(gpus=gpus, address=address)
    match = re.fullmatch(r"(\d+)(?::(\d+))?", workers)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise typer.BadParameter(f"{workers!r} is no number or MIN:MAX. Write e.g. 2 or 1:8.", param_hint="--workers")
    return Workers(least, most, gpus, address)
