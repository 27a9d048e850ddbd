"""The metrics: `update(truth, found)` for each picture, `compute()` at the end.

To add one, write a class with these two methods, export it from `xpose.evaluation`, and add its definition to
docs/evaluation-metrics.md and a case computed by hand to tests/evaluation/metrics.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from xpose.records import Record
from xpose.results import Poses


@runtime_checkable
class Metric(Protocol):
    """Numbers over pictures, independent of the pictures' order."""

    def update(self, truth: Record, found: Poses) -> None:
        """Add one picture: its labels, and what was found (in the record's pixels)."""

    def compute(self) -> dict[str, float]:
        """Return the numbers so far; NaN where there was nothing to measure."""
