"""Labels of small pictures, described by name and brought into a batch as the loader and the loop do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from xpose.data.loading.batches import Asked, Target
from xpose.data.loading.samples import Kind
from xpose.training.objective.targets import TargetBatch

SIZE = (96.0, 64.0)  # width, height
HORSE = ("nose", "left eye", "right eye", "tail base", "neck")
CHAIR = ("left front leg", "right front leg", "seat")
NAMES = (HORSE, CHAIR)
SLOTS = 5
AWAY = (-1.0, -1.0, 2)  # a point outside the picture


@dataclass(frozen=True)
class LabelledObject:
    """An object in pixels."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    label: int
    points: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    ignore: bool = False


def horse(x: float, y: float, *, labelled: bool = True) -> LabelledObject:
    points = {"nose": (x + 4, y + 6, 2), "left eye": (x + 8, y + 3, 1), "tail base": (x + 20, y + 10, 2), "neck": AWAY}
    return LabelledObject((x, y, x + 24, y + 16), 0, points if labelled else {})


def chair(x: float, y: float) -> LabelledObject:
    points = {"left front leg": (x + 2, y + 18, 2), "right front leg": (x + 14, y + 18, 2), "seat": (x + 8, y + 9, 2)}
    return LabelledObject((x, y, x + 16, y + 20), 1, points)


def targets_of(
    *objects: LabelledObject,
    names: Sequence[tuple[str, ...]] = NAMES,
    skeletons: Sequence[str] = ("none", "none"),
    whole: bool = False,
) -> Target:
    """The labels of a picture as the loader gives them."""
    kinds = [
        Kind.of(str(row), skeleton, points)
        for row, (skeleton, points) in enumerate(zip(skeletons, names, strict=False))
    ]
    real, regions = ([item for item in objects if item.ignore is ignore] for ignore in (False, True))
    points = torch.zeros(len(real), max(map(len, names)), 3)
    for row, item in enumerate(real):
        for place, name in enumerate(names[item.label]):
            points[row, place] = torch.tensor(item.points.get(name, (0.0, 0.0, 0)))
    return Target(
        asked=tuple(Asked(kind, True, True) for kind in kinds),
        labels=torch.tensor([item.label for item in real], dtype=torch.int64),
        boxes=torch.tensor([item.box for item in real], dtype=torch.float32).reshape(-1, 4),
        points=points,
        ignored=torch.tensor([item.box for item in regions], dtype=torch.float32).reshape(-1, 4),
        ignored_labels=torch.tensor([item.label for item in regions], dtype=torch.int64),
        source="set",
        file="a.jpg",
        style=None,
        pictures=(0,),
        matrix=torch.eye(2, 3),
        whole=whole,
    )


def target_batch(
    targets: Sequence[Target], *, size: tuple[float, float] = SIZE, dtype: torch.dtype = torch.float32
) -> TargetBatch:
    """Pictures of one size as a batch."""
    return TargetBatch.of(targets, torch.tensor([size[::-1]] * len(targets)), dtype=dtype)
