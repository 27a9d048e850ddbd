"""Signals that end a run, kept from falling into the moment in which its parts do not fit together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM: a machine that is taken back, a batch system, torchrun)."""


class Interruptions:
    """A context in which SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt, and both can be held back.

    With `announce`, the first signal only sets `stopping` and is announced; the second one raises KeyboardInterrupt.
    """

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        self.stopping = False
        self._announce = announce
        self._held = False
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruptions:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
            self._before = {number: signal.signal(number, self._came) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let signals wait until the end of this block."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            number, self._waiting = self._waiting, None
            if number is not None:
                self._act(number, None)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self._waiting = number
        else:
            self._act(number, frame)

    def _act(self, number: int, frame: FrameType | None) -> None:
        if self._announce is not None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True
            self._announce("Stopping after this step and saving. Press Ctrl-C again to stop at once.")
            return
        before = self._before[number]
        if callable(before):  # Python's own, or that of the program around: a command line may stop gently
            before(number, frame)
        elif before == signal.SIG_DFL:
            raise Terminated(128 + number)
