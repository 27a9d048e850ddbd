"""Runs the contestants of a comparison in child processes that take turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.comparisons import OURS, Comparison, Contestant
from benchmarks.peers.environments import Interpreter

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 240  # for the first result, and for every turn


class ContestantError(Exception):
    """A contestant did not answer; the message says why."""


@dataclass
class Row:
    """The measured values of one contestant."""

    contestant: str
    seconds: list[list[float]] = field(default_factory=list)  # per picture, of every call of every round
    starts: list[float] = field(default_factory=list)  # seconds from the start of a process to its first result
    found: list[int | None] = field(default_factory=list)  # objects in the picture of every round
    megabytes: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def median(self) -> float:
        """Seconds per picture."""
        return statistics.median(value for of_round in self.seconds for value in of_round)

    def ratio(self, base: Row) -> float:
        """How many times as long as the base it takes: the median over the rounds."""
        rounds = zip(self.seconds, base.seconds, strict=True)
        return statistics.median(statistics.median(mine) / statistics.median(theirs) for mine, theirs in rounds)


@dataclass
class Result:
    """A measured comparison."""

    name: str
    threads: int
    measured: str  # date and time
    others: float | None  # share of the machine that other programs used meanwhile
    comparison: dict[str, Any]  # its definition
    rows: list[Row]

    @classmethod
    def read(cls, path: Path) -> Result:
        """A stored result."""
        values = json.loads(path.read_text("utf-8"))
        return cls(**values | {"rows": [Row(**row) for row in values["rows"]]})

    def write(self, path: Path) -> None:
        """Store it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    def finished(self, comparison: Comparison, threads: int) -> bool:
        """Whether nothing of this comparison needs to be measured again."""
        same = self.comparison == definition(comparison) and self.threads == threads
        return same and not any(row.error for row in self.rows)


class Child:
    """The process of a contestant, which has given its first result."""

    def __init__(
        self, contestant: Contestant, python: Interpreter, comparison: Comparison, threads: int, logs: Path
    ) -> None:
        if isinstance(python, str):
            raise ContestantError(python)
        settings = dict(contestant.settings)
        pictures = [settings.pop("picture")] if "picture" in settings else comparison.pictures
        order = {"system": contestant.system, "settings": settings, "pictures": pictures, "threads": threads}
        name = "".join(letter if letter.isalnum() else "-" for letter in f"{comparison.name} {contestant.name}")
        self._log = logs / f"{name}.txt"
        logs.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.peers.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=_environment(threads, ours=contestant.environment == OURS),
            )
        try:
            self.found = self._ask(json.dumps(order))["found"]
        except BaseException:
            self.close()
            raise
        self.start = time.perf_counter() - begin

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with suppress(OSError):  # an order that the process has not read
            self._process.__exit__(None, None, None)

    def turn(self, number: int, calls: int) -> dict[str, Any]:
        """The seconds of so many calls on a picture, and what was found in it."""
        return self._ask(f"{number} {calls}")

    def usage(self) -> dict[str, Any]:
        """The memory and processor time that the process has used."""
        return self._ask("usage")

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        guard = threading.Timer(ANSWER_SECONDS, self._process.kill)
        guard.start()
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            late = not guard.is_alive()
            guard.cancel()
        if not answer:
            raise ContestantError(f"no answer in {ANSWER_SECONDS} seconds" if late else self._last_words())
        return dict(json.loads(answer))

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = [line for line in self._log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"it ended with code {code} and without a message"


def measure(comparison: Comparison, interpreters: Mapping[str, Interpreter], threads: int, logs: Path) -> Result:
    """Measure all contestants of a comparison; one that fails gets a row with the reason."""
    race = _Race(comparison, interpreters, threads, logs)
    begin, busy = time.perf_counter(), _busy_seconds()
    try:
        race.run()
    finally:
        race.close()
    others = None if busy is None else _share_of_others(begin, busy, race.processor)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Result(comparison.name, threads, now, others, definition(comparison), list(race.rows.values()))


class _Race:
    """The contestants of a comparison while they are measured."""

    def __init__(
        self, comparison: Comparison, interpreters: Mapping[str, Interpreter], threads: int, logs: Path
    ) -> None:
        self._comparison, self._interpreters, self._threads, self._logs = comparison, interpreters, threads, logs
        self._children: dict[str, Child] = {}
        self.rows = {contestant.name: Row(contestant.name) for contestant in comparison.contestants}
        self.processor = 0.0  # seconds that the children used

    def run(self) -> None:
        """Start all contestants, let them take turns, and ask what they used."""
        rounds = max(self._comparison.rounds, len(self._comparison.pictures))
        turns = [partial(self._turn, number=number) for number in range(rounds)]
        for step in (*[self._start] * self._comparison.starts, *turns, self._usage):
            for contestant in self._comparison.contestants:
                row = self.rows[contestant.name]
                if row.error is None:
                    try:
                        step(contestant, row)
                    except ContestantError as error:
                        row.error = str(error)

    def close(self) -> None:
        """End all processes."""
        for child in self._children.values():
            child.close()

    def _start(self, contestant: Contestant, row: Row) -> None:
        if earlier := self._children.pop(contestant.name, None):
            self.processor += earlier.usage()["processor"]
            earlier.close()
        python = self._interpreters[contestant.environment]
        child = Child(contestant, python, self._comparison, self._threads, self._logs)
        self._children[contestant.name] = child
        row.starts.append(child.start)

    def _turn(self, contestant: Contestant, row: Row, number: int) -> None:
        answer = self._children[contestant.name].turn(number, self._comparison.calls)
        batch = contestant.settings.get("batch", 1)
        row.seconds.append([seconds / batch for seconds in answer["seconds"]])
        row.found.append(answer["found"])

    def _usage(self, contestant: Contestant, row: Row) -> None:
        usage = self._children[contestant.name].usage()
        self.processor += usage["processor"]
        row.megabytes, row.versions = usage["megabytes"], usage["versions"]


def definition(comparison: Comparison) -> dict[str, Any]:
    """A comparison as it is stored."""
    return dict(json.loads(json.dumps(asdict(comparison))))


def _environment(threads: int, *, ours: bool) -> dict[str, str]:
    """The environment variables of a child process; other systems do not see our packages."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | counts
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} if ours else variables


def _busy_seconds() -> float | None:
    """Processor seconds that all programs have used so far; None where the system does not say."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, interrupts, soft, *_ = map(int, path.read_text().splitlines()[0].split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _share_of_others(begin: float, busy: float, processor: float) -> float:
    """The share of the machine that programs besides the last processes used since `begin`."""
    now = _busy_seconds()
    assert now is not None
    whole = (time.perf_counter() - begin) * (os.cpu_count() or 1)
    return max(0.0, (now - busy - processor) / whole)
