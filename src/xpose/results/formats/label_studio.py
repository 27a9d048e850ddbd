"""Label Studio: tasks with predictions, which people accept or correct there, and the labelling configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from xpose.results.formats.json import printable, score

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

BOX, POINT = "box", "keypoint"  # names of the controls in the configuration
MODEL = "xpose"


def to_label_studio(results: Sequence[Poses]) -> list[dict[str, Any]]:
    """A task for each picture. An object is a rectangle and the points that have it as their parent.

    The address of a picture is its name; change `data.image` to what your server can open.
    """
    return [_task(poses[~poses.tentative], row) for row, poses in enumerate(results, start=1)]


def configuration(results: Sequence[Poses]) -> dict[str, str]:
    """`label-config.xml`, for the labelling interface of the project."""
    classes = dict.fromkeys(name for poses in results for name in poses.categories)
    points = dict.fromkeys(name for poses in results for names in poses.keypoint_names for name in names)
    lines = ["<View>", '  <Image name="image" value="$image"/>']
    for tag, name, labels in (("RectangleLabels", BOX, classes), ("KeyPointLabels", POINT, points)):
        lines += [f'  <{tag} name="{name}" toName="image">']
        lines += [f"    <Label value={quoteattr(printable(label))}/>" for label in labels]
        lines += [f"  </{tag}>"]
    return {"label-config.xml": "\n".join([*lines, "</View>", ""])}


def _task(poses: Poses, number: int) -> dict[str, Any]:
    results = [
        result for row, pose in enumerate(poses) for result in _results(pose, f"object{row + 1}", poses.image_size)
    ]
    mean = float(poses.scores.mean()) if len(poses) else 0.0
    prediction = {"model_version": MODEL, "score": score(mean), "result": results}
    height, width = poses.image_size  # of pictures without objects, too
    data = {"image": poses.source or f"picture-{number}", "width": width, "height": height}
    return {"id": number, "data": data, "predictions": [prediction]}


def _results(pose: Pose, name: str, size: tuple[int, int]) -> list[dict[str, Any]]:
    height, width = size
    shared = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}
    x1, y1, x2, y2 = (float(value) for value in pose.box)
    corner = {"x": _percent(x1, width), "y": _percent(y1, height), "rotation": 0}
    sides = {"width": _percent(x2 - x1, width), "height": _percent(y2 - y1, height)}
    box = {"id": name, "type": "rectanglelabels", "from_name": BOX, "score": score(pose.score), **shared}
    results = [{**box, "value": {**corner, **sides, "rectanglelabels": [printable(pose.category)]}}]
    for number, (label, point) in enumerate(pose.points.items(), start=1):
        if point.v:
            value = {"x": _percent(point.x, width), "y": _percent(point.y, height), "width": 0.5}
            entry = {"id": f"{name}-{number}", "type": "keypointlabels", "from_name": POINT, "parentID": name, **shared}
            entry |= {} if point.score != point.score else {"score": score(point.score)}
            results.append({**entry, "value": {**value, "keypointlabels": [printable(label)]}})
    return results


def _percent(value: float, side: int) -> float:
    return round(100 * float(value) / side, 6) + 0.0
