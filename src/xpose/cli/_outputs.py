"""What `xpose detect` writes: a drawing per picture, one COCO file, a table or JSON. Files appear whole or not."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    """Whether results can go there, before any work is done; nothing is made yet.

    Raises:
        ConfigError: a file is in the way, or nothing may be written there.
    """
    target = folder.expanduser()
    nearest = next(place for place in (target, *target.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{quote(nearest)} is a file. Results go into a folder; give another name with -o.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(
            f"Nothing may be written into {quote(nearest)}. Results go there; give another folder with -o."
        )


def drawing_paths(pictures: Iterable[Picture], folder: Path, taken: Iterable[Path]) -> dict[Picture, Path]:
    """For each picture the file of its drawing: below `folder` as the picture below its own, with `_xpose` in the name.

    No two are the same, also where case does not count, and none is one of `taken` (the inputs): a number is added.
    """
    used = {_key(path) for path in taken}
    targets = {}
    for picture in pictures:
        stem = os.fsencode(picture.below.stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
        ending = _KEEP_ENDING.get(picture.below.suffix.lower(), ".png")
        number = 1
        while True:
            name = f"{stem}{DRAWN}{'' if number == 1 else f'-{number}'}{ending}"
            target = folder / picture.below.with_name(name)
            if _key(target) not in used:
                break
            number += 1
        used.add(_key(target))
        targets[picture] = target
    return targets


def _key(path: Path) -> str:
    return os.path.abspath(path.expanduser()).casefold()


def plain_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], *, footer: int = 0) -> Table:
    """A table without frames; `columns` are titles with "left" or "right"; the last `footer` rows stand apart."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, side in columns:
        table.add_column(Text(title), justify=side, overflow="fold")  # type: ignore[arg-type]
    for number, row in enumerate(rows, start=1):
        table.add_row(*(Text(cell) for cell in row), end_section=bool(footer) and number == len(rows) - footer)
    return table


@dataclass(frozen=True)
class _Row:
    """One picture and one class in the table."""

    picture: str
    label: str
    count: int
    best: float | None
    seen: int
    asked: int


class Results:
    """Takes the result of each picture as it comes, draws at once, and writes the rest at the end or after Ctrl-C."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        folder: Path | None,
        prompts: Sequence[Any],
        limits: Mapping[str, float],
        others: Iterable[Path] = (),
    ) -> None:
        """`limits` are the scores that objects have to pass by their class, `others` further input files."""
        self.folder = None if folder is None else folder.expanduser()
        self.labels = [one.names.label for one in prompts]
        self.limits = limits
        self.points = {one.names.label: len(one.names.names) for one in prompts}
        self.found: list[Poses] = []
        self.rows: list[_Row] = []
        self._drawn: list[str | None] = []
        inputs = [picture.path for picture in pictures] + list(others)
        self._drawings = {} if self.folder is None else drawing_paths(pictures, self.folder, inputs)
        self._coco = None if self.folder is None else _free(self.folder / COCO_FILE, inputs)

    def add(self, picture: Picture, poses: Poses, pixels: np.ndarray) -> None:
        """Draw the result of one picture and keep it for the end."""
        drawing = self._drawings.get(picture)
        if drawing is not None:
            _save_picture(poses.draw(pixels), drawing)
        self.found.append(poses)
        self._drawn.append(None if drawing is None else printable(drawing))
        for label in self.labels:
            own = poses[label]
            seen = int((own.visibility[0] > 0).sum()) if len(own) else 0
            best = float(own.scores[0]) if len(own) else None
            self.rows.append(_Row(picture.name, label, len(own), best, seen, self.points[label]))

    def finish(self, faults: Sequence[Fault], as_json: bool) -> None:
        """Write the COCO file of what is finished, and print the table or JSON."""
        from xpose.pictures.atomic import write_bytes
        from xpose.results.formats.table import encoded

        if self._coco is not None and self.found:
            write_bytes(self._coco, encoded(self.found, "coco"))
        if as_json:
            _console.show_json(self._as_dict(faults))
        elif self.rows:
            _console.show(self._table())
        if self._coco is not None and self.found:
            _console.note(f"Drawings are in {printable(self.folder)}, all results in {printable(self._coco)}.")
        if self.rows and not any(row.count for row in self.rows):
            _console.note(_advice(self.limits))

    def _as_dict(self, faults: Sequence[Fault]) -> dict[str, Any]:
        return {
            "pictures": [
                {"drawing": drawn, **poses.to_dict()} for drawn, poses in zip(self._drawn, self.found, strict=True)
            ],
            "counts": dict(self._totals()),
            "failed": [{"picture": fault.name, "error": printable(fault.message)} for fault in faults],
        }

    def _totals(self) -> Counter[str]:
        totals = Counter(dict.fromkeys(self.labels, 0))
        for row in self.rows:
            totals[row.label] += row.count
        return totals

    def _table(self) -> Table:
        columns = [("picture", "left"), ("object", "left"), ("count", "right")]
        columns += [("best score", "right"), ("its points", "right")]
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
                    f"{row.seen} of {row.asked}" if row.count and row.asked else "",
                ]
            )
        if len(self.found) > 1:
            title = f"all {len(self.found)} pictures"
            for label, total in self._totals().items():
                rows.append([title, printable(label), str(total), "", ""])
                title = ""
        return plain_table(columns, rows, footer=len(self.labels) if len(self.found) > 1 else 0)


def _save_picture(picture: Image.Image, path: Path) -> None:
    from xpose.pictures.atomic import write_bytes

    stream = io.BytesIO()
    if path.suffix == ".jpg":
        picture.convert("RGB").save(stream, "JPEG", quality=_JPEG_QUALITY)
    else:
        picture.save(stream, "PNG")
    write_bytes(path, stream.getvalue())


def _free(target: Path, taken: Iterable[Path]) -> Path:
    """The path, or one with a number where an input has it."""
    used = {_key(path) for path in taken}
    number, path = 1, target
    while _key(path) in used:
        number += 1
        path = target.with_stem(f"{target.stem}-{number}")
    return path


def _advice(limits: Mapping[str, float]) -> str:
    """What to try where nothing was found."""
    lowest, highest = min(limits.values()), max(limits.values())
    if lowest == highest:
        passed = f"the threshold of {lowest:.2g}"
    elif len(limits) <= 4:
        passed = "the threshold (" + ", ".join(f"{printable(name)} {limit:.2g}" for name, limit in limits.items()) + ")"
    else:
        passed = f"the thresholds, {lowest:.2g} to {highest:.2g}"
    tips = ["Words compete: ask for one at a time."] if len(limits) > 1 else []
    if highest > 0:
        tips.append(f"A lower one finds more, also more that is wrong (--threshold {highest / 2:.1g}).")
    return " ".join((f"Nothing passed {passed}.", *tips, "An example picture often helps (--like)."))
