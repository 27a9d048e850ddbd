"""The loop over pictures that `detect` and `count` share: progress, bad files skipped, Ctrl-C between two pictures."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console
from xpose.cli._inputs import Fault, Picture, printable
from xpose.errors import ImageError

if TYPE_CHECKING:
    import numpy as np

    from xpose.inference import DetectionOptions, Detector
    from xpose.results import Poses

KEPT = "What is kept"

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE", help='Pictures, folders with all below them, or patterns in quotes: "frames/*.png".'
    ),
]
MoreImages = Annotated[
    list[str] | None, typer.Option("-i", "--image", metavar="IMAGE", help="The same; may be repeated.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        metavar="NUMBER",
        rich_help_panel=KEPT,
        help="Keep objects with a higher score. Lower finds more, also more that is wrong. Default: the value stored "
        "with the weights for each object, else 0.1.",
    ),
]
KeypointThreshold = Annotated[
    float | None,
    typer.Option(
        "--keypoint-threshold",
        min=0,
        max=1,
        metavar="NUMBER",
        rich_help_panel=KEPT,
        help="Keypoints with less confidence count as absent. Default: the value stored with the weights.",
    ),
]
MaxInstances = Annotated[
    int | None,
    typer.Option(
        "--max-instances", min=1, metavar="N", rich_help_panel=KEPT, help="At most this many objects, best first."
    ),
]
Nms = Annotated[
    float | None,
    typer.Option(
        "--nms",
        min=0,
        max=1,
        metavar="NUMBER",
        rich_help_panel=KEPT,
        help="Among boxes overlapping by more than this, keep only the best; 1 keeps all. Default: the value stored "
        "with the weights.",
    ),
]
NmsOks = Annotated[
    float | None,
    typer.Option(
        "--nms-oks",
        min=0,
        max=1,
        metavar="NUMBER",
        rich_help_panel=KEPT,
        help="Among poses more similar than this, keep only the best; for animals in a heap, instead of --nms.",
    ),
]
Rivals = Annotated[
    str | None,
    typer.Option(
        "--rivals",
        metavar="NAMES",
        rich_help_panel=KEPT,
        help='What objects may rather be, e.g. "person,cat": what fits one of them better is not answered. "none" for '
        "no such names. Left out: as the weights say.",
    ),
]


def names_of_rivals(words: str | None) -> tuple[str, ...] | None:
    """What `--rivals` says: none at all for "none", None where it is left out.

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
        typer.BadParameter: there is none.
    """
    words = [*(images or ()), *(more or ())]
    if not words:
        raise typer.BadParameter("No picture was given. Name pictures, a folder or a pattern.", param_hint="IMAGE")
    return words


def detect_each(
    detector: Detector,
    prompts: list[Any],
    pictures: Sequence[Picture],
    options: DetectionOptions,
    use: Callable[[Picture, Poses, np.ndarray], None],
) -> list[Fault]:
    """Detect in every picture and hand the result to `use`; the pictures that could not be read, already reported."""
    import dataclasses

    import torch

    from xpose.pictures.reading import read_picture

    faults: list[Fault] = []
    with _noticing_interrupts() as check, _progress(pictures) as (each, pause):
        for picture in each:
            check()
            try:
                pixels, _ = read_picture(picture.path)
                poses = detector.detect(pixels, prompts, options=options)
            except ImageError as error:
                message = str(error)
            except (MemoryError, torch.OutOfMemoryError):
                message = f'"{picture.name}" does not fit into the memory. Reduce it, or use --device cpu.'
            else:
                use(picture, dataclasses.replace(poses, source=picture.name), pixels)
                continue
            faults.append(Fault(picture.name, message))
            with pause():
                _console.fail(f"{message.rstrip('. ')}. Skipped.")
        check()
    return faults


@contextmanager
def _noticing_interrupts() -> Iterator[Callable[[], None]]:
    """Ctrl-C interrupts as ever, and where the exception was lost on its way the function yielded raises it again.

    Python drops what is raised while an object is finalised, and a decoder in C may turn it into an error of its own.
    """
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield check
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _progress(pictures: Sequence[Picture]) -> Iterator[tuple[Iterator[Picture], Callable[[], Any]]]:
    """The pictures one by one, under a progress bar on standard error where somebody watches; and how to pause it."""
    if _console.is_quiet() or len(pictures) < 2 or not sys.stderr.isatty():
        yield iter(pictures), nullcontext
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=_console.console(sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=len(pictures))

        def each() -> Iterator[Picture]:
            for picture in pictures:
                progress.update(task, description=printable(picture.path.name))
                yield picture
                progress.advance(task)

        @contextmanager
        def pause() -> Iterator[None]:
            progress.stop()  # what others print would stand in the bar's line
            try:
                yield
            finally:
                progress.start()

        yield each(), pause
