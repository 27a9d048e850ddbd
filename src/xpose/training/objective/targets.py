"""What a picture really shows, in the form that matcher and losses read.

Shape letters as in `xpose.model.types`, and M labelled objects of an image (of a batch: the most of any image). K is
the padded number of keypoints of the batch's prompts; `real` says which slots are keypoints of the object's own class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from xpose.data.loading.batches import Target
from xpose.errors import TrainingError
from xpose.geometry import clip_boxes, scale_boxes, scale_keypoints, xyxy_to_cxcywh
from xpose.vocabulary import sigma_for

VISIBLE, HIDDEN, UNLABELLED = 2, 1, 0


@dataclass(frozen=True)
class LabelledObject:
    """One object in pixels of the network's input, its points by name."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    label: int  # which class of the image's prompt it is
    points: Mapping[str, tuple[float, float, int]] = field(default_factory=lambda: MappingProxyType({}))
    absent: frozenset[str] = frozenset()  # points known not to be in the picture: stated, or cropped away
    sigmas: Mapping[str, float] | None = None  # of the skeleton; by the rule for free names where it has none
    ignore: bool = False  # neither to be found nor to be called background: crowds, doubtful objects


@dataclass(frozen=True)
class Targets:
    """All labelled objects of one image; coordinates in [0, 1] of the picture, padding not counted."""

    boxes: Tensor  # [M, 4] cx, cy, w, h
    classes: Tensor  # [M] int64, number of the class in the image's prompt
    keypoints: Tensor  # [M, K, 2]
    visibility: Tensor  # [M, K] int64: 2 visible, 1 hidden, 0 not labelled
    sigmas: Tensor  # [M, K], by each point's name
    real: Tensor  # [M, K] bool
    absent: Tensor  # [M, K] bool, True where the point is known not to be in the picture
    ignore: Tensor  # [M] bool
    size: tuple[float, float]  # width and height of the picture in pixels, in which OKS is isotropic

    def __len__(self) -> int:
        """The number of objects."""
        return self.boxes.shape[0]

    @classmethod
    def empty(cls, slots: int, size: tuple[float, float]) -> Targets:
        """An image without objects."""
        return cls.from_objects((), (), slots, size)

    @classmethod
    def from_objects(
        cls, objects: Iterable[LabelledObject], names: Sequence[Sequence[str]], slots: int, size: tuple[float, float]
    ) -> Targets:
        """Objects in pixels, with their points brought into the order of the prompt.

        A point outside the picture cannot be found there: it counts as absent. Boxes end at the edge of the picture. A
        point whose name the prompt does not ask for is left out.

        Args:
            objects: the labelled objects.
            names: for each class of the prompt the names of its keypoints, in the prompt's order.
            slots: K, the most keypoints of any prompt in the batch.
            size: width and height of the picture in pixels, padding not counted.

        Raises:
            TrainingError: a class is not in the prompt, has more keypoints than slots, or a number is out of range.
        """
        objects = tuple(objects)
        count, (width, height) = len(objects), size
        points = torch.zeros(count, slots, 2)
        visibility = torch.zeros(count, slots, dtype=torch.int64)
        sigmas = torch.ones(count, slots)
        real, absent = (torch.zeros(count, slots, dtype=torch.bool) for _ in range(2))
        for row, item in enumerate(objects):
            order = _names_of(item.label, names, slots)
            real[row, : len(order)] = True
            for slot, name in enumerate(order):
                sigmas[row, slot] = sigma_for(name) if item.sigmas is None else item.sigmas[name]
                x, y, v = item.points.get(name, (0.0, 0.0, UNLABELLED))
                inside = 0 <= x <= width and 0 <= y <= height
                absent[row, slot] = (name in item.absent and v == UNLABELLED) or (v != UNLABELLED and not inside)
                if v != UNLABELLED and inside:
                    points[row, slot], visibility[row, slot] = torch.tensor((x, y)), v
        boxes = torch.tensor([item.box for item in objects], dtype=torch.float32).reshape(count, 4)
        return cls(
            boxes=xyxy_to_cxcywh(scale_boxes(clip_boxes(boxes, width, height), 1 / width, 1 / height)),
            classes=torch.tensor([item.label for item in objects], dtype=torch.int64),
            keypoints=scale_keypoints(points, 1 / width, 1 / height),
            visibility=visibility,
            sigmas=sigmas,
            real=real,
            absent=absent,
            ignore=torch.tensor([item.ignore for item in objects], dtype=torch.bool),
            size=size,
        ).check()

    @classmethod
    def from_labels(cls, target: Target, slots: int, size: tuple[float, float]) -> Targets:
        """The labels of a picture of a batch, whose points are in the order of its prompt already.

        Rules as in `from_objects`; regions to be ignored become objects that count for nothing.
        """
        width, height = size
        kept = ((target.boxes[:, 2:] - target.boxes[:, :2]) > 0).all(-1)
        labels, points = target.labels[kept], pad_slots(target.points[kept], slots)
        sigmas, every_real = _slots_of(tuple(entry.kind.names for entry in target.asked), slots)
        place, labelled = points[..., :2], points[..., 2] > 0
        inside = ((place >= 0) & (place <= place.new_tensor(size))).all(-1)
        real = every_real[labels]
        absent = labelled & ~inside
        if target.whole:
            absent = absent | (labelled.any(-1, keepdim=True) & real & ~labelled)
        seen = labelled & inside
        limits = target.ignored.new_tensor((width, height, width, height))
        ignored = torch.minimum(target.ignored.clamp(min=0), limits)
        used = (target.ignored_labels >= 0) & ((ignored[:, 2:] - ignored[:, :2]) > 0).all(-1)
        ignored, extra = ignored[used], int(used.sum())
        boxes = torch.cat((clip_boxes(target.boxes[kept], width, height), ignored))
        return cls(
            boxes=xyxy_to_cxcywh(scale_boxes(boxes, 1 / width, 1 / height)),
            classes=torch.cat((labels, target.ignored_labels[used])),
            keypoints=_with_rows(scale_keypoints(place, 1 / width, 1 / height) * seen[..., None], extra, 0),
            visibility=_with_rows(points[..., 2].long() * seen, extra, 0),
            sigmas=sigmas[torch.cat((labels, target.ignored_labels[used]))],
            real=every_real[torch.cat((labels, target.ignored_labels[used]))],
            absent=_with_rows(absent, extra, 0),
            ignore=torch.arange(len(labels) + extra) >= len(labels),
            size=size,
        )

    def check(self) -> Targets:
        """The targets themselves.

        Raises:
            TrainingError: shapes do not fit together or numbers are out of range; all faults are named.
        """
        faults = self._shape_faults() or self._value_faults()
        if faults:
            raise TrainingError(
                f"The targets of an image have {len(faults)} fault(s): {'; '.join(faults)}. Coordinates must be in "
                "[0, 1] of the picture, one row per object: make them with Targets.from_objects."
            )
        return self

    def _shape_faults(self) -> list[str]:
        rows = (len(self), *self.visibility.shape[1:2])
        wanted = {
            "boxes": (rows[0], 4),
            "classes": rows[:1],
            "ignore": rows[:1],
            "keypoints": (*rows, 2),
            **dict.fromkeys(("visibility", "sigmas", "real", "absent"), rows),
        }
        shapes = {name: tuple(getattr(self, name).shape) for name in wanted}
        return [f"{k} has shape {shapes[k]}, not {shape}" for k, shape in wanted.items() if shapes[k] != shape]

    def _value_faults(self) -> list[str]:
        labelled = self.visibility > 0
        centres, sides = self.boxes[:, :2], self.boxes[:, 2:]
        rules = {
            "a box is not finite": ~self.boxes.isfinite(),
            "a box has no area": ~(sides > 0),
            "the centre of a box lies outside the picture": (centres < 0) | (centres > 1),
            "a class number is negative": self.classes < 0,
            "a labelled keypoint is not finite": labelled[..., None] & ~self.keypoints.isfinite(),
            "a visibility is not 0, 1 or 2": (self.visibility < 0) | (self.visibility > 2),
            "a sigma is not above 0": self.real & ~(self.sigmas > 0),
            "a keypoint is labelled in a slot that its class does not have": labelled & ~self.real,
            "a keypoint is both labelled and absent": labelled & self.absent,
        }
        return [words for words, wrong in rules.items() if bool(wrong.any())]


