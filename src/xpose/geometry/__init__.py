"""Pure functions on boxes and keypoints, for numpy arrays and torch tensors alike."""

from xpose.geometry.boxes import (
    box_area,
    box_giou,
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    flip_boxes,
    pairwise_iou,
    scale_boxes,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)
from xpose.geometry.keypoints import oks, scale_keypoints

__all__ = [
    "box_area",
    "box_giou",
    "box_iou",
    "clip_boxes",
    "cxcywh_to_xyxy",
    "flip_boxes",
    "oks",
    "pairwise_iou",
    "scale_boxes",
    "scale_keypoints",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]
