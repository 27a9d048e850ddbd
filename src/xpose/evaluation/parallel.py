"""Several processes that answer a protocol's questions side by side, each with its own copy of the weights.

They share nothing but the folder of the run: process i of n answers every n-th picture that nobody has answered yet and
writes it to a file of its own. The process that started them then reads all of it as if it had been alone.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from xpose.errors import ConfigError, XPoseError
from xpose.evaluation.answers import AnswerJournal
from xpose.evaluation.data import Data
from xpose.evaluation.settings import Settings
from xpose.evaluation.sources import AnswerSource

SourceMaker = Callable[[], AnswerSource]  # a function of a module, or a partial of one, so that it can be sent


@dataclass(frozen=True)
class Work:
    """What every process has to know."""

    protocol: str
    data: Data
    settings: Settings
    folder: str
    identity: dict[str, Any]
    make: SourceMaker


def answer_in_parallel(work: Work, processes: int, progress: Callable[[int], None] | None = None) -> None:
    """Have all questions of a protocol answered into the run's folder.

    Raises:
        ConfigError: fewer than one process.
        XPoseError: what went wrong in one of them; the others are stopped, their answers stay.
    """
    if processes < 1:
        raise ConfigError(f"processes is {processes}. It must be a whole number of at least 1.")
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // processes)
    started = [
        context.Process(target=_process, args=(work, number, processes, threads, reports), daemon=True)
        for number in range(processes)
    ]
    try:
        for process in started:
            process.start()
        _listen(started, reports, progress)
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
        for process in started:
            process.join()


def _listen(started: list[Any], reports: Any, progress: Callable[[int], None] | None) -> None:
    running, done = set(range(len(started))), 0
    while running:
        try:
            kind, number, content = reports.get(timeout=1.0)
        except queue.Empty:
            for number in sorted(running):
                if not started[number].is_alive() and reports.empty():
                    raise XPoseError(
                        f"Process {number + 1} of {len(started)} ended unexpectedly (exit code "
                        f"{started[number].exitcode}); it may have run out of memory. The answers so far are kept: "
                        "run the same command again, with fewer --processes."
                    ) from None
            continue
        if kind == "fault":
            raise content
        if kind == "end":
            running.discard(number)
        else:
            done += 1
            if progress:
                progress(done)


def _process(work: Work, number: int, processes: int, threads: int, reports: Any) -> None:
    """One process: from here on nobody else's memory."""
    import torch

    from xpose.evaluation.protocols import load_protocol
    from xpose.evaluation.runner import answered

    torch.set_num_threads(threads)
    try:
        data = replace(work.data, skipped={})
        with AnswerJournal(work.folder, work.identity, number) as journal:
            tasks = load_protocol(work.protocol).tasks(data, work.settings)
            mine = (task for place, task in enumerate(tasks) if place % processes == number and task.key not in journal)
            for _ in answered(mine, work.make(), work.settings, journal):
                reports.put(("picture", number, None))
        reports.put(("end", number, None))
    except XPoseError as error:
        reports.put(("fault", number, type(error)(str(error))))
    except KeyboardInterrupt:
        pass
    except Exception as error:
        reports.put(("fault", number, XPoseError(f"Process {number + 1} failed: {type(error).__name__}: {error}")))
