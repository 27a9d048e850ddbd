"""What every metric is."""

from __future__ import annotations

from dataclasses import dataclass
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

    def reset(self) -> None:
        """Forget everything."""


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """What a metric says about one labelled object of a picture.

    Attributes:
        object: its place in `Record.instances`.
        category: its name.
        points: how many of its points were measured.
        values: number by name, e.g. {"PCK@0.2": 0.75}.
    """

    object: int
    category: str
    points: int
    values: dict[str, float]


@runtime_checkable
class PerObject(Metric, Protocol):
    """A metric whose number also makes sense for a single object."""

    def rows(self, truth: Record, found: Poses) -> list[ObjectRow]:
        """One row for each object that counts; nothing is remembered."""
