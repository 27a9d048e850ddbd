"""YOLO-pose: a label line for each object, and `data.yaml`.

All objects of a data set share one list of keypoints. If their skeletons differ, the list has the names of all
classes, and an object has zeros for names that it lacks. The format drops all scores and `keypoint_errors`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xpose.errors import ConfigError, quote
from xpose.vocabulary import flip_name

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses


@dataclass(frozen=True)
class Layout:
    """The order of classes and keypoints that all label files of a data set share."""

    classes: tuple[str, ...]
    keypoints: tuple[str, ...]


def layout_of(results: Sequence[Poses]) -> Layout:
    """The classes and keypoints of several pictures, in order of appearance."""
    classes = dict.fromkeys(name for poses in results for name in poses.categories)
    points = dict.fromkeys(name for poses in results for names in poses.keypoint_names for name in names)
    return Layout(tuple(classes), tuple(points))


def encode(results: Sequence[Poses], layout: Layout | None = None) -> list[str]:
    """The label file of each picture: class, box and keypoints, relative to the picture's size.

    The format cannot express what is outside the picture: boxes are clipped, and points outside get v = 0. Tentative
    poses are omitted. The default layout is `layout_of(results)`; give the same layout for all pictures of a data set.
    """
    layout = layout or layout_of(results)
    return [
        "".join(f"{_line(pose, poses.image_size, layout)}\n" for pose in poses if not pose.tentative)
        for poses in results
    ]


def shared(results: Sequence[Poses], layout: Layout | None = None) -> dict[str, str]:
    """`data.yaml`, which describes a data set with these label files in `labels` and their pictures in `images`."""
    layout = layout or layout_of(results)
    names = layout.keypoints
    lines = ["# Put the pictures into the folder images, in the same subfolders as their label files in labels."]
    lines += ["train: images", "val: images", "names:"]
    lines += [f"  {number}: {_quoted(name)}" for number, name in enumerate(layout.classes)]
    if names:
        partners = [_partner(name, names) for name in names]
        listed = ", ".join(map(_quoted, names))
        lines += [f"kpt_shape: [{len(names)}, 3]", f"flip_idx: {partners}", "kpt_names:"]
        lines += [f"  {number}: [{listed}]" for number in range(len(layout.classes))]
    return {"data.yaml": "\n".join([*lines, ""])}


def _partner(name: str, names: tuple[str, ...]) -> int:
    """The number of a keypoint's mirror partner, or its own."""
    flipped = flip_name(name)
    return names.index(flipped if flipped in names and flip_name(flipped) == name else name)


def _quoted(text: str) -> str:
    """A text for YAML, whose quoted texts are those of JSON with more escapes."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False))


def _line(pose: Pose, size: tuple[int, int], layout: Layout) -> str:
    height, width = size
    missing = [name for name in pose.names if name not in layout.keypoints]
    if pose.category not in layout.classes:
        missing.insert(0, pose.category)
    if missing:
        raise ConfigError(f"{quote(missing[0])} is not in the layout. Make it from all results: layout_of(results).")
    x1, y1, x2, y2 = (float(value) for value in pose.box)
    x1, x2 = (min(max(x, 0.0), width) / width for x in (x1, x2))
    y1, y2 = (min(max(y, 0.0), height) / height for y in (y1, y2))
    words = [str(layout.classes.index(pose.category))]
    words += [f"{value:.6f}" for value in ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)]
    points = pose.points
    for name in layout.keypoints:
        x, y, _, v = points.get(name, (0.0, 0.0, 0.0, 0))
        inside = v and 0 <= x <= width and 0 <= y <= height
        words += [f"{x / width:.6f}", f"{y / height:.6f}", str(v)] if inside else ["0", "0", "0"]
    return " ".join(words)
