"""The output of `xpose detect`: a drawing per picture, one COCO file, and a table or JSON."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.cli import _console
from xpose.cli._inputs import DRAWN, Fault, Picture, printable
from xpose.errors import ConfigError, quote

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from rich.table import Table

    from xpose.results import Poses

COCO_FILE = "poses.json"
_KEEP_ENDING = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}
_LONGEST_STEM = 180  # bytes; file systems end at 255, and a number and an ending follow
_JPEG_QUALITY = 92


def check_folder(folder: Path) -> None:
    """Check that results can be written there, without creating anything.

    Raises:
        ConfigError: a file has this name, or the folder is not writable.
    """
    target = folder.expanduser()
    nearest = next(place for place in (target, *target.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{quote(nearest)} is a file. Results go into a folder; give another name with -o.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(
            f"The folder {quote(nearest)} is not writable. Results go there; give another folder with -o."
        )


def drawing_paths(pictures: Iterable[Picture], folder: Path, taken: Iterable[Path]) -> dict[Picture, Path]:
    """The file of each picture's drawing: in the same subfolder of `folder`, with `_xpose` added to the name.

    All are different, even on file systems that ignore case, and none is in `taken` (the inputs): a number is added.
    """
    used = {_key(path) for path in taken}
    targets = {}
    for picture in pictures:
        stem = os.fsencode(picture.below.stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
        ending = _KEEP_ENDING.get(picture.below.suffix.lower(), ".png")
        target = _free(folder / picture.below.with_name(f"{stem}{DRAWN}{ending}"), used)
        used.add(_key(target))
        targets[picture] = target
    return targets


def _free(target: Path, used: Collection[str]) -> Path:
    """The path, with a number added if it is used already."""
    numbered = (target.with_stem(f"{target.stem}-{number}") for number in count(2))
    return next(path for path in chain([target], numbered) if _key(path) not in used)


def _key(path: Path) -> str:
    return os.path.abspath(path.expanduser()).casefold()


@dataclass(frozen=True)
class _Row:
    """One picture and one class in the table."""

    picture: str
    label: str
    count: int
    best: float | None
    present: int
    keypoints: int


class Results:
    """Draws the result of each picture at once, and writes everything else at the end or after Ctrl-C."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        folder: Path | None,
        prompts: Sequence[Any],
        limits: Mapping[str, float],
        others: Iterable[Path] = (),
        *,
        as_json: bool = False,
    ) -> None:
        """`limits` are the minimum scores by class; `others` are input files besides the pictures."""
        self.as_json = as_json
        self.folder = None if folder is None else folder.expanduser()
        self.limits = limits
        self.points = {prompt.names.label: len(prompt.names.names) for prompt in prompts}
        self.poses: list[Poses] = []
        self.rows: list[_Row] = []
        self._drawn: list[str | None] = []
        inputs = [picture.path for picture in pictures] + list(others)
        self._drawings = {} if self.folder is None else drawing_paths(pictures, self.folder, inputs)
        self._coco = None if self.folder is None else _free(self.folder / COCO_FILE, {_key(path) for path in inputs})

    def add(self, picture: Picture, poses: Poses, pixels: np.ndarray) -> None:
        """Draw the result of one picture, and keep it for the end."""
        drawing = self._drawings.get(picture)
        if drawing is not None:
            _save_picture(poses.draw(pixels), drawing)
        self.poses.append(poses)
        self._drawn.append(None if drawing is None else printable(drawing))
        for label in self.points:
            of_class = poses[label]
            present = int((of_class.visibility[0] > 0).sum()) if len(of_class) else 0
            best = float(of_class.scores[0]) if len(of_class) else None
            self.rows.append(_Row(picture.name, label, len(of_class), best, present, self.points[label]))

    def finish(self, faults: Sequence[Fault]) -> None:
        """Write the COCO file of the finished pictures, and print the table or JSON."""
        from xpose.pictures.atomic import write_bytes
        from xpose.results.formats.table import encoded

        if self._coco is not None and self.poses:
            write_bytes(self._coco, encoded(self.poses, "coco"))
        if self.as_json:
            _console.show_json(self._as_dict(faults))
        elif self.rows:
            _console.show(self._table())
        if self._coco is not None and self.poses:
            _console.note(f"Drawings are in {printable(self.folder)}, all results in {printable(self._coco)}.")
        if self.rows and not any(row.count for row in self.rows):
            _console.note(_advice(self.limits))

    def _as_dict(self, faults: Sequence[Fault]) -> dict[str, Any]:
        return {
            "pictures": [
                {"drawing": drawn, **poses.to_dict()} for drawn, poses in zip(self._drawn, self.poses, strict=True)
            ],
            "counts": dict(self._totals()),
            "failed": [{"picture": fault.name, "error": printable(fault.message)} for fault in faults],
        }

    def _totals(self) -> Counter[str]:
        totals = Counter(dict.fromkeys(self.points, 0))
        for row in self.rows:
            totals[row.label] += row.count
        return totals

    def _table(self) -> Table:
        numbers = ("count", "best score", "its keypoints")
        rows, before = [], None
        for row in self.rows:
            first = row.picture != before
            before = row.picture
            rows.append(
                [
                    row.picture if first else "",
                    printable(row.label),
                    str(row.count),
                    "" if row.best is None else f"{row.best:.2f}",
                    f"{row.present} of {row.keypoints}" if row.count and row.keypoints else "",
                ]
            )
        if len(self.poses) > 1:
            title = f"all {len(self.poses)} pictures"
            for label, total in self._totals().items():
                rows.append([title, printable(label), str(total), "", ""])
                title = ""
        footer = len(self.points) if len(self.poses) > 1 else 0
        return _console.table(("picture", "object", *numbers), rows, right=numbers, footer=footer)


def _save_picture(picture: Image.Image, path: Path) -> None:
    from xpose.pictures.atomic import write_bytes

    stream = io.BytesIO()
    if path.suffix == ".jpg":
        picture.convert("RGB").save(stream, "JPEG", quality=_JPEG_QUALITY)
    else:
        picture.save(stream, "PNG")
    write_bytes(path, stream.getvalue())


def _advice(limits: Mapping[str, float]) -> str:
    """What to try if nothing was detected."""
    lowest, highest = min(limits.values()), max(limits.values())
    if lowest == highest:
        passed = f"the threshold of {lowest:.2g}"
    elif len(limits) <= 4:
        passed = "the threshold (" + ", ".join(f"{printable(name)} {limit:.2g}" for name, limit in limits.items()) + ")"
    else:
        passed = f"the thresholds, {lowest:.2g} to {highest:.2g}"
    tips = ["Classes compete with each other; try one at a time."] if len(limits) > 1 else []
    if highest > 0:
        tips.append(f"A lower threshold detects more, with more false alarms (--threshold {highest / 2:.1g}).")
    return " ".join((f"No detection passed {passed}.", *tips, "An example picture often helps (--like)."))
