"""`xpose count`: how many objects of each kind are in each picture."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _picture_loop, _prompts
from xpose.cli._inputs import Fault, Picture, list_pictures, printable
from xpose.cli._outputs import plain_table
from xpose.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from xpose.results import Poses


def count(
    images: _picture_loop.Images = None,
    more: _picture_loop.MoreImages = None,
    text: _prompts.Objects = None,
    skeleton: _prompts.Skeletons = None,
    keypoints: _prompts.Keypoints = None,
    like: _prompts.Like = None,
    points: _prompts.Points = None,
    bank: _prompts.Bank = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, for a spreadsheet: xpose count ... --csv > counts.csv")
    ] = False,
    threshold: _picture_loop.Threshold = None,
    max_instances: _picture_loop.MaxInstances = None,
    nms: _picture_loop.Nms = None,
    nms_oks: _picture_loop.NmsOks = None,
    rivals: _picture_loop.Rivals = None,
    weights: _prompts.Weights = None,
    config: _prompts.Config = None,
    device: _prompts.Device = None,
    dtype: _prompts.Dtype = None,
    clip: _prompts.Clip = None,
) -> None:
    """Count objects of each kind in pictures.

    What counts is what `xpose detect` with the same options finds: look at its drawings first, and set the threshold.

    Examples:

    - xpose count photo.jpg -t sheep
    - xpose count photos/ -t bee,wasp --csv > counts.csv
    """
    if as_json and as_csv:
        raise ConfigError("Both --json and --csv were given. Only one can be printed. Leave one out.")
    words = _picture_loop.words_for_pictures(images, more)
    others = _picture_loop.names_of_rivals(rivals)
    asked = _prompts.build_prompts(text, skeleton, keypoints, like, points, bank)
    pictures, faults = list_pictures(words)
    for fault in faults:
        _console.fail(fault.message)
    if not pictures:
        raise typer.Exit(_console.FAILURE)
    _prompts.say_what_is_looked_for(asked)
    from xpose.inference import DetectionOptions

    options = DetectionOptions(
        threshold=threshold,
        nms=nms,
        nms_oks=nms_oks,
        max_instances=max_instances,
        rivals=others,
    )
    detector = _prompts.load_detector(weights, config, device, dtype, clip)
    prompts = _prompts.encode(asked, detector)
    counts = _Counts([one.names.label for one in prompts])
    try:
        faults += _picture_loop.detect_each(detector, prompts, pictures, options, counts.add)
    finally:  # after Ctrl-C as well: what is counted is printed
        counts.show(faults, as_json, as_csv)
    if faults:
        raise typer.Exit(_console.FAILURE)


@dataclass
class _Counts:
    labels: list[str]
    rows: list[tuple[str, list[int]]] = field(default_factory=list)

    def add(self, picture: Picture, poses: Poses, pixels: np.ndarray) -> None:
        found = list(poses.categories)
        self.rows.append((picture.name, [found.count(label) for label in self.labels]))

    def show(self, faults: list[Fault], as_json: bool, as_csv: bool) -> None:
        if as_json:
            _console.show_json(self._as_dict(faults))
        elif as_csv:
            print(self._as_csv(), end="")
        elif self.rows:
            _console.show(self._table())

    def _total(self) -> list[int]:
        return [sum(column) for column in zip(*(numbers for _, numbers in self.rows), strict=True)] or [
            0 for _ in self.labels
        ]

    def _as_dict(self, faults: list[Fault]) -> dict[str, Any]:
        labels = [printable(label) for label in self.labels]
        return {
            "pictures": [
                {"picture": name, "counts": dict(zip(labels, numbers, strict=True))} for name, numbers in self.rows
            ],
            "total": dict(zip(labels, self._total(), strict=True)),
            "failed": [{"picture": fault.name, "error": printable(fault.message)} for fault in faults],
        }

    def _as_csv(self) -> str:
        from xpose.results.formats.csv import safe_cell

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["picture", *(safe_cell(printable(label)) for label in self.labels)])
        for name, numbers in self.rows:
            writer.writerow([safe_cell(name), *numbers])
        return text.getvalue()

    def _table(self) -> Any:
        columns = [("picture", "left"), *((printable(label), "right") for label in self.labels)]
        rows = [[name, *map(str, numbers)] for name, numbers in self.rows]
        if len(rows) > 1:
            rows.append([f"all {len(rows)} pictures", *map(str, self._total())])
        return plain_table(columns, rows, footer=int(len(rows) > 1))
