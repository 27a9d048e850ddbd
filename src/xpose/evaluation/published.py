"""The papers' numbers, from `published.toml`: only numbers that this project has seen stated, each with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from xpose.evaluation.tables import Table


def published(keys: Sequence[str]) -> list[Table]:
    """The tables of published numbers with these keys, as they were printed."""
    return [published_tables()[key] for key in keys]


@cache
def published_tables() -> dict[str, Table]:
    """All tables that there are, by key."""
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
