"""DeepLabCut: the csv of a model's predictions if there are confidences, else that of labels (`CollectedData`).

Several animals in a picture, or tracks, give the multi-animal table with a row of individuals.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import ConfigError, missing_extra
from xpose.results.formats.csv import safe_cell
from xpose.results.formats.json import number, score
from xpose.results.formats.tracks import are_pictures, frame_numbers, individuals_of

if TYPE_CHECKING:
    from xpose.results.poses import Point, Poses

SCORER = "xpose"


def to_deeplabcut(results: Sequence[Poses], *, track_names: Mapping[int, str] | None = None) -> str:
    """One table of all pictures. The first column is the picture, or the number of the frame of a video.

    DeepLabCut has no classes: all objects are individuals with the same body parts.
    """
    results = [poses[~poses.tentative] for poses in results]
    named = individuals_of(results, track_names)
    several = any(len(poses) > 1 or poses.track_ids is not None for poses in results)
    individuals = list(dict.fromkeys(name for names in named for name in names)) if several else [""]
    parts = list(dict.fromkeys(part for poses in results for names in poses.keypoint_names for part in names))
    if not parts:
        raise ConfigError("No object has keypoints, and DeepLabCut's tables hold nothing else. Choose another format.")
    scored = any(not np.isnan(poses.keypoint_scores).all() for poses in results if poses.keypoint_scores.size)
    axes = ("x", "y", "likelihood") if scored else ("x", "y")
    columns = [(name, part, axis) for name in individuals for part in parts for axis in axes]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["scorer", *[SCORER] * len(columns)])
    if several:
        writer.writerow(["individuals", *(safe_cell(name) for name, *_ in columns)])
    writer.writerow(["bodyparts", *(safe_cell(part) for _, part, _ in columns)])
    writer.writerow(["coords", *(axis for *_, axis in columns)])
    frames = frame_numbers(results) if scored and not are_pictures(results) else None
    for row, (poses, names) in enumerate(zip(results, named, strict=True)):
        picture = safe_cell(poses.source or f"picture-{row + 1}") if frames is None else frames[row]
        found = {
            (name if several else "", part): point
            for pose, name in zip(poses, names, strict=True)
            for part, point in pose.points.items()
        }
        cells = [cell for name in individuals for part in parts for cell in _cells(found.get((name, part)), scored)]
        writer.writerow([picture, *cells])
    return stream.getvalue()


def to_h5(results: Sequence[Poses], *, track_names: Mapping[int, str] | None = None) -> bytes:
    """The same table as DeepLabCut's own h5 file, written by pandas as DeepLabCut does."""
    try:
        import pandas
        import tables  # noqa: F401  # which pandas needs for this
    except ImportError as error:
        raise missing_extra("Writing DeepLabCut's h5 files", str(error.name), "deeplabcut") from None
    text = to_deeplabcut(results, track_names=track_names)
    levels = 4 if text.split("\n")[1].startswith("individuals") else 3
    table = pandas.read_csv(io.StringIO(text), header=list(range(levels)), index_col=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.h5"
        table.to_hdf(path, key="df_with_missing", mode="w")
        return path.read_bytes()


def _cells(point: Point | None, scored: bool) -> list[float | None]:
    if point is None or not point.v:
        return [None] * (3 if scored else 2)
    return [number(point.x), number(point.y), *[1.0 if point.score != point.score else score(point.score)] * scored]
