"""One record for every source: a picture, the objects in it, and their keypoints by unified name.

**Coordinates.** Pixels, 0-based, x to the right and y down. A keypoint is a pixel index: (0, 0) is the middle of the
top left pixel, so a converter of a 1-based original subtracts 1. A box is (x, y, width, height) with its upper left
corner first; the whole picture is (0, 0, width, height). The half pixel between the two habits is COCO's own and is
left as it is. Coordinates belong to the stored pixels: an EXIF orientation is not applied.

**Visibility.** 2 is labelled and visible, 1 is labelled but hidden (only from originals that say so), 0 is not
labelled. A missing name means the same as visibility 0, and that is the form in which records are kept.
"""

from __future__ import annotations

from xpose.records.record import (
    HIDDEN,
    LEFT_RIGHT_RULES,
    MAX_BOX_SIZE,
    MAX_SIDE,
    NOT_LABELLED,
    VISIBLE,
    Box,
    Category,
    Instance,
    LeftRight,
    Picture,
    Point,
    Record,
    Skipped,
    Taxonomy,
    replaced,
)

__all__ = [
    "HIDDEN",
    "LEFT_RIGHT_RULES",
    "MAX_BOX_SIZE",
    "MAX_SIDE",
    "NOT_LABELLED",
    "VISIBLE",
    "Box",
    "Category",
    "Instance",
    "LeftRight",
    "Picture",
    "Point",
    "Record",
    "Skipped",
    "Taxonomy",
    "replaced",
]
