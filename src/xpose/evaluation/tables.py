"""Tables of results as text cells and as Markdown, and the papers' numbers from `published.toml`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Rows of cells. Numbers are percentages or plain numbers with `decimals` places; None and NaN print as a dash."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    decimals: int = 1

    @property
    def words(self) -> tuple[int, ...]:
        """The indices of the columns that hold text."""
        return tuple(i for i in range(len(self.columns)) if any(isinstance(row[i], str) for row in self.rows))

    def cells(self) -> list[list[str]]:
        """All cells as they are shown."""
        return [[self._shown(cell) for cell in row] for row in self.rows]

    def _shown(self, cell: Cell) -> str:
        if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
            return "–"
        return f"{cell:.{self.decimals}f}" if isinstance(cell, float) else str(cell)

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


def published(keys: Sequence[str]) -> list[Table]:
    """The tables of published numbers with these keys, as they were printed."""
    return [published_tables()[key] for key in keys]


@cache
def published_tables() -> dict[str, Table]:
    """All published tables by key: only numbers that this project has seen, each with its source."""
    content = tomllib.loads(files("xpose.evaluation").joinpath("published.toml").read_text("utf-8"))
    return {
        key: Table(
            f"Published: {entry['title']}",
            tuple(entry["columns"]),
            tuple(map(tuple, entry["rows"])),
            (f"Source: {entry['source']}.", *entry.get("notes", ())),
            decimals=entry.get("decimals", 1),
        )
        for key, entry in content.items()
    }
