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

    `object` counts from 1 in each picture. An absent keypoint has visibility 0 and empty x and y; an object without
    keypoints has one row with an empty `keypoint`. If the weights predict it, there is a column `keypoint_error`, the
    expected error in pixels. If there are tentative poses (see `Poses`), the column `tentative` is 1 for them. If
    objects were tracked, the last column is `track_id`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    with_errors = any(poses.keypoint_errors is not None for poses in results)
    with_tentative = any(poses.tentative.any() for poses in results)
    with_tracks = any(poses.track_ids is not None for poses in results)
    writer.writerow(
        [*COLUMNS, *["keypoint_error"] * with_errors, *["tentative"] * with_tentative, *["track_id"] * with_tracks]
    )
    for poses in results:
        for position, pose in enumerate(poses, start=1):
            head = [safe_cell(poses.source or ""), position, safe_cell(pose.category), score(pose.score)]
            head += [number(value) for value in pose.box]
            tail: list[object] = [int(pose.tentative)] * with_tentative
            tail += ["" if pose.track_id is None else pose.track_id] * with_tracks
            if not pose.names:
                writer.writerow([*head, *[""] * (6 + with_errors), *tail])
            for row, (name, point) in enumerate(pose.points.items()):
                place = [number(point.x), number(point.y)] if point.v else ["", ""]
                cells = [*head, safe_cell(name), safe_cell(pose.canonical[row]), *place, score(point.score), point.v]
                if with_errors:
                    cells.append("" if pose.keypoint_errors is None else score(pose.keypoint_errors[row], 2))
                writer.writerow([*cells, *tail])
    return stream.getvalue()


def safe_cell(text: str) -> str:
    """The text without line breaks, prefixed by a quote if a spreadsheet would read it as a formula."""
    text = text.replace("\r", " ").replace("\n", " ")
    return f"'{text}" if text.startswith("\t") or text.lstrip().startswith(_FORMULA) else text
