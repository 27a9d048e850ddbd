"""CSV: one row for each point, for spreadsheets, R and pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xpose.results.formats.json import number, score

if TYPE_CHECKING:
    from xpose.results.poses import Poses

COLUMNS = (
    *("picture", "object", "category", "score", "box_x1", "box_y1", "box_x2", "box_y2"),
    *("keypoint", "canonical_name", "x", "y", "keypoint_score", "visibility"),
)
_FORMULA = ("=", "+", "-", "@")


def to_csv(results: Sequence[Poses]) -> str:
    """A table of all points of several pictures.

    `object` counts from 1 in each picture. A point that is not there has visibility 0 and empty x and y; an object
    without keypoints has one row with an empty `keypoint`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for poses in results:
        for position, pose in enumerate(poses, start=1):
            head = [safe_cell(poses.source or ""), position, safe_cell(pose.category), score(pose.score)]
            head += [number(value) for value in pose.box]
            if not pose.names:
                writer.writerow([*head, "", "", "", "", "", ""])
            for (name, point), canonical in zip(pose.points.items(), pose.canonical, strict=True):
                place = [number(point.x), number(point.y)] if point.v else ["", ""]
                writer.writerow([*head, safe_cell(name), safe_cell(canonical), *place, score(point.score), point.v])
    return stream.getvalue()


def safe_cell(text: str) -> str:
    """A text that stays in its row and that no spreadsheet takes for a formula: a quote goes before what looks so."""
    text = text.replace("\r", " ").replace("\n", " ")
    return f"'{text}" if text.startswith("\t") or text.lstrip().startswith(_FORMULA) else text
