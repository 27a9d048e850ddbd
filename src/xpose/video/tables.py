"""Tracks as tables (CSV and Parquet) and as COCO, written while the video is read.

A row is an object in a frame. The columns of the keypoints of all classes are beside each other; those that an object
does not have, and coordinates of absent keypoints, are empty.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpose.errors import missing_extra
from xpose.prompts import PromptClass
from xpose.results.formats import coco
from xpose.results.formats.csv import safe_cell
from xpose.results.formats.json import number, score
from xpose.video.timeline import TrackedFrame

_BOX = ("x1", "y1", "x2", "y2")
_ROWS = 4096  # of a row group


class Columns:
    """The columns of the tables, and the values of a frame."""

    def __init__(self, classes: Sequence[PromptClass], smooth: bool) -> None:
        self.points = list(dict.fromkeys(name for names in classes for name in names.names))
        self.kinds = ["x", "y", "confidence", *(["x_smooth", "y_smooth"] if smooth else [])]
        self._smooth = smooth
        self._places = {
            names.label: np.array([self.points.index(name) for name in names.names], int) for names in classes
        }
        self.head = ["frame", "time", "track_id", "class", "score", "interpolated", *_BOX]
        self.names = [*self.head, *(f"{point}_{kind}" for point in self.points for kind in self.kinds)]

    def values(self, frame: TrackedFrame) -> np.ndarray:
        """Boxes and points [N, 4 + points * kinds] of a frame, NaN where a cell is empty."""
        poses = frame.poses
        points = np.full((len(poses), len(self.points), len(self.kinds)), np.nan, np.float32)
        for row, pose in enumerate(poses):
            count = len(pose.names)
            there = pose.visibility[:, None] > 0
            parts = [np.where(there, pose.xy, np.nan), pose.keypoint_scores[:, None]]
            if frame.smooth is not None:
                parts.append(frame.smooth[row, :count])
            points[row, self._places[pose.category]] = np.concatenate(parts, axis=1)
        return np.concatenate((poses.boxes, points.reshape(len(poses), len(self.points) * len(self.kinds))), axis=1)


class CsvTracks:
    """Writes rows to a CSV file as they come, so that those of finished frames are there after an interruption."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([safe_cell(name) for name in columns.names])
        digits = [2] * 2 + [4] + [2] * 2
        self._digits = [2] * 4 + [digits[place] for _ in columns.points for place in range(len(columns.kinds))]

    def add(self, frame: TrackedFrame) -> None:
        """Write the rows of a frame."""
        for pose, interpolated, values in zip(
            frame.poses, frame.interpolated.tolist(), self._columns.values(frame).tolist(), strict=True
        ):
            cells = [
                "" if value != value else round(value, n) + 0.0 for value, n in zip(values, self._digits, strict=True)
            ]
            head = [frame.number, round(frame.time, 6), pose.track_id, safe_cell(pose.category), score(pose.score)]
            self._writer.writerow([*head, int(interpolated), *cells])
        self._file.flush()

    def finish(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetTracks:
    """Writes rows to a Parquet file, in groups; the file appears when it is complete."""

    def __init__(self, path: Path, columns: Columns) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise missing_extra("Writing Parquet files", "pyarrow", "video") from None
        self._arrow, self._path, self._columns = pyarrow, path, columns
        pyarrow.array([0])  # imports pandas, if it is installed: better now than in the middle of a run
        types = dict.fromkeys(columns.names, pyarrow.float32())
        types |= {"frame": pyarrow.int64(), "time": pyarrow.float64(), "track_id": pyarrow.int64()}
        types |= {"class": pyarrow.string(), "interpolated": pyarrow.bool_()}
        self._schema = pyarrow.schema(list(types.items()))
        self._partial = path.with_name(f".{path.name}.partial")
        self._writer = pyarrow.parquet.ParquetWriter(self._partial, self._schema, compression="zstd")
        self._heads: list[tuple[Any, ...]] = []
        self._values: list[np.ndarray] = []

    def add(self, frame: TrackedFrame) -> None:
        """Keep the rows of a frame, and write them when a group is full."""
        for pose, interpolated in zip(frame.poses, frame.interpolated.tolist(), strict=True):
            self._heads.append((frame.number, frame.time, pose.track_id, pose.category, pose.score, interpolated))
        self._values.append(self._columns.values(frame))
        if len(self._heads) >= _ROWS:
            self._write()

    def _write(self) -> None:
        if self._heads:
            values = np.concatenate(self._values)
            cells = [list(column) for column in zip(*self._heads, strict=True)] + list(values.T)
            arrays = [
                self._arrow.array(column, type=entry.type, from_pandas=True)
                for column, entry in zip(cells, self._schema, strict=True)
            ]
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._heads, self._values = [], []

    def finish(self) -> None:
        """Write the rest."""
        self._write()
        self._writer.close()
        self._partial.replace(self._path)


class CocoTracks:
    """Writes a COCO file with a picture for each frame and the `track_id` of each object, as PoseTrack has them."""

    def __init__(self, path: Path, name: str, classes: Sequence[PromptClass]) -> None:
        labels = [names.label for names in classes]
        self._name, self._file = name, coco.InstancesFile(path, labels, {"description": "Tracked by xpose"})

    def add(self, frame: TrackedFrame) -> None:
        """Write a frame to temporary files."""
        more = [{"interpolated": True} if interpolated else {} for interpolated in frame.interpolated.tolist()]
        place = {"frame": frame.number, "time": number(frame.time)}
        self._file.add(frame.poses, frame.number, f"{self._name}#{frame.number}", place, more)

    def finish(self) -> None:
        """Complete the file."""
        self._file.finish()
