"""`convert_labels`: read a file or folder in one format and write it in another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xpose.errors import DataError, counted, quote
from xpose.exchange.reading import ReadLabels, read_labels
from xpose.pictures import PICTURE_ENDINGS
from xpose.pictures.atomic import write_bytes
from xpose.results.formats.table import ResultFormat, files, row_of

TRACK_NAMES = "the names of {} (they are numbered)"


@dataclass(frozen=True)
class Converted:
    """What `convert_labels` did."""

    labels: ReadLabels
    out: Path  # the file or folder
    files: list[Path]  # written, in the order of the pictures
    losses: list[str]  # what the target cannot express, by name and count
    notes: list[str]  # what was not read


def convert_labels(
    path: str | Path,
    out: str | Path,
    to: str,
    format: str | None = None,
    *,
    skeleton: str | Path | None = None,
    names: str | Path | None = None,
    category: str | None = None,
    pictures: str | Path | None = None,
) -> Converted:
    """Convert a file or folder.

    Args:
        path: the file or folder to read.
        out: the file to write, or the folder for formats of several files.
        to: the format to write, a name in `xpose.results.formats.table.FORMATS`.
        format: that of `path`; None recognises it.
        skeleton: see `read_labels`.
        names: see `read_labels`.
        category: see `read_labels`.
        pictures: see `read_labels`.

    Raises:
        DataError: the input is damaged, or lacks what the target needs.
    """
    row = row_of(to)
    target = Path(out).expanduser()
    in_file = _is_file(target, row)
    labels = read_labels(path, format, skeleton=skeleton, names=names, category=category, pictures=pictures)
    if not labels.results:
        raise DataError(f"No picture of {quote(path)} could be read. {'; '.join(labels.notes) or 'It holds none.'}")
    if row.needs_sizes and "picture sizes" not in labels.known:
        raise DataError(
            f"{quote(path)} does not state the sizes of its pictures, which {to} files need. Give the folder with the "
            "pictures: --pictures FOLDER"
        )
    options = _options(row, labels)
    if in_file and row.single and len(labels.results) != 1:
        raise DataError(f"{quote(target)} can hold one picture, and there are {len(labels.results)}. Give a folder.")
    folder = target.parent if in_file else target
    contents = files(labels.results, _picture_names(labels), to, **options)
    written = [folder / file for file, _ in contents]
    if in_file:
        written[0] = target
    for file, (_, content) in zip(written, contents, strict=True):
        write_bytes(file, content)
    losses = row.losses(labels.results, labels.known)
    if labels.track_names and "track_names" not in row.options:
        losses += [TRACK_NAMES.format(counted(len(labels.track_names), "track"))]
    made = "boxes" in row.keeps and "boxes" not in labels.known
    notes = [*labels.notes, *(["objects without a box got one around their keypoints"] if made else [])]
    return Converted(labels, target, written, losses, notes)


def _is_file(out: Path, row: ResultFormat) -> bool:
    """Whether to write to a file of this name, and not into a folder."""
    ending = PurePosixPath(row.file).suffix
    if out.is_dir() or not out.suffix:
        return False
    if out.suffix.lower() != ending:
        raise DataError(f"{quote(out)} cannot be a {row.name} file. Give a name that ends in {ending}, or a folder.")
    return True


def _options(row: ResultFormat, labels: ReadLabels) -> dict[str, Any]:
    values = {"track_names": labels.track_names, "coordinates": labels.continuous}
    return {name: values[name] for name in row.options}


def _picture_names(labels: ReadLabels) -> list[str]:
    """A safe and different name for the file of each picture."""
    names: list[str] = []
    for number, poses in enumerate(labels.results, start=1):
        parts = [part for part in (poses.source or "").replace("\\", "/").split("/") if part not in ("", ".", "..")]
        parts = [part for part in parts if not part.endswith(":")] or [f"picture-{number}"]
        path = PurePosixPath(*parts)
        name = (path.with_suffix("") if path.suffix.lower() in PICTURE_ENDINGS else path).as_posix()
        names.append(name if name not in names else f"{name}-{number}")
    return names


def report(done: Converted, to: str) -> list[str]:
    """The lines that the command line prints."""
    objects = sum(map(len, done.labels.results))
    lines = [
        f"Converted {counted(objects, 'object')} in {counted(len(done.labels.results), 'picture')} from "
        f"{done.labels.format} to {to}: {done.files[0] if len(done.files) == 1 else done.out}"
    ]
    lines += [f"Not read: {note}" for note in done.notes]
    lines += [f"{to} cannot express {loss}." for loss in done.losses]
    return lines
