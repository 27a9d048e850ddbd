"""`xpose count`: count the objects of each class in each picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop, _prompts
from xpose.cli._inputs import Fault, Picture, printable
from xpose.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from xpose.inference import Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.results import Poses


def count(
    images: _options.Images = None,
    more: _options.MoreImages = None,
    text: _options.Objects = None,
    skeleton: _options.Skeletons = None,
    keypoints: _options.Keypoints = None,
    like: _options.Like = None,
    points: _options.Points = None,
    bank: _options.Bank = None,
    as_json: _options.AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, e.g. for a spreadsheet.")] = False,
    threshold: _options.Threshold = None,
    max_instances: _options.MaxInstances = None,
    nms: _options.Nms = None,
    nms_oks: _options.NmsOks = None,
    rivals: _options.Rivals = None,
    weights: _options.Weights = None,
    config: _options.Config = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
) -> None:
    """Count the objects of each class in pictures.

    Counts the detections of `xpose detect` with the same options. Check its drawings first to choose a threshold.

    Examples:

    - xpose count photo.jpg -t sheep
    - xpose count photos/ -t bee,wasp --csv > counts.csv
    """
    if as_json and as_csv:
        raise ConfigError("Both --json and --csv were given. Only one can be printed. Leave one out.")
    words = _picture_loop.words_for_pictures(images, more)
    others = _picture_loop.names_of_rivals(rivals)
    keep: dict[str, Any] = {
        "threshold": threshold,
        "max_instances": max_instances,
        "nms": nms,
        "nms_oks": nms_oks,
        "rivals": others,
    }
    asked = _prompts.build_prompts(text, skeleton, keypoints, like, points, bank)

    def counts(_: Detector, prompts: list[EncodedClass], *rest: object) -> _Counts:
        return _Counts([prompt.names.label for prompt in prompts], as_json, as_csv)

    load = partial(_prompts.load_detector, weights, config, device, dtype, clip)
    _picture_loop.detect_in_pictures(words, asked, keep, load, counts)


class _Counts:
    """The counts of each picture, printed as a table, JSON or CSV."""

    def __init__(self, labels: list[str], as_json: bool, as_csv: bool) -> None:
        self.labels, self.as_json, self.as_csv = labels, as_json, as_csv
        self.rows: list[tuple[str, list[int]]] = []

    def add(self, picture: Picture, poses: Poses, pixels: np.ndarray) -> None:
        self.rows.append((picture.name, [poses.categories.count(label) for label in self.labels]))

    def finish(self, faults: Sequence[Fault]) -> None:
        if self.as_json:
            _console.show_json(self._as_dict(faults))
        elif self.as_csv:
            print(self._as_csv(), end="")
        elif self.rows:
            _console.show(self._table())

    def _total(self) -> list[int]:
        return [sum(numbers[column] for _, numbers in self.rows) for column in range(len(self.labels))]

    def _as_dict(self, faults: Sequence[Fault]) -> dict[str, Any]:
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
        labels = [printable(label) for label in self.labels]
        rows = [[name, *map(str, numbers)] for name, numbers in self.rows]
        if len(rows) > 1:
            rows.append([f"all {len(rows)} pictures", *map(str, self._total())])
        return _console.table(["picture", *labels], rows, right=labels, footer=int(len(rows) > 1))
