"""The flip test: a picture and its mirror image are both asked, and what was found in both is averaged.

A pose of the straight picture and the pose of the mirrored one whose box overlaps it the most become one: box, points
and scores are the mean of both. A pose without a counterpart (IoU below 0.5) stays as it is; what only the mirrored
picture shows is dropped, so that the flip test never adds answers.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from xpose.evaluation.names import mirror_names
from xpose.evaluation.questions import Question
from xpose.geometry import flip_boxes, pairwise_iou
from xpose.results import Poses

LEAST_IOU = 0.5


def merged(straight: Poses, mirrored: Poses, question: Question) -> Poses:
    """The mean of the answers for a picture and for its mirror image, both in records' pixels and names."""
    other = unflipped(mirrored, question)
    if not len(straight) or not len(other):
        return straight
    same = np.array([[a == b for b in other.categories] for a in straight.categories])
    overlap = pairwise_iou(straight.boxes.astype(np.float64), other.boxes.astype(np.float64)) * same
    partner = overlap.argmax(1)
    sure = overlap.max(1) >= LEAST_IOU
    boxes, xy = straight.boxes.copy(), straight.xy.copy()
    scores, points = straight.scores.copy(), straight.keypoint_scores.copy()
    for row in np.flatnonzero(sure):
        two = int(partner[row])
        boxes[row] = (boxes[row] + other.boxes[two]) / 2
        scores[row] = (scores[row] + other.scores[two]) / 2
        there = {name: k for k, name in enumerate(other.keypoint_names[two])}
        for column, name in enumerate(straight.keypoint_names[row]):
            k = there.get(name)
            if k is not None and np.isfinite(other.xy[two, k]).all():
                xy[row, column] = (xy[row, column] + other.xy[two, k]) / 2
                points[row, column] = (points[row, column] + other.keypoint_scores[two, k]) / 2
    order = np.argsort(-scores, kind="stable")
    return dataclasses.replace(straight, boxes=boxes, xy=xy, scores=scores, keypoint_scores=points)[order]


def unflipped(mirrored: Poses, question: Question) -> Poses:
    """What was found in the mirror image, as it stands in the picture: places turned back, left and right exchanged.

    Points have the record's pixels, where a picture of width W has its last column at W - 1.
    """
    width = mirrored.image_size[1]
    partners = {
        one.category.name: mirror_names(one.category.skeleton, tuple(one.names.values())) for one in question.asked
    }
    xy = mirrored.xy.copy()
    xy[..., 0] = width - 1 - xy[..., 0]
    names = tuple(
        tuple(partners[category].get(name, name) for name in own)
        for category, own in zip(mirrored.categories, mirrored.keypoint_names, strict=True)
    )
    boxes = flip_boxes(mirrored.boxes, width)
    return dataclasses.replace(mirrored, boxes=boxes, xy=xy, keypoint_names=names, canonical_names=names, edges=())
