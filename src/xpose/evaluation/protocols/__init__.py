"""The parts of every protocol: a statement of the rules, the questions, and how answers become tables.

A protocol is a module of this folder, loaded on demand, with its texts in `protocols.toml`. To add one, see
docs/evaluation.md, "Adding a protocol".
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.questions import Settings, Task
from xpose.evaluation.scores import Scores, mean
from xpose.evaluation.sources import AnswerSource

# Each protocol's statement, and `at`: its "module:attribute", or a module with it in `BY_NAME`.
PROTOCOLS: dict[str, dict[str, Any]] = tomllib.loads(files(__name__).joinpath("protocols.toml").read_text("utf-8"))

ERRORS = "expected errors"  # the name of the metric `ExpectedErrors` in scores
Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Rows of cells. Numbers are percentages or plain numbers with `decimals` places; None and NaN print as a dash."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: tuple[str, ...] = ()
    decimals: int = 1

    @property
    def words(self) -> tuple[int, ...]:
        """The indices of the columns that hold text."""
        return tuple(i for i in range(len(self.columns)) if any(isinstance(row[i], str) for row in self.rows))

    def cells(self) -> list[list[str]]:
        """All cells as displayed."""

        def shown(cell: Cell) -> str:
            if isinstance(cell, float):
                return f"{cell:.{self.decimals}f}" if math.isfinite(cell) else "–"
            return "–" if cell is None else str(cell)

        return [list(map(shown, row)) for row in self.rows]

    def markdown(self) -> str:
        """The table in Markdown, notes below it."""
        lines = [f"### {self.title}", "", _line(self.columns)]
        lines.append("|" + "|".join("---" if i in self.words else "---:" for i in range(len(self.columns))) + "|")
        lines += [_line(row) for row in self.cells()]
        lines += ["", *(f"{note}\n" for note in self.notes)] if self.notes else [""]
        return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def percent(value: float | None) -> float | None:
    """A share of 1 as a percentage."""
    return None if value is None else 100.0 * value


@cache
def published_tables() -> dict[str, Table]:
    """All published tables by key: only numbers that this project has seen, each with its source."""
    content = tomllib.loads(files("xpose.evaluation").joinpath("published.toml").read_text("utf-8"))
    return {
        key: Table(
            f"Published: {entry['title']}",
            entry["columns"],
            entry["rows"],
            (f"Source: {entry['source']}.", *entry.get("notes", ())),
            decimals=entry.get("decimals", 1),
        )
        for key, entry in content.items()
    }


@dataclass(frozen=True)
class Findings:
    """What a protocol concludes from its scores."""

    values: Mapping[str, float]  # every number by name, as shares of 1 or plain numbers
    tables: tuple[Table, ...]
    means: Mapping[str, str] = field(default_factory=dict)  # of values that are means over objects (`run_file`)
    left_out: tuple[str, ...] = ()  # groups excluded from the means


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a protocol states (printed with every table), and the functions that run it."""

    name: str  # as in `xpose eval NAME`
    title: str
    source: str  # paper and table
    data: str  # the sets, in words
    boxes: str  # the source of boxes, and how answers are assigned to objects
    prompts: str  # how the classes are asked
    pck: str  # the divisor of errors, and the thresholds
    metrics: Sequence[str]  # their names
    headline: str  # the name of the main value
    tasks: Callable[[EvaluationData, Settings], Iterator[Task]]  # the pictures with their questions
    conclude: Callable[[Scores, EvaluationData, Settings], Findings]
    scores: Callable[[EvaluationData, Settings], Scores] = lambda data, settings: Scores()
    thresholds: tuple[float, ...] = (0.2,)  # those in the run's file; none if points are not measured
    split: str = "val"  # the default split
    usual: Settings = field(default_factory=Settings)  # the default settings
    sets: tuple[str, ...] = ()  # names of the sets that it needs; empty for any
    published: tuple[str, ...] = ()  # keys of the papers' tables printed after ours
    alone: bool = False  # process pictures one at a time
    open: Callable[..., AnswerSource] | None = None  # opens the source from weights, unless it is plain detection

    def statement(self, data: EvaluationData, settings: Settings) -> dict[str, str]:
        """The statement of a table in words."""
        words = settings.describe()
        return {
            "protocol": f"{self.name}: {self.title} ({self.source})",
            "data": self.data + (f"; only {', '.join(data.only)}" if data.only else ""),
            "split": data.split + (f", at most {settings.limit} pictures per set" if settings.limit else ""),
            "boxes": self.boxes,
            **words,
            "prompts": f"{self.prompts}; {words['prompts']}",
            "input": words["input"] + (", one picture at a time" if self.alone else ""),
            "PCK": self.pck,
            "metrics": ", ".join(self.metrics),
        }


def stated(name: str, **rules: Any) -> Protocol:
    """A protocol with the texts of `protocols.toml`; `rules` are its other fields."""
    words = {key: value for key, value in PROTOCOLS[name].items() if key != "at"}
    return Protocol(name=name, **words, **rules)


def load_protocol(name: str) -> Protocol:
    """Load the protocol by name; a ConfigError if there is none."""
    if name not in PROTOCOLS:
        raise ConfigError(
            f"Unknown protocol {quote(name)}.{did_you_mean(name, PROTOCOLS)} List them with: xpose eval --list"
        )
    module_name, _, attribute = PROTOCOLS[name]["at"].partition(":")
    module = import_module(f"{__name__}.{module_name}")
    protocol: Protocol = getattr(module, attribute) if attribute else module.BY_NAME[name]
    return protocol


def error_correlation(scores: Scores) -> tuple[dict[str, float], list[Table]]:
    """The rank correlation of predicted and true point errors by set; empty if no errors are predicted."""
    name = "error correlation"
    by_set = {group: scores.metrics[group, ""][ERRORS].compute() for group in scores.groups()}
    by_set = {group: numbers for group, numbers in by_set.items() if math.isfinite(numbers[name])}
    if not by_set:
        return {}, []
    average = mean(numbers[name] for numbers in by_set.values())
    rows = [(group, int(numbers["error points"]), numbers[name]) for group, numbers in by_set.items()]
    rows.append((f"mean over sets ({len(by_set)})", sum(count for _, count, _ in rows), average))
    note = "Spearman's rank correlation of expected and true errors in pixels: 1 is the same order, 0 no relation."
    table = Table("Expected errors of points", ("set", "points", "rank correlation"), rows, (note,), decimals=3)
    return {name: average, **{f"{name}/set/{group}": numbers[name] for group, numbers in by_set.items()}}, [table]
