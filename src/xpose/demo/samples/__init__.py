"""Drawn pictures to try the demo with, and the points of one object in each; made by `benchmarks/demo_samples.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """One picture.

    Attributes:
        file: its name.
        words: what to look for in it.
        points: of one object: name → x, y, visible.
    """

    file: str
    words: str
    points: Mapping[str, tuple[float, float, bool]]

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        return (FOLDER / self.file).read_bytes()


@cache
def samples() -> dict[str, Sample]:
    """All of them by file name."""
    rows = json.loads((FOLDER / "samples.json").read_text("utf-8"))
    return {
        row["file"]: Sample(
            row["file"], row["words"], {name: (x, y, seen) for name, (x, y, seen) in row["points"].items()}
        )
        for row in rows
    }
