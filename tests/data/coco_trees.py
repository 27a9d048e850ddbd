"""Annotations of COCO's kind for the trees of converters that read COCO json."""

from __future__ import annotations

from collections.abc import Mapping

from xpose.data.datasets.converters.base import NameTable

MARGIN = 4  # pixels between the outermost points and the box


def box_round(points: Mapping[str, tuple[float, float]], margin: float = MARGIN) -> list[float]:
    """x, y, width, height round the points."""
    xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
    return [min(xs) - margin, min(ys) - margin, max(xs) - min(xs) + 2 * margin, max(ys) - min(ys) + 2 * margin]


def flat_points(table: NameTable, points: Mapping[str, tuple[float, float]], visible: int = 2) -> list[float]:
    """x, y, v for every name of the original, in its order; zeros where there is no point."""
    return [
        value
        for unified in table.names.values()
        for value in ((*points[unified], visible) if unified in points else (0, 0, 0))
    ]


def coco_annotation(
    number: int, image: int, category: int, table: NameTable, points: Mapping[str, tuple[float, float]]
) -> dict:
    """An annotation whose points are given by their unified names."""
    box = box_round(points)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "keypoints": flat_points(table, points),
        "num_keypoints": len(points),
    }
