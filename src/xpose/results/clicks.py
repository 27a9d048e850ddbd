"""Poses as clicks and boxes, which promptable segmenters and point trackers such as SAM take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from xpose.results.poses import Poses

INSIDE, OUTSIDE, PADDING = 1, 0, -1


class Clicks(NamedTuple):
    """Clicks and a box for each of N objects."""

    points: np.ndarray  # [N, P, 2] float32 in pixels
    labels: np.ndarray  # [N, P] int64: 1 on the object, 0 on another one, -1 no click (padding)
    boxes: np.ndarray  # [N, 4] float32, x1, y1, x2, y2


def to_prompts(poses: Poses) -> Clicks:
    """See `Poses.to_prompts`."""
    seen = [pose.xy[pose.visibility == 2] for pose in poses]
    rows = []
    for number, box in enumerate(poses.boxes):
        others = np.concatenate([np.zeros((0, 2), np.float32), *seen[:number], *seen[number + 1 :]])
        others = others[((others >= box[:2]) & (others <= box[2:])).all(1)]
        labels = np.repeat([INSIDE, OUTSIDE], [len(seen[number]), len(others)])
        rows.append((np.concatenate([seen[number], others]), labels))
    widest = max((len(labels) for _, labels in rows), default=0)
    points = np.zeros((len(rows), widest, 2), np.float32)
    labels = np.full((len(rows), widest), PADDING, np.int64)
    for row, (places, kinds) in enumerate(rows):
        points[row, : len(places)], labels[row, : len(kinds)] = places, kinds
    return Clicks(points, labels, poses.boxes.copy())