def pad_slots(points: Tensor, slots: int) -> Tensor:
    """Points [M, K, 3] with K slots, the further ones empty."""
    return torch.nn.functional.pad(points[:, :slots], (0, 0, 0, slots - min(slots, points.shape[1])))


def _with_rows(x: Tensor, count: int, value: float) -> Tensor:
    return torch.cat((x, x.new_full((count, *x.shape[1:]), value)))


@lru_cache(maxsize=4096)
def _slots_of(names: tuple[tuple[str, ...], ...], slots: int) -> tuple[Tensor, Tensor]:
    """For each class of a prompt the sigmas of its points [L, K], and which slots are real [L, K]."""
    sigmas, real = torch.ones(len(names), slots), torch.zeros(len(names), slots, dtype=torch.bool)
    for row, points in enumerate(names):
        real[row, : len(points)] = True
        if points:
            sigmas[row, : len(points)] = torch.tensor([sigma_for(name) for name in points])
    return sigmas, real


def _names_of(label: int, names: Sequence[Sequence[str]], slots: int) -> Sequence[str]:
    if not 0 <= label < len(names):
        raise TrainingError(
            f"An object is of class {label} of a prompt with {len(names)} classes. Every labelled class must be in the "
            "prompt: add it, or leave the object out."
        )
    if len(names[label]) > slots:
        raise TrainingError(
            f"Class {label} has {len(names[label])} keypoints, the batch has {slots} slots. Take as many slots as the "
            "longest keypoint list of the batch's prompts has."
        )
    return names[label]


