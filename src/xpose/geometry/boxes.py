"""Boxes: formats, scaling, areas and overlaps, for numpy arrays and torch tensors alike.

Shapes: `...` any leading dimensions, N and M numbers of boxes. A box is four numbers in the last dimension:

========  ===============================================  ==========================
format    numbers                                          used by
========  ===============================================  ==========================
`cxcywh`  centre x, centre y, width, height                the network
`xyxy`    left, top, right, bottom                         results, overlaps, drawing
`xywh`    left, top, width, height                         COCO files
========  ===============================================  ==========================

Coordinates are continuous: a picture of width W spans 0 to W, and the first pixel 0 to 1.
"""

from __future__ import annotations

from xpose.geometry._arrays import Array, check_last, like, namespace, safe_ratio

_FOUR = "one box is four numbers"


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """Corners [..., 4] of boxes [..., 4] that are given by centre and size."""
    check_last(boxes, 4, "boxes", _FOUR)
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return namespace(boxes).concatenate((centre - half, centre + half), -1)


def xyxy_to_cxcywh(boxes: Array) -> Array:
    """Centre and size [..., 4] of boxes [..., 4] that are given by their corners."""
    check_last(boxes, 4, "boxes", _FOUR)
    low, high = boxes[..., :2], boxes[..., 2:]
    return namespace(boxes).concatenate(((low + high) / 2, high - low), -1)


def xywh_to_xyxy(boxes: Array) -> Array:
    """Corners [..., 4] of COCO's boxes [..., 4]."""
    check_last(boxes, 4, "boxes", _FOUR)
    return namespace(boxes).concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), -1)


def xyxy_to_xywh(boxes: Array) -> Array:
    """COCO's form [..., 4] of boxes [..., 4] that are given by their corners."""
    check_last(boxes, 4, "boxes", _FOUR)
    return namespace(boxes).concatenate((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), -1)


def scale_boxes(boxes: Array, width: float, height: float) -> Array:
    """Boxes [..., 4] of any format with x numbers times `width` and y numbers times `height`.

    From [0, 1] to pixels with the picture's size; back again with `1 / width, 1 / height`.
    """
    check_last(boxes, 4, "boxes", _FOUR)
    return boxes * like(boxes, (width, height, width, height))


def clip_boxes(boxes: Array, width: float, height: float) -> Array:
    """`xyxy` boxes [..., 4] cut off at the edges of a picture; one that lies outside becomes a line on the edge."""
    check_last(boxes, 4, "boxes", _FOUR)
    xp = namespace(boxes)
    limit = like(boxes, (width, height, width, height))
    return xp.minimum(xp.maximum(boxes + 0 * limit, 0 * limit), limit)


def flip_boxes(boxes: Array, width: float) -> Array:
    """`xyxy` boxes [..., 4] in the left-right mirrored picture of the given width."""
    check_last(boxes, 4, "boxes", _FOUR)
    left, top, right, bottom = (boxes[..., i] for i in range(4))
    return namespace(boxes).stack((width - right, top, width - left, bottom), -1)


def box_area(boxes: Array) -> Array:
    """Areas [...] of `xyxy` boxes [..., 4]; 0 where right < left or bottom < top."""
    check_last(boxes, 4, "boxes", _FOUR)
    size = boxes[..., 2:] - boxes[..., :2]
    size = namespace(boxes).clip(size, 0, None)
    return size[..., 0] * size[..., 1]


def box_iou(a: Array, b: Array) -> Array:
    """Intersection over union [...] of `xyxy` boxes a [..., 4] with b [..., 4], broadcast; 0 for two empty boxes."""
    intersection, union = _overlap(a, b)
    return safe_ratio(intersection, union)


def box_giou(a: Array, b: Array) -> Array:
    """Generalised IoU [...] of `xyxy` boxes a [..., 4] with b [..., 4], broadcast.

    That is the IoU less the empty share of the hull of both. It lies in [-1, 1], falls with the distance of boxes that
    do not touch, and equals the IoU where the two boxes fill their hull.
    """
    intersection, union = _overlap(a, b)
    xp = namespace(a)
    hull = box_area(xp.concatenate((xp.minimum(a[..., :2], b[..., :2]), xp.maximum(a[..., 2:], b[..., 2:])), -1))
    return safe_ratio(intersection, union) - safe_ratio(hull - union, hull)


def pairwise_iou(a: Array, b: Array) -> Array:
    """IoU [N, M] of every `xyxy` box of a [N, 4] with every one of b [M, 4]."""
    return box_iou(a[:, None], b[None])


def _overlap(a: Array, b: Array) -> tuple[Array, Array]:
    check_last(b, 4, "boxes", _FOUR)
    xp = namespace(a)
    shared = xp.concatenate((xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:])), -1)
    intersection = box_area(shared)
    return intersection, box_area(a) + box_area(b) - intersection
