"""The loop of `detect` and `count`: from command-line arguments to a result for every picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from xpose.cli import _console, _prompts
from xpose.cli._boxes import BoxFile
from xpose.cli._inputs import Fault, InputPicture, list_pictures
from xpose.cli._options import DetectionCommandOptions, SearchOptions
from xpose.cli._progress import Bars, noticing_interrupts
from xpose.errors import ImageError, memory_errors, quote
from xpose.pictures.ahead import ahead

if TYPE_CHECKING:
    import numpy as np

    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass, PreparedImage
    from xpose.inference.loading import EngineName
    from xpose.results import Poses


class PictureOutput(Protocol):
    """Takes the result of each picture, and prints and writes the rest at the end or after Ctrl-C.

    `add` is called in a background thread, for one picture at a time.
    """

    def add(self, picture: InputPicture, poses: Poses, pixels: np.ndarray) -> None: ...

    def finish(self, faults: Sequence[Fault]) -> None: ...


MakeOutput = Callable[["Detector", "list[EncodedClass]", "list[InputPicture]", "DetectionOptions"], PictureOutput]


def names_of_rivals(words: str | None) -> tuple[str, ...] | None:
    """The names given with `--rivals`: empty for "none", and None if the option was not given."""
    if words is None or words.strip().lower() == "none":
        return None if words is None else ()
    names = tuple(word.strip() for word in words.split(","))
    if not all(names):
        raise typer.BadParameter(f'{words!r} has an empty name. Write "person,cat", or "none".', param_hint="--rivals")
    return names


def numbers_of_region(words: str | None) -> tuple[float, ...] | None:
    """The numbers given with `--region`, or None."""
    if words is None:
        return None
    try:
        numbers = tuple(float(word) for word in words.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        rule = "is not X,Y,WIDTH,HEIGHT in pixels. Write e.g. 100,50,320,240."
        raise typer.BadParameter(f"{words!r} {rule}", param_hint="--region")
    return numbers


def detection_options(
    given: SearchOptions, keypoint_threshold: float | None = None, best: bool = False
) -> DetectionOptions:
    """The options of the detector that a command line states."""
    from xpose.inference import DetectionOptions

    return DetectionOptions(
        threshold=given.threshold,
        keypoint_threshold=keypoint_threshold,
        nms=given.nms,
        nms_oks=given.nms_oks,
        max_instances=given.max_instances,
        rivals=names_of_rivals(given.rivals),
        region=numbers_of_region(given.region),
        best=best,
    )


def detect_in_pictures(
    given: DetectionCommandOptions,
    output: MakeOutput,
    keypoint_threshold: float | None = None,
    best: bool = False,
    boxes_from: Path | None = None,
    folder: Path | None = None,
    profile: Path | None = None,
) -> None:
    """Run the detector on all pictures of a command line, and pass the results to an output.

    The network is loaded after all mistakes in the command line have been reported. `boxes_from` is a file of known
    boxes. `folder` is for results; drawings of earlier runs in it are not used as inputs. `profile` is a file for a
    PyTorch trace of the run.
    """
    words = [*(given.images or ()), *(given.more or ())]
    if not words:
        raise typer.BadParameter("No picture was given. Name pictures, a folder or a pattern.", param_hint="IMAGE")
    names_of_rivals(given.rivals), numbers_of_region(given.region)
    prompts = _prompts.build_prompts(given, given.bank)
    pictures, faults = list_pictures(words, folder)
    for unusable in faults:
        _console.fail(unusable.message)
    if not pictures:
        raise typer.Exit(_console.FAILURE)
    boxes = None if boxes_from is None else BoxFile(boxes_from, pictures)
    from xpose.model.profiling import profiled

    options = detection_options(given, keypoint_threshold, best)
    if boxes_from is not None and (choosing := options.choosing()):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in choosing)
        raise typer.BadParameter(
            f"Every box of the file gives one pose, whatever its score, so {flags} cannot be used with it.",
            param_hint="--boxes-from",
        )
    engine: EngineName | None = None if profile is None else "torch"
    detector = _prompts.load_detector(given.weights, given.config, given.device, given.dtype, given.clip, engine=engine)
    encoded = _prompts.encode(prompts, given.bank, detector)
    _prompts.show_prompts(prompts, [entry.names for entry in encoded[: len(prompts)]])
    if boxes is not None:
        boxes.keep_classes([entry.names.label for entry in encoded])
    results = output(detector, encoded, pictures, options)
    outcomes: list[Fault | None] = []  # of the finished pictures
    try:
        with profiled(profile):
            _detect_each(detector, encoded, pictures, boxes, options, results, outcomes)
    finally:  # also after Ctrl-C, so that finished results are kept
        faults += filter(None, outcomes)
        results.finish(faults)
        if len(outcomes) < len(pictures) > 1:
            _console.note(f"Stopped after {len(outcomes)} of {len(pictures)} pictures.")
    if faults:
        raise typer.Exit(_console.FAILURE)


def _detect_each(
    detector: Detector,
    prompts: list[EncodedClass],
    pictures: Sequence[InputPicture],
    boxes: BoxFile | None,
    options: DetectionOptions,
    results: PictureOutput,
    outcomes: list[Fault | None],
) -> None:
    """Detect in every picture, and report those that cannot be processed.

    While the network processes pictures, one thread reads the next ones and another one writes the last result. One
    thread reads all of them, because the frames of a file are read one after the other, and because Pillow's warnings
    cannot be silenced in several threads at once. Every finished picture gets an outcome: its fault, or None.
    """
    reader, network_options = _Reader(), replace(options, region=None)  # the region is cut out while reading
    at_once = 1
    if len(pictures) > 1:
        detector, at_once = detector.side_by_side()

    def read(picture: InputPicture) -> tuple[np.ndarray, PreparedImage]:
        pixels = reader.read(picture)
        return pixels, detector.prepare_image(pixels, region=options.region)

    def detect(entry: tuple[InputPicture, Future[tuple[np.ndarray, PreparedImage]]]) -> tuple[np.ndarray, Poses]:
        picture, reading = entry
        pixels, image = reading.result()
        known = None if boxes is None else boxes.of(picture, image.size[::-1])
        return pixels, detector.detect(image, prompts, boxes=known, options=network_options)

    def write(picture: InputPicture, poses: Poses, pixels: np.ndarray) -> None:
        results.add(picture, poses, pixels)
        outcomes.append(None)

    writing: Future[None] | None = None
    with (
        noticing_interrupts() as check,
        Bars(shown=len(pictures) > 1) as bars,
        ThreadPoolExecutor(1, "writer") as writer,
        ahead(read, pictures, at_once + 1) as readings,
        ahead(detect, readings, at_once, threads=at_once if at_once > 1 else 0) as detections,
    ):
        for number, ((picture, _), detection) in enumerate(detections):
            bars.update("pictures", number, len(pictures))
            try:
                pixels, poses = detection.result()
            except ImageError as error:
                message = str(error) if picture.name in str(error) else f"{quote(picture.name)}: {error}"
            except memory_errors():
                message = f'"{picture.name}" does not fit into memory. Downscale it, or use --device cpu.'
            else:
                if writing is not None:
                    writing.result()  # no result is written after one that could not be written
                writing = writer.submit(write, picture, replace(poses, source=picture.name), pixels)
                check()
                continue
            outcomes.append(Fault(picture.name, message))
            with bars.paused():
                _console.fail(f"{message.rstrip('. ')}. Skipped.")
            check()
        if writing is not None:
            writing.result()


class _Reader:
    """Reads pictures, and the frames of a file one after the other without opening it again."""

    def __init__(self) -> None:
        self._frames: Iterator[np.ndarray] = iter(())

    def read(self, picture: InputPicture) -> np.ndarray:
        """The pixels of a picture; frames are asked for in their order."""
        from xpose.pictures.reading import read_frames, read_picture

        if picture.frame is None:
            return read_picture(picture.path)[0]
        if picture.frame == 1:
            self._frames = read_frames(picture.path)
        pixels = next(self._frames, None)
        if pixels is None:
            raise ImageError(f"{quote(picture.name)} cannot be read, because an earlier frame of the file is damaged.")
        return pixels