@dataclass(frozen=True)
class TargetBatch:
    """The targets of all images, padded to the same number of objects, on the network's device."""

    boxes: Tensor  # [B, M, 4]
    classes: Tensor  # [B, M]
    keypoints: Tensor  # [B, M, K, 2], 0 where not labelled
    visibility: Tensor  # [B, M, K]
    sigmas: Tensor  # [B, M, K]
    real: Tensor  # [B, M, K] bool
    absent: Tensor  # [B, M, K] bool
    ignored: Tensor  # [B, M] bool, False for padding
    present: Tensor  # [B, M] bool, False for padding
    sizes: Tensor  # [B, 2], width and height in pixels
    # What decides how many of everything there are is kept off the device, so that counting never waits for it.
    columns: tuple[np.ndarray, ...]  # per image, the numbers of the objects to be found
    has_points: np.ndarray  # [B, M] bool, a keypoint is labelled
    has_presence: np.ndarray  # [B, M] bool, of a keypoint it is known whether it is in the picture
    has_ignored: bool
    # [B, L] bool, classes of which the picture may show more than is labelled; None where there are none.
    incomplete: Tensor | None = None

    @classmethod
    def of(
        cls, targets: Sequence[Targets], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TargetBatch:
        """Padded, checked and moved.

        Raises:
            TrainingError: the targets are faulty, or their numbers of keypoint slots differ.
        """
        slots = sorted({t.check().visibility.shape[1] for t in targets})
        if len(slots) != 1:
            raise TrainingError(
                f"The images of a batch have targets with {slots} keypoint slots. All need the same number: that of "
                "the longest keypoint list of the batch's prompts."
            )
        most = max(len(t) for t in targets)
        rows = {f.name: [getattr(t, f.name) for t in targets] for f in fields(Targets) if f.name != "size"}
        fill = {"boxes": 0.5, "sigmas": 1.0}  # so that padding gives finite overlaps, which nothing reads
        padded = {name: _stack(values, most, fill.get(name, 0)) for name, values in rows.items()}
        present = torch.arange(most) < torch.tensor([len(t) for t in targets])[:, None]
        labelled = padded["visibility"] > 0
        padded["keypoints"] = padded["keypoints"].masked_fill(~labelled[..., None], 0)
        ignored = padded.pop("ignore")
        moved = {k: v.to(device, dtype if v.is_floating_point() else v.dtype) for k, v in padded.items()}
        return cls(
            **moved,
            ignored=ignored.to(device),
            present=present.to(device),
            sizes=torch.tensor([t.size for t in targets], dtype=dtype, device=device),
            columns=tuple(np.flatnonzero(row) for row in (present & ~ignored).numpy()),
            has_points=labelled.any(-1).numpy(),
            has_presence=(labelled | padded["absent"]).any(-1).numpy(),
            has_ignored=bool(ignored.any()),
        )

    def __len__(self) -> int:
        """The number of images."""
        return self.boxes.shape[0]

    @property
    def most(self) -> int:
        """The largest number of objects to be found in one image."""
        return max(len(c) for c in self.columns)


def _stack(rows: Sequence[Tensor], length: int, fill: float) -> Tensor:
    out = rows[0].new_full((len(rows), length, *rows[0].shape[1:]), fill, device="cpu")
    for number, values in enumerate(rows):
        out[number, : len(values)] = values
    return out
