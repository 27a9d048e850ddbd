"""Gives the objects of successive frames their track ids.

Every class is tracked for itself. The similarity of a track and a detection is the mean of the OKS of their keypoints
and the IoU of their boxes, after the track has been moved with constant velocity. The Hungarian algorithm finds the
best pairs. Tracks without a partner are matched by the distance of the boxes, because a fast object may overlap with
none of its predictions.

A track is *new* until its second detection, then *active*, and *lost* while it has no detection. A lost track ends
after `LOST` seconds, and a new one without a detection after `DOUBTFUL` seconds, unless it is found again.

Letters: T tracks, N detections, K keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from xpose.errors import missing_extra
from xpose.geometry import oks, pairwise_iou
from xpose.results import Poses
from xpose.vocabulary import keypoint_sigmas

LOST, DOUBTFUL = 2.0, 0.4  # seconds after which lost and new tracks end
_LEAST = 0.05  # similarity of a pair
_SLACK = 3.0  # sigmas are multiplied by this, because a prediction is less precise than a label
_REACH = 0.75  # largest distance of boxes in the second round, in units of the mean of their diagonals
_GROWTH = 2.0  # largest ratio of the diagonals in the second round
_INERTIA = 0.6  # share of the old velocity in the new one
_BRAKE = 0.5  # seconds in which a lost track loses half of its velocity
_NARROW = 0.1  # a pair of matches is doubtful if exchanging the partners costs less than this

State = Literal["new", "active", "lost"]


@dataclass(eq=False)
class Track:
    """One object: its last detection, and how it moves."""

    id: int
    category: str
    box: np.ndarray  # [4]
    xy: np.ndarray  # [K, 2]
    present: np.ndarray  # [K] bool
    time: float  # of the last detection
    velocity: np.ndarray  # [2], pixels per second
    state: State = "new"

    def offset(self, time: float) -> np.ndarray:
        """How far it has moved since its last detection, by its velocity, which decreases while it is lost."""
        gone = time - self.time
        braked = _BRAKE / np.log(2) * (1 - 0.5 ** (gone / _BRAKE)) if self.state == "lost" else gone
        moved: np.ndarray = self.velocity * braked
        return moved


@dataclass(frozen=True)
class Doubt:
    """Tracks that may have been confused."""

    time: float
    ids: tuple[int, int]
    kind: Literal["exchange", "new id"]  # two tracks may have exchanged their objects; the second may be the first


class Tracker:
    """The tracks of a video; call `update` once for each frame, in order.

    Attributes:
        tracks: those that have not ended.
        doubts: possible confusions in the last frame.
    """

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.doubts: list[Doubt] = []
        self._count = 0
        self._assign = _assignment()

    def update(self, time: float, poses: Poses) -> Poses:
        """The poses with track ids.

        Args:
            time: in seconds, later than before.
            poses: the detections of the frame.
        """
        self.doubts = []
        ids = np.zeros(len(poses), np.int64)
        matched: set[int] = set()
        for category in dict.fromkeys(poses.categories):
            rows = np.flatnonzero([name == category for name in poses.categories])
            tracks = [track for track in self.tracks if track.category == category]
            pairs = self._match(time, tracks, poses, rows)
            for track, row in pairs:
                self._move(track, time, poses, row)
                ids[row] = track.id
            matched.update(track.id for track, _ in pairs)
            lost = [track for track in tracks if track.id not in matched]
            for row in [row for row in rows.tolist() if not ids[row]]:
                ids[row] = self._begin(time, poses, row, lost)
                matched.add(int(ids[row]))
        for track in self.tracks:
            if track.id not in matched and track.state == "active":
                track.state = "lost"
        self.tracks = [
            track for track in self.tracks if time - track.time <= (DOUBTFUL if track.state == "new" else LOST)
        ]
        return replace(poses, track_ids=ids)

    def _match(self, time: float, tracks: list[Track], poses: Poses, rows: np.ndarray) -> list[tuple[Track, int]]:
        if not tracks or not len(rows):
            return []
        offsets = np.array([track.offset(time) for track in tracks])
        boxes = np.array([track.box for track in tracks]) + np.tile(offsets, 2)
        similar = self._similarity(boxes, offsets, tracks, poses, rows)
        first = self._pairs(np.where(similar < _LEAST, -1.0, similar))
        self._doubt(time, similar, first, tracks)
        near = np.where(_growth(boxes, poses.boxes[rows]) > _GROWTH, -1.0, _nearness(boxes, poses.boxes[rows]))
        near[[pair[0] for pair in first]] = -1
        near[:, [pair[1] for pair in first]] = -1
        return [(tracks[t], int(rows[n])) for t, n in (*first, *self._pairs(np.where(near <= 0, -1.0, near)))]

    def _pairs(self, similar: np.ndarray) -> list[tuple[int, int]]:
        """The pairs with the largest sum, among those of at least 0."""
        chosen = zip(*(side.tolist() for side in self._assign(-similar.clip(0))), strict=True)
        return [(t, n) for t, n in chosen if similar[t, n] >= 0]

    def _similarity(
        self, boxes: np.ndarray, offsets: np.ndarray, tracks: list[Track], poses: Poses, rows: np.ndarray
    ) -> np.ndarray:
        """[T, N] in 0..1."""
        overlap = pairwise_iou(boxes, poses.boxes[rows].astype(np.float64))
        names = poses.canonical_names[rows[0]]
        if not names:
            return overlap
        count = len(names)
        places = np.array([track.xy for track in tracks]) + offsets[:, None]
        both = np.array([track.present for track in tracks])[:, None] & (poses.visibility[rows, :count] > 0)
        size = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        alike = oks(
            places[:, None], poses.xy[rows, :count].astype(np.float64), both, size[:, None], _SLACK * _sigmas(names)
        )
        return np.where(both.any(-1), (alike + overlap) / 2, overlap)

    def _doubt(self, time: float, similar: np.ndarray, pairs: list[tuple[int, int]], tracks: list[Track]) -> None:
        """Note the pairs of matches whose exchange would fit nearly as well."""
        for place, (t, n) in enumerate(pairs):
            for u, m in pairs[:place]:
                if min(similar[t, m], similar[u, n]) > _LEAST:
                    loss = similar[t, n] + similar[u, m] - similar[t, m] - similar[u, n]
                    if loss < _NARROW:
                        first, second = sorted((tracks[t].id, tracks[u].id))
                        self.doubts.append(Doubt(time, (first, second), "exchange"))

    def _move(self, track: Track, time: float, poses: Poses, row: int) -> None:
        box = poses.boxes[row].astype(np.float64)
        if track.state != "lost":
            speed = (_centre(box) - _centre(track.box)) / max(time - track.time, 1e-6)
            old = _INERTIA if track.state == "active" else 0.0
            track.velocity = old * track.velocity + (1 - old) * speed
        track.box, track.time, track.state = box, time, "active"
        track.xy, track.present = _points(poses, row)

    def _begin(self, time: float, poses: Poses, row: int, lost: Iterable[Track]) -> int:
        self._count += 1
        box = poses.boxes[row].astype(np.float64)
        begun = Track(self._count, poses.categories[row], box, *_points(poses, row), time, np.zeros(2))
        for track in lost:
            if _nearness(track.box[None], box[None])[0, 0] > -1:  # within twice the reach
                self.doubts.append(Doubt(time, (track.id, begun.id), "new id"))
        self.tracks.append(begun)
        return begun.id


def _assignment() -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise missing_extra("Tracking", "scipy", "video") from None
    assign: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = linear_sum_assignment
    return assign


@cache
def _sigmas(names: tuple[str, ...]) -> np.ndarray:
    return np.array(keypoint_sigmas("", names))


def _points(poses: Poses, row: int) -> tuple[np.ndarray, np.ndarray]:
    count = len(poses.keypoint_names[row])
    return poses.xy[row, :count].astype(np.float64), poses.visibility[row, :count] > 0


def _centre(box: np.ndarray) -> np.ndarray:
    centre: np.ndarray = (box[:2] + box[2:]) / 2
    return centre


def _nearness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[T, N]: 1 for boxes [T, 4] and [N, 4] with one centre, 0 at `_REACH`, negative beyond."""
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (a, b)]
    distance = np.hypot(*(centres[0][:, None] - centres[1]).transpose(2, 0, 1))
    near: np.ndarray = 1 - distance / (_REACH * (_diagonals(a)[:, None] + _diagonals(b)) / 2 + 1e-9)
    return near


def _growth(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The ratio of the diagonals of boxes [T, 4] and [N, 4], the larger to the smaller one: [T, N]."""
    ratio = (_diagonals(a)[:, None] + 1e-9) / (_diagonals(b) + 1e-9)
    return np.maximum(ratio, 1 / ratio)


def _diagonals(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T), np.float64)
