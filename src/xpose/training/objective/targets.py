"""The labels of a batch in the form used by the matcher and the losses.

Shape letters as in `xpose.model.types`, and M labelled objects (the maximum over pictures). K is the largest number of
keypoints of any class in the batch's prompts; `real` marks the slots that are keypoints of the object's own class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad
from torch.nn.utils.rnn import pad_sequence

from xpose.data.loading.batches import Target
from xpose.data.loading.samples import Kind
from xpose.errors import TrainingError
from xpose.geometry import box_area, clip_boxes, xyxy_to_cxcywh


@dataclass(frozen=True)
class TargetBatch:
    """The labels of all pictures, padded to the same number of objects, on the network's device.

    Coordinates are relative to each picture without its padding.
    """

    boxes: Tensor  # [B, M, 4] cx, cy, w, h
    classes: Tensor  # [B, M] int64, position of the class in the picture's prompt
    keypoints: Tensor  # [B, M, K, 2], 0 where not labelled
    visibility: Tensor  # [B, M, K] int64: 2 visible, 1 hidden, 0 not labelled
    sigmas: Tensor  # [B, M, K], of the object's skeleton
    real: Tensor  # [B, M, K] bool
    absent: Tensor  # [B, M, K] bool, True where the point is known not to be in the picture
    ignored: Tensor  # [B, M] bool, neither to be found nor to be called background; False for padding
    present: Tensor  # [B, M] bool, False for padding
    sizes: Tensor  # [B, 2], width and height in pixels, used for an isotropic OKS
    # The inputs of all counts are kept on the CPU, so that counting never waits for the device.
    columns: tuple[np.ndarray, ...]  # per picture, the columns of the objects to be found
    has_points: np.ndarray  # [B, M] bool, whether a keypoint is labelled
    has_presence: np.ndarray  # [B, M] bool, whether the presence of a keypoint is known
    has_ignored: bool
    # [B, L] bool, classes of which the picture may show unlabelled objects; None = no class.
    incomplete: Tensor | None = None

    @classmethod
    def of(
        cls,
        targets: Sequence[Target],
        sizes: Tensor,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> TargetBatch:
        """The labels of a batch of the loader; `sizes` [B, 2] are height and width of each picture in pixels.

        A point outside the picture counts as absent. Boxes are clipped to the picture. Ignored regions follow the
        objects; those of classes outside the prompt are dropped.
        """
        limits = sizes.flip(1).to(torch.float32)
        slots = max((len(asked.kind) for target in targets for asked in target.asked), default=0)
        pictures = zip(targets, limits.tolist(), strict=True)
        boxes, classes, points, ignored, present = _padded(
            _objects(target, width, height, slots) for target, (width, height) in pictures
        )
        sigmas, real, incomplete = _padded(
            (
                *_class_tables(tuple(asked.kind for asked in target.asked), slots),
                torch.tensor([not asked.complete for asked in target.asked], dtype=torch.bool),
            )
            for target in targets
        )
        picture = torch.arange(len(targets))[:, None]
        real = real[picture, classes] & present[..., None]
        sigmas = sigmas[picture, classes].masked_fill(~real, 1.0)
        places, visibility = points[..., :2], points[..., 2].long()
        labelled = visibility > 0
        seen = labelled & ((places >= 0) & (places <= limits[:, None, None])).all(-1)
        whole = torch.tensor([target.whole for target in targets])[:, None, None]
        absent = (labelled & ~seen) | (whole & labelled.any(-1, keepdim=True) & real & ~labelled)
        _check(boxes, present, labelled & ~real)
        boxes = xyxy_to_cxcywh(boxes / limits.repeat(1, 2)[:, None])
        return cls(
            # Padding gets boxes with finite overlaps that are not used.
            boxes=boxes.masked_fill(~present[..., None], 0.5).to(device, dtype),
            classes=classes.to(device),
            keypoints=((places / limits[:, None, None]).masked_fill(~seen[..., None], 0)).to(device, dtype),
            visibility=(visibility * seen).to(device),
            sigmas=sigmas.to(device, dtype),
            real=real.to(device),
            absent=absent.to(device),
            ignored=ignored.to(device),
            present=present.to(device),
            sizes=limits.to(device, dtype),
            columns=tuple(np.flatnonzero(row) for row in (present & ~ignored).numpy()),
            has_points=seen.any(-1).numpy(),
            has_presence=(seen | absent).any(-1).numpy(),
            has_ignored=bool(ignored.any()),
            incomplete=incomplete.to(device) if bool(incomplete.any()) else None,
        )

    def judged(
        self, positive: Tensor, object_mask: Tensor | None, in_ignored: Tensor | None, on_labelled: Tensor | None
    ) -> Tensor:
        """Which class scores the losses judge: [B, T, L] bool.

        Masked classes are not judged. Unless `positive` [B, T, L], neither are answers in ignored regions or on objects
        that the set may have left unlabelled. `object_mask` [B, L] marks the real classes (None = all). Two masks are
        [B, T, M]: `in_ignored`, answers in each object's box (needed if `has_ignored`), and `on_labelled`, answers
        on a labelled object (needed if there are `incomplete` classes).
        """
        judged = torch.ones_like(positive) if object_mask is None else object_mask[:, None].expand_as(positive)
        if self.has_ignored:
            assert in_ignored is not None
            of_class = one_hot(self.classes, positive.shape[2]).float()
            ignored = (in_ignored & self.ignored[:, None]).float() @ of_class > 0
            judged = judged & (positive | ~ignored)
        if self.incomplete is not None:
            assert on_labelled is not None
            unlabelled = ~on_labelled.any(-1, keepdim=True) & self.incomplete[:, None]
            judged = judged & (positive | ~unlabelled)
        return judged

    def __len__(self) -> int:
        """The number of pictures."""
        return self.boxes.shape[0]

    @property
    def most(self) -> int:
        """The largest number of objects to be found in one picture."""
        return max(len(columns) for columns in self.columns)


def _padded(rows: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """Columns of a table with a row for each picture, each as one padded tensor."""
    return [pad_sequence(list(column), True) for column in zip(*rows, strict=True)]


def _objects(target: Target, width: float, height: float, slots: int) -> tuple[Tensor, ...]:
    """Objects, then ignored regions: boxes in pixels, classes, points, ignored flags, and True for each."""
    valid = (target.boxes[:, 2:] > target.boxes[:, :2]).all(-1)
    boxes, regions = (clip_boxes(values, width, height) for values in (target.boxes[valid], target.ignored))
    used = (target.ignored_labels >= 0) & (regions[:, 2:] > regions[:, :2]).all(-1)
    count, extra = len(boxes), int(used.sum())
    points = target.points[valid, :slots]
    return (
        torch.cat((boxes, regions[used])),
        torch.cat((target.labels[valid], target.ignored_labels[used])),
        pad(points, (0, 0, 0, slots - points.shape[1], 0, extra)),
        torch.arange(count + extra) >= count,
        torch.ones(count + extra, dtype=torch.bool),
    )


@lru_cache(maxsize=4096)
def _class_tables(kinds: tuple[Kind, ...], slots: int) -> tuple[Tensor, Tensor]:
    """For each class of a prompt the sigmas of its points [L, K], and which slots are real [L, K]."""
    sigmas, real = torch.ones(len(kinds), slots), torch.zeros(len(kinds), slots, dtype=torch.bool)
    for row, kind in enumerate(kinds):
        sigmas[row, : len(kind)], real[row, : len(kind)] = torch.tensor(kind.sigmas), True
    return sigmas, real


def _check(boxes: Tensor, present: Tensor, misplaced: Tensor) -> None:
    faults = {
        "a box lies outside its picture": (box_area(boxes) <= 0) & present,
        "a keypoint is labelled that its object's class does not have": misplaced,
    }
    messages = [message for message, faulty in faults.items() if bool(faulty.any())]
    if messages:
        raise TrainingError(
            f"The labels of a batch have {len(messages)} fault(s): {'; '.join(messages)}. Remove such objects from the "
            "data."
        )
