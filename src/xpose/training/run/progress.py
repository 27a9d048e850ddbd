"""Progress of a run: a bar on a terminal, lines elsewhere, TensorBoard on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.errors import missing_extra
from xpose.training.run.settings import Progress

if TYPE_CHECKING:
    from rich.console import Console

# Terms in the bar, by their names in the log, in this order; the others are in the log.
SHOWN = {
    "total": "loss",
    "object_alignment": "class",
    "closed_set": "class",
    "box_l1": "box",
    "giou": "giou",
    "keypoint_l1": "points",
    "oks": "oks",
}


def in_words(seconds: float) -> str:
    """A time as 45 s, 12 min or 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def line(progress: Progress) -> str:
    """One report as a line of text."""
    faulty = f"  {progress.faulty} step(s) without a finite number" if progress.faulty else ""
    terms = [f"{word} {progress.terms[name]:.3g}" for name, word in SHOWN.items() if name in progress.terms]
    return (
        f"step {progress.step}/{progress.steps}  {'  '.join(terms)}  rate {progress.rate:.2g}  "
        f"{progress.images_per_second:.1f} images/s  {progress.memory / 1024:.1f} GB  "
        f"{in_words(progress.remaining)} left{faulty}"
    )


class Bar:
    """A live bar with the loss terms on a terminal; otherwise one line for each report, or nothing.

    Use it as a context; `report` is what the loop calls.
    """

    def __init__(self, console: Console, *, say: Callable[[str], None], quiet: bool = False) -> None:
        self.live = console.is_terminal and not quiet
        self.quiet, self.say = quiet, say
        self._console, self._task = console, None
        self._bar: Any = None

    def __enter__(self) -> Bar:
        if self.live:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Rich

            columns = (
                MofNCompleteColumn(),
                BarColumn(24),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
            )
            self._bar = Rich(*columns, console=self._console, transient=True)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, progress: Progress) -> None:
        """Show a report of the loop."""
        if self._bar is None:
            if not self.quiet:
                self.say(line(progress))
            return
        text = line(progress).partition("  ")[2]
        if self._task is None:
            self._task = self._bar.add_task(text, total=progress.steps)
        self._bar.update(self._task, completed=progress.step, description=text)

    def note(self, message: str) -> None:
        """Say something that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        elif not self.quiet:
            self.say(message)


class TensorBoard:
    """Curves for TensorBoard in `OUT/tensorboard`.

    Raises:
        MissingExtraError: the package is not installed.
    """

    def __init__(self, folder: Path, start: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_extra("A TensorBoard log", "tensorboard", "train") from None
        # Steps after the one from which a run is resumed are drawn again.
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=start or None)

    def report(self, progress: Progress) -> None:
        """Write a report of the loop."""
        for name, value in progress.terms.items():
            self._writer.add_scalar(f"loss/{name}", value, progress.step)
        self._writer.add_scalar("rate", progress.rate, progress.step)
        self._writer.add_scalar("images per second", progress.images_per_second, progress.step)

    def measures(self, step: int, values: Mapping[str, float]) -> None:
        """Write what a validation found."""
        for name, value in values.items():
            self._writer.add_scalar(f"validation/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
