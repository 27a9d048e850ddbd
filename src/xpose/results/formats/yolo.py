"""YOLO-pose: a label line for each object, and the yaml that explains them.

All objects of such a data set have the same list of keypoints. Where skeletons differ, the list has every name of
every class, and an object has zeros for the names that are not its own. The format drops all scores and
`keypoint_errors`.
"""

from __future__ import annotations

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


def encode(results: Sequence[Poses]) -> str:
    """The label file of one picture, with its own layout."""
    return labels(results[0], layout_of(results))


def labels(poses: Poses, layout: Layout) -> str:
    """The label file of one picture: class, box and points in shares of the picture's sides; v as it is.

    What lies outside the picture is not part of this format: boxes are cut, points outside get v = 0.

    Raises:
        ConfigError: a category or a keypoint is not in the layout.
    """
    return "".join(f"{_line(pose, poses.image_size, layout)}\n" for pose in poses)


def yaml_text(layout: Layout, *, path: str = ".", train: str = "images", val: str = "images") -> str:
    """The data set's yaml; no name can break out of its quotes.

    `flip_idx` goes by name: every whole word "left" becomes "right". Where a partner is missing a point stays itself.
    """
    place = {name: position for position, name in enumerate(layout.keypoints)}
    flips = [place.get(flip_name(name), position) for name, position in place.items()]
    lines = [f"path: {_quoted(path)}", f"train: {_quoted(train)}", f"val: {_quoted(val)}"]
    lines += [f"kpt_shape: [{len(layout.keypoints)}, 3]", f"flip_idx: {flips}", "names:"]
    lines += [f"  {position}: {_quoted(name)}" for position, name in enumerate(layout.classes)]
    points = ", ".join(_quoted(name) for name in layout.keypoints)
    lines += ["kpt_names:", *(f"  {position}: [{points}]" for position in range(len(layout.classes)))]
    return "\n".join(lines) + "\n"


def _line(pose: Pose, size: tuple[int, int], layout: Layout) -> str:
    height, width = size
    strange = [name for name in pose.names if name not in layout.keypoints]
    if pose.category not in layout.classes:
        strange.insert(0, pose.category)
    if strange:
        raise ConfigError(
            f"{quote(strange[0])} is not in the layout. All files of a data set share one. Make it from all results: "
            "layout_of(results)."
        )
    x1, y1, x2, y2 = (float(value) for value in pose.box)
    x1, x2 = (min(max(x, 0.0), width) / width for x in (x1, x2))
    y1, y2 = (min(max(y, 0.0), height) / height for y in (y1, y2))
    numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    words = [str(layout.classes.index(pose.category)), *(f"{value:.6f}" for value in numbers)]
    points = pose.points
    for name in layout.keypoints:
        point = points.get(name)
        if point is None or point.v == 0 or not (0 <= point.x <= width and 0 <= point.y <= height):
            words += ["0", "0", "0"]
        else:
            words += [f"{point.x / width:.6f}", f"{point.y / height:.6f}", str(point.v)]
    return " ".join(words)


def _quoted(text: str) -> str:
    """A YAML double-quoted text; what cannot be printed is written by its number."""
    special = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(special.get(c, c if c.isprintable() else f"\\U{ord(c):08X}") for c in text) + '"'
