"""Files with the points of examples: written for other commands, and read from labels or results to correct them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xpose.demo.examples import ClickedExample, ExampleSet
from xpose.demo.labelling.label_file import SavedPicture, coco, read_json, read_labels
from xpose.demo.labelling.objects import LabelledObject, Mark
from xpose.errors import DataError, PromptError, quote
from xpose.prompts import ANY_OBJECT, PromptClass, VisualPrompt
from xpose.prompts.annotations import read_points
from xpose.prompts.prompt_class import checked_box
from xpose.records import Category
from xpose.results import Pose

EXAMPLE_FILES = {"points": "Save points file", "coco": "Save COCO file"}


def content_of(kind: str, examples: ExampleSet, names: PromptClass) -> dict[str, Any]:
    """The content of a points file of the selected example, or of a COCO file with all examples."""
    if kind == "coco":
        return coco(Category(names.label, names.skeleton or names.label, names.names, names.edges), _pictures(examples))
    shot = examples.shot
    if not shot.usable:
        raise PromptError("This example has no points and no box yet. Click on the points of its object.")
    points = {name: [*(place or (0, 0)), place is not None] for name, place in shot.points.items()}
    edges = [edge for edge in names.edges if points.keys() >= set(edge)]
    name = None if names.label == ANY_OBJECT else names.label
    content = {"name": name, "keypoints": points, "box": shot.box, "edges": edges}
    return {key: value for key, value in content.items() if value}


def _pictures(examples: ExampleSet) -> dict[str, SavedPicture]:
    pictures: dict[str, SavedPicture] = {}
    for shot in examples.shots:
        if any(shot.points.values()):
            points = {name: None if place is None else Mark(*place) for name, place in shot.points.items()}
            before = pictures.get(shot.picture.name)
            if before is not None and (before.width, before.height) != (shot.width, shot.height):
                raise PromptError(
                    f"Two examples are called {quote(shot.picture.name)}, but pictures in a COCO file have different "
                    "names. Rename one, and upload it again."
                )
            objects = (*(before.objects if before else ()), LabelledObject(points, shot.box))
            pictures[shot.picture.name] = SavedPicture(shot.width, shot.height, objects)
    if not pictures:
        raise PromptError("No example has a point yet. Click on the points of its object.")
    return pictures


def loaded(path: Path, examples: ExampleSet) -> tuple[ExampleSet, str | None, int]:
    """The selected example with the points of a file, the name of its object, and how many objects the file has there.

    It is a points file, a COCO keypoint file, or JSON with results of xpose; of several objects, the first is used.
    """
    shot, content = examples.shot, read_json(path)
    if not (isinstance(content, dict) and content.keys() & {"annotations", "poses", "pictures"}):
        prompt = VisualPrompt(np.zeros((1, 1, 3), np.uint8), **read_points(path))
        prompt.region(shot.width, shot.height)  # all points must be in the picture
        points = {name: (x, y) if visible else None for name, (x, y, visible) in prompt.points.items()}
        return examples.load(points, None if prompt.box is None else checked_box(prompt.box)), prompt.name, 1
    objects = _objects(path, shot)
    label, item = objects[0]
    places = {name: None if mark is None else (mark.x, mark.y) for name, mark in item.points.items()}
    return examples.load(places, item.box), label, len(objects)


def _objects(path: Path, shot: ClickedExample) -> list[tuple[str, LabelledObject]]:
    """The objects that a file of labels or results states for an example, in pixels of the example."""
    listed = [
        (category.name, name, picture)
        for category, pictures in read_labels(path).items()
        for name, picture in pictures.items()
        if picture.objects
    ]
    single = len({name for _, name, _ in listed}) == 1
    fitting = [entry for entry in listed if single or entry[1].replace("\\", "/").endswith(shot.picture.name)]
    if not fitting:
        raise DataError(f"{quote(path)} states no object for {quote(shot.picture.name)}. Load another file.")
    return [
        (label, item.scaled(shot.width / picture.width, shot.height / picture.height).within(shot.width, shot.height))
        for label, _, picture in fitting
        for item in picture.objects
    ]


def corrected(example: ClickedExample, pose: Pose) -> ExampleSet:
    """A detected object as an example to correct."""
    points = {name: (point.x, point.y) if point.v else None for name, point in pose.points.items()}
    x1, y1, x2, y2 = pose.box.tolist()
    return ExampleSet().with_names(pose.names).add(example).load(points, (x1, y1, x2, y2))
