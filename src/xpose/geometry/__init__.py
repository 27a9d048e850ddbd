"""Pure functions on boxes and keypoints, for numpy arrays and torch tensors alike."""

from xpose.geometry.boxes import (
    box_area,
    box_giou,
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    flip_boxes,
    pairwise_giou,
    pairwise_iou,
    scale_boxes,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)
from xpose.geometry.keypoints import (
    box_of_keypoints,
    flip_keypoints,
    flip_values,
    points_inside,
    scale_keypoints,
)
from xpose.geometry.oks import oks, pairwise_oks

__all__ = [
    "box_area",
    "box_giou",
    "box_iou",
    "box_of_keypoints",
    "clip_boxes",
    "cxcywh_to_xyxy",
    "flip_boxes",
    "flip_keypoints",
    "flip_values",
    "oks",
    "pairwise_giou",
    "pairwise_iou",
    "pairwise_oks",
    "points_inside",
    "scale_boxes",
    "scale_keypoints",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]
