"""Tracks of people in the order of Human3.6M, for networks that lift keypoints to 3-D, such as MotionBERT."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import ConfigError, XPoseWarning, counted, quote
from xpose.results.formats.tracks import frame_numbers

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

# Each joint, and the keypoints whose middle it is if there is no keypoint of its name.
JOINTS: dict[str, tuple[str, ...]] = {
    "pelvis": ("left hip", "right hip"),
    "right hip": (),
    "right knee": (),
    "right ankle": (),
    "left hip": (),
    "left knee": (),
    "left ankle": (),
    "spine": ("pelvis", "thorax"),
    "thorax": ("left shoulder", "right shoulder"),
    "nose": (),
    "head": ("left eye", "right eye"),
    "left shoulder": (),
    "left elbow": (),
    "left wrist": (),
    "right shoulder": (),
    "right elbow": (),
    "right wrist": (),
}
KNOWN = {*JOINTS, "left eye", "right eye"}
_LEAST = 5  # of these keypoints in the prompt; others are no people


def to_human36m(results: Sequence[Poses]) -> bytes:
    """An npz file with these arrays; M people, T frames.

    keypoints [M, T, 17, 3] float32: x and y in pixels and the confidence, all 0 where absent.
    track_ids [M], frames [T]: the numbers of the people and of the frames.
    image_size [2]: width and height.
    joints [17]: the names.

    Without tracks, people are numbered in each picture. The confidence of a derived joint is the lower one of its two.

    Raises:
        ConfigError: the pictures differ in size.
    """
    sizes = {poses.image_size for poses in results}
    if len(sizes) > 1:
        raise ConfigError(
            f"The pictures have {len(sizes)} different sizes. A track is in one video. Convert each alone."
        )
    rows: dict[int, dict[int, np.ndarray]] = {}
    others: list[str] = []
    for frame, poses in enumerate(results):
        for number, pose in enumerate(poses[~poses.tentative], start=1):
            if len(KNOWN.intersection(pose.canonical)) >= _LEAST:
                rows.setdefault(number if pose.track_id is None else pose.track_id, {})[frame] = joints_of(pose)
            else:
                others.append(pose.category)
    if others:
        text = f"{counted(len(others), 'object')} without the joints of people ({quote(others[0])}) omitted."
        warnings.warn(text, XPoseWarning, stacklevel=4)
    keypoints = np.zeros((len(rows), len(results), len(JOINTS), 3), np.float32)
    for row, track in enumerate(rows.values()):
        keypoints[row, list(track)] = list(track.values())
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        keypoints=keypoints,
        track_ids=np.array(list(rows), dtype=np.int64),
        frames=np.array(frame_numbers(results) or range(len(results))),
        image_size=np.array(sizes.pop()[::-1] if sizes else (0, 0)),
        joints=np.array(list(JOINTS)),
    )
    return stream.getvalue()


def joints_of(pose: Pose) -> np.ndarray:
    """[17, 3] x, y and confidence of the joints of a person."""
    points = dict(zip(pose.canonical, pose.points.values(), strict=True))

    def place(name: str) -> np.ndarray:
        point = points.get(name)
        if point is not None:
            score = 1.0 if np.isnan(point.score) else max(point.score, 1e-4)  # 0 means absent
            return np.array([point.x, point.y, score]) if point.v else np.zeros(3)
        ends = np.array([place(end) for end in JOINTS.get(name, ())]).reshape(-1, 3)
        if not len(ends) or not ends[:, 2].all():
            return np.zeros(3)
        return np.array([*ends[:, :2].mean(0), ends[:, 2].min()])

    return np.stack([place(name) for name in JOINTS])
