"""Miniature folders of COCO keypoint sets that tests draw, and a source whose answers are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tests.evaluation.cases import found, pose

from xpose.evaluation.questions import Question, Task
from xpose.results import Poses

# Field names as two sets of the vocabulary know them.
TUBE = ("head", "tail")  # glue_tube: cap, crimped end
BIRD = ("head", "tail", "leftwing", "rightwing")  # alpine_bird


def thing(box: Sequence[float], *points: Sequence[float], category: int = 1, crowd: int = 0) -> dict[str, Any]:
    """An object of a drawn set: its box (x, y, width, height), and for every field x, y and perhaps v."""
    return {
        "bbox": list(box),
        "keypoints": [value for point in points for value in ((*point, 2)[:3])],
        "category_id": category,
        "iscrowd": crowd,
    }


def write_set(
    folder: Path,
    categories: Sequence[tuple[str, Sequence[str]]],
    splits: dict[str, list[list[dict[str, Any]]]],
    size: tuple[int, int] = (80, 60),
) -> None:
    """A set: for every split its pictures, each a list of `thing`s; picture 0 of val is images/val-0.png."""
    (folder / "images").mkdir(parents=True)
    listed = [{"id": i, "name": name, "keypoints": list(names)} for i, (name, names) in enumerate(categories, start=1)]
    for split, pictures in splits.items():
        images, annotations = [], []
        for number, things in enumerate(pictures):
            name = f"{split}-{number}.png"
            draw(folder / "images" / name, size, things)
            images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
            for one in things:
                seen = sum(v > 0 for v in one["keypoints"][2::3])
                area = one["bbox"][2] * one["bbox"][3]
                ids = {"id": len(annotations) + 1, "image_id": number}
                annotations.append({**one, **ids, "num_keypoints": seen, "area": area})
        content = {"images": images, "annotations": annotations, "categories": listed, "info": {"licence": "CC0"}}
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def draw(path: Path, size: tuple[int, int], things: list[dict[str, Any]]) -> None:
    """Grey ground, a bright box for every object and dots at its points."""
    image = Image.new("RGB", size, (90, 90, 90))
    pen = ImageDraw.Draw(image)
    for number, one in enumerate(things):
        x, y, width, height = one["bbox"]
        pen.rectangle((x, y, x + width - 1, y + height - 1), fill=(160, 120 + 20 * (number % 5), 90))
        for px, py in zip(one["keypoints"][0::3], one["keypoints"][1::3], strict=True):
            pen.rectangle((px - 1, py - 1, px + 1, py + 1), fill=(240, 40, 40))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


class Known:
    """A source that answers with what a function says, and remembers what it was asked."""

    name = identity = "known"

    def __init__(self, answer: Callable[[Task, Question], Poses], batch: int = 2) -> None:
        self._answer, self.batch = answer, batch
        self.tasks: list[Task] = []

    def answer(self, tasks, pixels, settings):
        self.tasks += tasks
        for task, own in zip(tasks, pixels, strict=True):
            assert own.shape == (task.record.picture.height, task.record.picture.width, 3)
            assert own.dtype == np.uint8
        return [tuple(self._answer(task, question) for question in task.questions) for task in tasks]


def repeated(task: Task, question: Question, shift: tuple[float, float] = (0.0, 0.0)) -> Poses:
    """The truth itself, every point moved by `shift`."""
    rows = []
    for one in question.truth.instances:
        if not one.iscrowd:
            points = {
                name.replace(" ", "_"): (x + shift[0], y + shift[1]) for name, (x, y, v) in one.keypoints.items() if v
            }
            rows.append(pose(one.category, one.box, 0.9, **points))
    return found(*rows, size=(task.record.picture.height, task.record.picture.width))
