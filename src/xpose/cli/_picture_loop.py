"""What `detect` and `count` share: from the words of the command line to a result for every picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from xpose.cli import _console, _prompts
from xpose.cli._inputs import Fault, Picture, list_pictures
from xpose.cli._progress import Bars, noticing_interrupts
from xpose.errors import ImageError

if TYPE_CHECKING:
    import numpy as np

    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.results import Poses


class PictureOutput(Protocol):
    """What becomes of the results."""

    def add(self, picture: Picture, poses: Poses, pixels: np.ndarray) -> None:
        """Take the result of one picture."""

    def finish(self, faults: Sequence[Fault]) -> None:
        """Print and write what is left to do, at the end or after Ctrl-C."""


def names_of_rivals(words: str | None) -> tuple[str, ...] | None:
    """The names given with `--rivals`: empty for "none", and None if the option was not given.

    Raises:
        typer.BadParameter: a name is empty.
    """
    if words is None or words.strip().lower() == "none":
        return None if words is None else ()
    names = tuple(word.strip() for word in words.split(","))
    if not all(names):
        raise typer.BadParameter(f'{words!r} has an empty name. Write "person,cat", or "none".', param_hint="--rivals")
    return names


def words_for_pictures(images: Sequence[str] | None, more: Sequence[str] | None) -> list[str]:
    """All words that name pictures.

    Raises:
        typer.BadParameter: there are none.
    """
    words = [*(images or ()), *(more or ())]
    if not words:
        raise typer.BadParameter("No picture was given. Name pictures, a folder or a pattern.", param_hint="IMAGE")
    return words


def detect_in_pictures(
    words: Sequence[str],
    asked: _prompts.Asked,
    keep: Mapping[str, Any],
    load: Callable[[], Detector],
    output: Callable[[Detector, list[EncodedClass], list[Picture], DetectionOptions], PictureOutput],
    folder: Path | None = None,
    profile: Path | None = None,
) -> None:
    """Run the detector on all pictures that the words name, and hand the results to an output.

    Args:
        words: files, folders and patterns.
        asked: the prompts.
        keep: the values of `DetectionOptions`.
        load: loads the detector; called after all mistakes in the command line have been reported.
        output: creates the output.
        folder: the folder for results; drawings of earlier runs in it are not used as inputs.
        profile: a file for a PyTorch trace of the run.

    Raises:
        typer.Exit: a picture could not be used, or there are none.
    """
    pictures, faults = list_pictures(words, folder)
    for fault in faults:
        _console.fail(fault.message)
    if not pictures:
        raise typer.Exit(_console.FAILURE)
    _prompts.say_what_is_looked_for(asked)
    from xpose.inference import DetectionOptions
    from xpose.model.profiling import profiled

    options = DetectionOptions(**keep)
    detector = load()
    prompts = _prompts.encode(asked, detector)
    results = output(detector, prompts, pictures, options)
    try:
        with profiled(profile):
            faults += _detect_each(detector, prompts, pictures, options, results)
    finally:  # also after Ctrl-C, so that finished results are kept
        results.finish(faults)
    if faults:
        raise typer.Exit(_console.FAILURE)


def _detect_each(
    detector: Detector,
    prompts: list[EncodedClass],
    pictures: Sequence[Picture],
    options: DetectionOptions,
    results: PictureOutput,
) -> list[Fault]:
    """Detect in every picture; the pictures that could not be processed, after reporting them."""
    import torch

    from xpose.pictures.reading import read_picture

    faults: list[Fault] = []
    with noticing_interrupts() as check, Bars(shown=len(pictures) > 1) as bars:
        for number, picture in enumerate(pictures):
            check()
            bars.update("pictures", number, len(pictures))
            try:
                pixels, _ = read_picture(picture.path)
                poses = detector.detect(pixels, prompts, options=options)
            except ImageError as error:
                message = str(error)
            except (MemoryError, torch.OutOfMemoryError):
                message = f'"{picture.name}" does not fit into memory. Downscale it, or use --device cpu.'
            else:
                results.add(picture, replace(poses, source=picture.name), pixels)
                continue
            faults.append(Fault(picture.name, message))
            with bars.paused():
                _console.fail(f"{message.rstrip('. ')}. Skipped.")
        check()
    return faults
