"""What every protocol is: a statement of the rules, the questions it asks, and how the answers become tables.

A protocol is one small module with a `PROTOCOL`; adding one: docs/evaluation.md, "Adding a protocol".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from xpose.evaluation.data import Data
from xpose.evaluation.questions import Task
from xpose.evaluation.scores import Scores
from xpose.evaluation.settings import Settings
from xpose.evaluation.sources import AnswerSource
from xpose.evaluation.tables import Table


@dataclass(frozen=True)
class Findings:
    """What a protocol concludes from its scores.

    Attributes:
        values: every number by name, as shares of 1 or plain numbers.
        tables: the same for people.
        means: for numbers that are a mean over rows of objects, over what (`xpose.evaluation.run_file`).
        left_out: groups that do not count for the means.
    """

    values: Mapping[str, float]
    tables: tuple[Table, ...]
    means: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


Tasks = Callable[[Data, Settings], Iterator[Task]]
NewScores = Callable[[Data, Settings], Scores]
Conclude = Callable[[Scores, Data, Settings], Findings]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a protocol states (printed with every table), and the functions that run it.

    Attributes:
        name: as in `xpose eval NAME`.
        title: one line.
        source: paper and table.
        data: which sets, in words.
        boxes: where boxes come from, and which answer stands for an object.
        prompts: how the classes are asked.
        pck: what errors are divided by, and the thresholds.
        metrics: their names.
        tasks: the pictures with their questions, the same every time.
        conclude: numbers and tables from the scores.
        scores: makes the scores, with rules of matching and further metrics per group.
        headline: the one value to look at.
        thresholds: those that the run's file holds for every object; none where places of points are not measured.
        split: the usual one.
        usual: the settings it is run with where nobody says otherwise.
        sets: names of the sets it needs; empty for any.
        published: keys of the papers' numbers that follow our tables.
        alone: pictures go through the network one at a time, so that none is padded.
        open: makes the source of answers out of weights, where plain detection is not what is measured.
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
    tasks: Tasks
    conclude: Conclude
    scores: NewScores = lambda data, settings: Scores()
    thresholds: tuple[float, ...] = (0.2,)
    split: str = "val"
    usual: Settings = field(default_factory=Settings)
    sets: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    alone: bool = False
    open: Callable[..., AnswerSource] | None = None

    def statement(self, data: Data, settings: Settings) -> dict[str, str]:
        """Everything a table has to say about itself, in words."""
        return {
            "protocol": f"{self.name}: {self.title} ({self.source})",
            "data": self.data + (f"; only {', '.join(data.only)}" if data.only else ""),
            "split": data.split + (f", at most {settings.limit} pictures per set" if settings.limit else ""),
            "boxes": self.boxes,
            "prompts": f"{self.prompts}; {settings.shown}",
            "threshold": f"{_threshold(settings)}, duplicates {_duplicates(settings)}",
            "input": (f"longer side {settings.side}" if settings.side else "as the weights say")
            + (", one picture at a time" if self.alone else ""),
            "pixels": "by index, as in the labels" if settings.index_pixels else "continuous, half a pixel taken off",
            "flip test": "yes, mean of both" if settings.flip else "no",
            "seed": str(settings.seed),
            "PCK": self.pck,
            "metrics": ", ".join(self.metrics),
        }


def _threshold(settings: Settings) -> str:
    if settings.threshold == "weights":
        return "those of the weights, by class"
    return f"{settings.threshold:g}" + (", beside the rivals of the weights" if settings.rivals else "")


def _duplicates(settings: Settings) -> str:
    if settings.nms is None:
        return "kept"
    return f"removed at IoU {settings.nms}" if settings.nms != "weights" else "removed as the weights say"
