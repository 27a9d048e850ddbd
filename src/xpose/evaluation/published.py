"""The papers' numbers, from `published.toml`: only numbers that this project has seen stated, each with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from xpose.evaluation.tables import Table


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(files("xpose.evaluation").joinpath("published.toml").read_text("utf-8"))


def published(keys: Sequence[str]) -> list[Table]:
    """The tables of published numbers with these keys, as they were printed."""
    return [_table(_content()[key]) for key in keys]


def keys() -> tuple[str, ...]:
    """All tables there are."""
    return tuple(_content())


def _table(entry: dict[str, Any]) -> Table:
    rows = tuple(tuple(row) for row in entry["rows"])
    notes = (f"Source: {entry['source']}.", *entry.get("notes", ()))
    return Table(
        f"Published: {entry['title']}", tuple(entry["columns"]), rows, notes, decimals=entry.get("decimals", 1)
    )
