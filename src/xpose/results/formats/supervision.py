"""Poses as objects of Roboflow's supervision, for its annotators and trackers; `keypoint_errors` are dropped."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xpose.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from xpose.results.poses import Poses


def to_supervision(poses: Poses, kind: Literal["keypoints", "boxes"] = "keypoints") -> Any:
    """`supervision.KeyPoints` or `supervision.Detections`; `data["class_name"]` holds the categories.

    Absent points are set to 0, 0, which supervision treats as absent.

    Raises:
        MissingExtraError: supervision is not installed.
        ConfigError: the kind is unknown.
    """
    if kind not in ("keypoints", "boxes"):
        raise ConfigError(f'kind is {kind!r}. It must be "keypoints" or "boxes". Call it twice for both.')
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError(
            f'to_supervision() needs the package "supervision" ({error}). Install it with: pip install supervision'
        ) from None
    order = list(dict.fromkeys(poses.categories))
    shared: dict[str, Any] = {
        "class_id": np.array([order.index(name) for name in poses.categories], dtype=int),
        "data": {"class_name": np.array(poses.categories, dtype=str)},
    }
    if kind == "boxes":
        return supervision.Detections(xyxy=poses.boxes.copy(), confidence=poses.scores.copy(), **shared)
    there = poses.visibility > 0
    confidence = np.nan_to_num(poses.keypoint_scores)
    if "keypoint_confidence" in inspect.signature(supervision.KeyPoints).parameters:
        shared |= {"keypoint_confidence": confidence, "detection_confidence": poses.scores.copy(), "visible": there}
    else:  # before 0.29
        shared |= {"confidence": confidence}
    return supervision.KeyPoints(xy=np.where(there[..., None], poses.xy, 0).astype(np.float32), **shared)
