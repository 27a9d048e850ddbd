"""What every metric is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from xpose.records import Record
from xpose.results import Poses


@runtime_checkable
class Metric(Protocol):
    """Numbers over pictures. The order of the pictures does not matter, and feeding them in pieces changes nothing."""

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture: what is labelled, and what was found (in the record's pixels)."""

    def compute(self) -> dict[str, float]:
        """The numbers so far; NaN where there was nothing to measure."""
