"""`xpose count`: count the objects of each class in each picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop
from xpose.cli._inputs import Fault, InputPicture, printable
from xpose.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

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
    - xpose count photos/ -t bee,wasp --csv > counts.csv
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
        if self.as_json:
            _console.show_json(self._as_dict(faults))
        elif self.as_csv:
            print(self._as_csv(), end="")
        elif self.rows:
            _console.show(self._table())

    def _totals(self) -> list[int]:
        return [sum(numbers[column] for _, numbers in self.rows) for column in range(len(self.labels))]

    def _as_dict(self, faults: Sequence[Fault]) -> dict[str, Any]:
        def by_label(numbers: list[int]) -> dict[str, int]:
            return dict(zip(self.shown_labels, numbers, strict=True))

        return {
            "pictures": [{"picture": name, "counts": by_label(numbers)} for name, numbers in self.rows],
            "total": by_label(self._totals()),
            "failed": [fault.as_dict() for fault in faults],
        }

    def _as_csv(self) -> str:
        from xpose.results.formats.csv import safe_cell

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["picture", *map(safe_cell, self.shown_labels)])
        writer.writerows([safe_cell(name), *numbers] for name, numbers in self.rows)
        return text.getvalue()

    def _table(self) -> Table:
        rows = [[name, *map(str, numbers)] for name, numbers in self.rows]
        several = len(rows) > 1
        if several:
            rows.append([f"all {len(rows)} pictures", *map(str, self._totals())])
        labels = self.shown_labels
        return _console.table(["picture", *labels], rows, right=labels, footer=int(several))
