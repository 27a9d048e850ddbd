"""What every protocol is: a statement of the rules, the questions it asks, and how the answers become tables.

A protocol is one small module with a `PROTOCOL`; adding one: docs/evaluation.md, "Adding a protocol".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.questions import Task
from xpose.evaluation.scores import Scores, mean
from xpose.evaluation.settings import Settings
from xpose.evaluation.sources import AnswerSource
from xpose.evaluation.tables import Table

ERRORS = "expected errors"  # the name of the metric `ExpectedErrors` in scores


@dataclass(frozen=True)
class Findings:
    """What a protocol concludes from its scores."""

    values: Mapping[str, float]  # every number by name, as shares of 1 or plain numbers
    tables: tuple[Table, ...]
    means: Mapping[str, str] = field(default_factory=dict)  # of values that are means over objects (`run_file`)
    left_out: tuple[str, ...] = ()  # groups that do not count for the means


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a protocol states (printed with every table), and the functions that run it."""

    name: str  # as in `xpose eval NAME`
    title: str
    source: str  # paper and table
    data: str  # which sets, in words
    boxes: str  # where boxes are from, and which answer is assigned to an object
    prompts: str  # how the classes are asked
    pck: str  # what errors are divided by, and the thresholds
    metrics: tuple[str, ...]  # their names
    headline: str  # the name of the value to look at first
    tasks: Callable[[EvaluationData, Settings], Iterator[Task]]  # the pictures with their questions
    conclude: Callable[[Scores, EvaluationData, Settings], Findings]
    scores: Callable[[EvaluationData, Settings], Scores] = lambda data, settings: Scores()
    thresholds: tuple[float, ...] = (0.2,)  # those in the run's file; none if points are not measured
    split: str = "val"  # the default split
    usual: Settings = field(default_factory=Settings)  # the default settings
    sets: tuple[str, ...] = ()  # names of the sets that it needs; empty for any
    published: tuple[str, ...] = ()  # keys of the papers' numbers that follow our tables
    alone: bool = False  # pictures go through the network one at a time, so that none is padded
    open: Callable[..., AnswerSource] | None = None  # makes the source from weights, if it is not plain detection

    def statement(self, data: EvaluationData, settings: Settings) -> dict[str, str]:
        """Everything that a table states about itself, in words."""
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


def error_correlation(scores: Scores) -> tuple[dict[str, float], list[Table]]:
    """How well predicted errors of points rank the true ones, by set; nothing if no errors are predicted."""
    name = "error correlation"
    by_set = {group: scores.metrics[group, ""][ERRORS].compute() for group in scores.groups()}
    by_set = {group: numbers for group, numbers in by_set.items() if math.isfinite(numbers[name])}
    if not by_set:
        return {}, []
    average = mean(numbers[name] for numbers in by_set.values())
    rows = [(group, int(numbers["error points"]), numbers[name]) for group, numbers in by_set.items()]
    rows.append((f"mean over sets ({len(by_set)})", sum(count for _, count, _ in rows), average))
    note = "Spearman's rank correlation of expected and true errors in pixels: 1 is the same order, 0 no relation."
    table = Table("Expected errors of points", ("set", "points", "rank correlation"), tuple(rows), (note,), decimals=3)
    return {name: average, **{f"{name}/set/{group}": numbers[name] for group, numbers in by_set.items()}}, [table]
