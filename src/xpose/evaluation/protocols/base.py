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
    """What a protocol states (printed with every table), and the functions that run it.

    Attributes:
        name: as in `xpose eval NAME`.
        title: one line.
        source: paper and table.
        data: which sets, in words.
        boxes: where boxes are from, and which answer is assigned to an object.
        prompts: how the classes are asked.
        pck: what errors are divided by, and the thresholds.
        metrics: their names.
        headline: the name of the value to look at first.
        tasks: the pictures with their questions, the same every time.
        conclude: numbers and tables from the scores.
        scores: makes the scores, with rules of matching and further metrics per group.
        thresholds: those that the run's file holds for every object; none if points are not measured.
        split: the default split.
        usual: the default settings.
        sets: names of the sets that it needs; empty for any.
        published: keys of the papers' numbers that follow our tables.
        alone: pictures go through the network one at a time, so that none is padded.
        open: makes the source of answers from weights, if it is not plain detection.
    """

    name: str
    title: str
    source: str
    data: str
    boxes: str
    prompts: str
    pck: str
    metrics: tuple[str, ...]
    headline: str
    tasks: Callable[[EvaluationData, Settings], Iterator[Task]]
    conclude: Callable[[Scores, EvaluationData, Settings], Findings]
    scores: Callable[[EvaluationData, Settings], Scores] = lambda data, settings: Scores()
    thresholds: tuple[float, ...] = (0.2,)
    split: str = "val"
    usual: Settings = field(default_factory=Settings)
    sets: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    alone: bool = False
    open: Callable[..., AnswerSource] | None = None

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
