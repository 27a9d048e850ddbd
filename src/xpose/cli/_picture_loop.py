"""The loop of `detect` and `count`: from command-line arguments to a result for every picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from xpose.cli import _console, _prompts
from xpose.cli._boxes import BoxFile
from xpose.cli._inputs import Fault, InputPicture, list_pictures
from xpose.cli._options import DetectionCommandOptions
from xpose.cli._progress import Bars, noticing_interrupts
from xpose.errors import ImageError, quote

if TYPE_CHECKING:
    import numpy as np

    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.results import Poses


class PictureOutput(Protocol):
    """Takes the result of each picture, and prints and writes the rest at the end or after Ctrl-C."""

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
    rivals, region = names_of_rivals(given.rivals), numbers_of_region(given.region)
    prompts = _prompts.build_prompts(given, given.bank)
    pictures, faults = list_pictures(words, folder)
    for unusable in faults:
        _console.fail(unusable.message)
    if not pictures:
        raise typer.Exit(_console.FAILURE)
    boxes = None if boxes_from is None else BoxFile(boxes_from, pictures)
    _prompts.show_prompts(prompts)
    from xpose.inference import DetectionOptions
    from xpose.model.profiling import profiled

    options = DetectionOptions(
        threshold=given.threshold,
        keypoint_threshold=keypoint_threshold,
        nms=given.nms,
        nms_oks=given.nms_oks,
        max_instances=given.max_instances,
        rivals=rivals,
        region=region,
        best=best,
    )
    detector = _prompts.load_detector(given.weights, given.config, given.device, given.dtype, given.clip)
    encoded = _prompts.encode(prompts, given.bank, detector)
    if boxes is not None:
        boxes.keep_classes([entry.names.label for entry in encoded])
    results, done = output(detector, encoded, pictures, options), 0
    try:
        with profiled(profile):
            for fault in _detect_each(detector, encoded, pictures, boxes, options, results):
                done += 1
                faults += filter(None, [fault])
    finally:  # also after Ctrl-C, so that finished results are kept
        results.finish(faults)
        if done < len(pictures) > 1:
            _console.note(f"Stopped after {done} of {len(pictures)} pictures.")
    if faults:
        raise typer.Exit(_console.FAILURE)


def _detect_each(
    detector: Detector,
    prompts: list[EncodedClass],
    pictures: Sequence[InputPicture],
    boxes: BoxFile | None,
    options: DetectionOptions,
    results: PictureOutput,
) -> Iterator[Fault | None]:
    """Detect in every picture; report and yield the faults of pictures that could not be processed."""
    import torch

    reader = _Reader()
    with noticing_interrupts() as check, Bars(shown=len(pictures) > 1) as bars:
        for number, picture in enumerate(pictures):
            check()
            bars.update("pictures", number, len(pictures))
            try:
                pixels = reader.read(picture)
                known = None if boxes is None else boxes.of(picture, (pixels.shape[1], pixels.shape[0]))
                poses = detector.detect(pixels, prompts, boxes=known, options=options)
            except ImageError as error:
                message = str(error)
            except (MemoryError, torch.OutOfMemoryError):
                message = f'"{picture.name}" does not fit into memory. Downscale it, or use --device cpu.'
            else:
                results.add(picture, replace(poses, source=picture.name), pixels)
                yield None
                continue
            with bars.paused():
                _console.fail(f"{message.rstrip('. ')}. Skipped.")
            yield Fault(picture.name, message)
        check()


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
