"""Negative prompts: how often something is returned for a class that is not there, and the recall beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xpose.errors import ConfigError
from xpose.evaluation.matching import judge, same_category
from xpose.records import Record
from xpose.results import Poses

Asked = Callable[[Record], Sequence[str]]


class FalseAlarms:
    """What is found of absent classes, above a score.

    Only meaningful where the set labels every object of every class that is asked: a person without a label in a set of
    animals would count as a false alarm. `compute()` gives "false alarms", poses of absent classes per picture; "false
    alarms/asked", the share of questions for an absent class that were answered with anything; "recall", the share of
    labelled objects found (IoU of boxes at least `least_iou`, same class, at the same threshold), since finding nothing
    at all is easy; "absent", "objects" and "pictures", how many there were.

    Args:
        asked: the classes that were asked for, the same for each picture or a function of the record.
        threshold: scores must be above it.
        least_iou: from where a box counts as found.
    """

    def __init__(self, asked: Sequence[str] | Asked, threshold: float = 0.1, *, least_iou: float = 0.5) -> None:
        for name, value in (("threshold", threshold), ("least_iou", least_iou)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value!r}. It must be a number from 0 to 1.")
        if isinstance(asked, str):
            raise ConfigError(f'asked is the text "{asked}". It must be a list of classes: ["{asked}"].')
        self._asked, self.threshold, self.least_iou = asked, threshold, least_iou
        self._pictures = self._alarms = self._absent = self._answered = self._objects = self._missed = 0

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        kept = found.filter(threshold=self.threshold)
        asked = self._asked(truth) if callable(self._asked) else self._asked
        present = [instance.category.name for instance in truth.instances]
        absent = [name for name in asked if not any(same_category(name, own) for own in present)]
        self._pictures += 1
        self._absent += len(absent)
        for name in absent:
            alarms = sum(same_category(name, category) for category in kept.categories)
            self._alarms += alarms
            self._answered += alarms > 0
        _, missed = judge(truth, kept, self.least_iou)
        self._objects += sum(not instance.iscrowd for instance in truth.instances)
        self._missed += int(missed.sum())

    def compute(self) -> dict[str, float]:
        """The numbers so far."""
        return {
            "false alarms": self._alarms / self._pictures if self._pictures else math.nan,
            "false alarms/asked": self._answered / self._absent if self._absent else math.nan,
            "recall": 1 - self._missed / self._objects if self._objects else math.nan,
            "absent": float(self._absent),
            "objects": float(self._objects),
            "pictures": float(self._pictures),
        }
