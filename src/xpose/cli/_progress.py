"""Progress bars, and Ctrl-C that is never lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xpose.cli import _console

if TYPE_CHECKING:
    from rich.progress import TaskID


class Bars:
    """One progress bar per name, on standard error; shown only on a terminal and without `--quiet`."""

    def __init__(self, *, shown: bool = True) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = _console.console(sys.stderr)
        self._shown = shown and console.is_terminal and not _console.is_quiet()
        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        if self._shown:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._progress.stop()

    def update(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` items are finished."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bars while something else prints."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


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
