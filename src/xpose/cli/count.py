"""`xpose count`: count the objects of each class in each picture."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console, _options, _picture_loop
from xpose.cli._inputs import Fault, InputPicture, printable
from xpose.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from xpose.results import Poses


@_options.expanded
def count(
    options: _options.DetectionCommandOptions,
    as_json: _options.AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, e.g. for a spreadsheet.")] = False,
) -> None:
    """Count the objects of each class in pictures.

    Counts the detections of `xpose detect` with the same options. Check its drawings first to choose a threshold.

    Examples:

    - xpose count photo.jpg -t sheep
    - xpose count photos/ -t bee,fly --csv > counts.csv
    """
    if as_json and as_csv:
        raise ConfigError("Both --json and --csv were given. Only one can be printed. Leave one out.")
    _picture_loop.detect_in_pictures(
        options, lambda _, prompts, *rest: _Counts([prompt.names.label for prompt in prompts], as_json, as_csv)
    )


class _Counts:
    """The counts of each picture, printed as a table, JSON or CSV."""

    def __init__(self, labels: list[str], as_json: bool, as_csv: bool) -> None:
        self.labels, self.as_json, self.as_csv = labels, as_json, as_csv
        self.shown_labels = [printable(label) for label in labels]
        self.rows: list[tuple[str, list[int]]] = []

    def add(self, picture: InputPicture, poses: Poses, pixels: np.ndarray) -> None:
        self.rows.append((picture.name, [poses.categories.count(label) for label in self.labels]))

    def finish(self, faults: Sequence[Fault]) -> None:
        totals = [sum(numbers[column] for _, numbers in self.rows) for column in range(len(self.labels))]
        if self.as_json:
            named = [(name, dict(zip(self.shown_labels, numbers, strict=True))) for name, numbers in self.rows]
            pictures = [{"picture": name, "counts": counts} for name, counts in named]
            total = dict(zip(self.shown_labels, totals, strict=True))
            failed = [fault.as_dict() for fault in faults]
            _console.show_json({"pictures": pictures, "total": total, "failed": failed})
        elif self.as_csv:
            self._print_csv()
        elif self.rows:
            rows = [[name, *map(str, numbers)] for name, numbers in self.rows]
            several = len(rows) > 1
            rows += [[f"all {len(rows)} pictures", *map(str, totals)]] * several
            columns = ["picture", *self.shown_labels]
            _console.show(_console.table(columns, rows, right=self.shown_labels, footer=int(several)))

    def _print_csv(self) -> None:
        from xpose.results.formats.csv import safe_cell

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["picture", *map(safe_cell, self.shown_labels)])
        writer.writerows([safe_cell(name), *numbers] for name, numbers in self.rows)
