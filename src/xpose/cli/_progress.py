"""Progress bars, and reliable Ctrl-C handling."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from xpose.cli import _console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from xpose.training.run.log import Progress as RunProgress

# Parts of the loss in the bar of a run, by their names in the log; the others are only in the log.
_TERMS = {"object_alignment": "class", "closed_set": "class", "box_l1": "box", "giou": "box overlap"}
_TERMS |= {"keypoint_l1": "points", "oks": "pose"}


class Bars:
    """One progress bar per name, on standard error; shown only on a terminal and without `--quiet`."""

    def __init__(self, console: Console | None = None, *, shown: bool = True) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = console or _console.console(sys.stderr)
        self.shown = shown and console.is_terminal and not _console.is_quiet()
        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self.shown:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            self._progress.stop()

    def update(self, name: str, done: int, total: int | None, text: str = "") -> None:
        """Show that `done` of `total` items (None if unknown) are finished, next to the text (default: name)."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(text or name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total, description=text or name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bars while something else prints."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


def run_line(progress: RunProgress) -> str:
    """A report of a training run as a line of text."""
    from xpose.training.run.log import in_words

    faulty = f"  {progress.faulty} step(s) without a finite number" if progress.faulty else ""
    parts = [f"{word} {progress.terms[name]:.3g}" for name, word in _TERMS.items() if name in progress.terms]
    loss = f"loss {progress.terms['total']:.3g} ({', '.join(parts)})  " if parts else ""
    return (
        f"step {progress.step}/{progress.steps}  {loss}learning rate {progress.rate:.2g}  "
        f"{progress.images_per_second:.1f} pictures/s  {progress.memory / 1024:.1f} GB  "
        f"{in_words(progress.remaining)} left{faulty}"
    )


class RunBar(Bars):
    """The progress of a training run: a bar with the loss terms on a terminal, otherwise a line for each report."""

    def __init__(self, console: Console, *, say: Callable[[str], None], quiet: bool = False) -> None:
        super().__init__(console, shown=not quiet)
        text, *columns = self._progress.columns
        self._progress.columns = (*columns, text)  # the text is long: without space, its end is cut off
        self._quiet, self._say = quiet, say

    def report(self, progress: RunProgress) -> None:
        """Show a report of the loop."""
        line = run_line(progress)
        if self.shown:
            self.update("run", progress.step, progress.steps, line.partition("  ")[2])
        else:
            self.note(line)

    def note(self, message: str) -> None:
        """Print a message that stays, above the bar."""
        if self.shown:
            self._progress.console.print(message, markup=False, highlight=False)
        elif not self._quiet:
            self._say(message)


@contextmanager
def noticing_interrupts() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C raise KeyboardInterrupt as usual; the yielded function raises it again if it was lost.

    Python drops exceptions that are raised while an object is finalised, and a decoder in C may turn them into errors
    of its own.
    """
    interrupted = False

    def interrupt(number: int, _: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    def check() -> None:
        if interrupted:
            raise KeyboardInterrupt

    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield check
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, usual)
