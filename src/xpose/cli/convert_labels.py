"""`xpose convert-labels`: labels or results from one program's format to another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpose.cli import _console

_FORMATS = "The formats: json, coco, coco-results, csv, parquet, openpose, yolo, deeplabcut, deeplabcut-h5, sleap, "
_FORMATS += "nwb, label-studio, cvat, posetrack, human36m and mot (docs/formats.md)."


def convert_labels(
    path: Annotated[Path, typer.Argument(metavar="IN", help="The file or folder to read; it is never modified.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, or a folder.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"What to write. {_FORMATS}")],
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="The format of IN. Default: recognised.")
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Rename keypoints to those of this skeleton, by their names and aliases.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="Mapping file for keypoint names.")] = None,
    category: Annotated[str | None, typer.Option(help="Class of the objects, if IN does not state it.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, for formats without picture sizes.")
    ] = None,
) -> None:
    """Convert labels or results to the format of another program.

    Coordinates and names stay as they are. What the target cannot express is listed with its count.

    Examples:

    - xpose convert-labels poses.json tracks.csv --to deeplabcut
    - xpose convert-labels flies.slp annotations.xml --to cvat
    - xpose convert-labels dlc-project labels.json --to coco --category mouse
    """
    from xpose.exchange import convert_labels as convert
    from xpose.exchange.converting import report

    done = convert(path, out, to, format_name, skeleton=skeleton, names=names, category=category, pictures=pictures)
    first, *lines = report(done, to)
    _console.show(first)
    for line in lines:
        _console.note(line)
