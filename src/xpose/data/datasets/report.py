"""`report.json`: every picture, object and point of an original that was skipped, with its name and the reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from xpose.data.collection.store import dump, write_atomically
from xpose.records import Skipped


def write_report(path: Path, name: str, skipped: Iterable[tuple[str, Skipped]]) -> dict[str, dict[str, int]]:
    """Write the (split, skipped) pairs; return how many pictures, objects and points each split lost."""
    tally: dict[str, Counter[str]] = {}

    def write(file: IO[str]) -> None:
        file.write(f'{{"set":{dump(name)},\n"skipped":[')
        first = True
        for split, item in skipped:
            tally.setdefault(split, Counter())[item.what] += 1
            entry = {"split": split, "file": item.file, "what": item.what, "reason": item.reason}
            file.write(f"{'' if first else ','}\n{dump(entry)}")
            first = False
        counts = {split: dict(sorted(tally[split].items())) for split in sorted(tally)}
        file.write(f'\n],\n"counts":{dump(counts)}}}\n')

    write_atomically(path, write)
    return {split: dict(counts) for split, counts in tally.items()}


def read_report(path: Path) -> list[dict[str, Any]]:
    """The entries of a report."""
    return list(json.loads(path.read_text(encoding="utf-8"))["skipped"])
