"""The loss of a batch: every stage's output against the targets; every term has a weight, 0 for off.

The encoder's proposals and the object layers predict class and box, the keypoint layers also keypoints. Every term is
a mean over the matched objects of its layer in all processes, so it does not depend on the batch size or the number
of objects. Shape letters as in `xpose.model.types`; T = queries of any layer, M = labelled objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, distributed

from xpose.errors import out_of_range, refuse
from xpose.geometry import box_area, box_iou, cxcywh_to_xyxy
from xpose.model.types import LayerReport, Predictions, Trace
from xpose.training.objective import terms
from xpose.training.objective.denoising import Noised
from xpose.training.objective.matcher import Assignment, Layer, Matcher, OpenedGroups
from xpose.training.objective.targets import TargetBatch
from xpose.vocabulary import load_skeleton

SigmaRule = Literal["name", "position"]
_IGNORED_SHARE = 0.5  # a query with more than this share of its box in an ignored one is not background
_SAME = 0.1  # from this overlap (IoU), a query means a labelled object, not a possibly unlabelled one


@dataclass(frozen=True)
class LossWeights:
    """How much every term counts; 0 switches it off.

    Object alignment and closed set are the same focal loss on the network's object logits. For the first, these are
    similarities with prompts; for the second, an ablation, outputs of a classifier over numbered training classes
    (`closed_set.close`). Exactly one of the two is on.
    """

    object_alignment: float = 1.0
    closed_set: float = 0.0
    box_l1: float = 5.0
    giou: float = 2.0
    keypoint_l1: float = 10.0
    keypoint_relative: float = 0.0  # the same in box sides, bounded; not in the papers
    oks: float = 4.0
    keypoint_alignment: float = 1.0
    visibility: float = 1.0
    pose_map: float = 1.0  # for networks that have the map
    point_error: float = 1.0  # for networks that predict the error of points
    # For all image tokens, in networks that select peaks: each object has several tokens.
    dense_class: float = 1.0
    dense_box: float = 2.0
    # Factors for the layers the terms are taken from; the last decoder layer has 1.
    auxiliary: float = 1.0
    proposals: float = 1.0
    denoising: float = 1.0
    # Factor of the object terms in keypoint layers; 0 for networks that score objects in object layers only.
    group_alignment: float = 1.0
    # The target score of a matched query: 1, or with 1 here the IoU of its box, so that the best box scores best.
    quality: float = 0.0
    alpha: float = 0.25
    gamma: float = 2.0
    # "position" gives every keypoint list COCO's sigmas in order, as in the training of related networks.
    sigma_rule: SigmaRule = "name"

    def __post_init__(self) -> None:
        shares = ("alpha", "quality")
        faults = out_of_range(self, 0, *(f.name for f in fields(self) if f.name not in ("sigma_rule", *shares)))
        faults += out_of_range(self, 0, *shares, high=1)
        if 0 < self.gamma < 1:
            faults.append(f"gamma is {self.gamma}, neither 0 nor from 1 up, where its slope is finite")
        if (self.object_alignment > 0) == (self.closed_set > 0):
            faults.append(
                f"object_alignment is {self.object_alignment} and closed_set is {self.closed_set}; "
                "exactly one of them must be above 0"
            )
        if self.sigma_rule not in get_args(SigmaRule):
            faults.append(f'sigma_rule is "{self.sigma_rule}", not one of {", ".join(get_args(SigmaRule))}')
        refuse("The loss weights do", faults)

    @property
    def on_classes(self) -> str:
        """The name of the active term on object logits."""
        return "object_alignment" if self.object_alignment > 0 else "closed_set"


@dataclass(frozen=True)
class _Task:
    """One layer's output with its targets."""

    place: str  # "" for the last layer
    weight: float
    report: LayerReport
    assignment: Assignment
    counted: Tensor | None = None  # [B, T] bool, queries that the class loss includes; None = all


class Criterion:
    """Computes all loss terms."""

    def __init__(self, weights: LossWeights | None = None) -> None:
        self.weights = w = weights or LossWeights()
        self.matcher = Matcher(w.alpha, w.gamma, groups_judge=w.group_alignment > 0)

    def __call__(
        self,
        predictions: Predictions,
        targets: TargetBatch,
        noised: Noised | None = None,
        opened: OpenedGroups | None = None,
    ) -> dict[str, Tensor]:
        """The weighted sum "total", and every unweighted term; those of layers before the last are named "term@place".

        `noised` holds the objects whose queries were given to the network; `opened` is what opened the keypoint groups
        if the scores did not. TrainingError if the outputs are not finite.
        """
        trace = predictions.trace
        assert trace is not None, "the network has to be called with_reports=True"
        if self.weights.sigma_rule == "position":
            targets = replace(targets, sigmas=by_position(targets.sigmas))
        with torch.autocast(targets.boxes.device.type, enabled=False):
            tasks = self._tasks(predictions, targets, noised, opened)
            slots = 2 * len(predictions.reports) + 1  # the same in every process, with or without noised objects
            counts = _mean_over_processes(_counts(tasks, targets, slots))
            result: dict[str, Tensor] = {}
            total = targets.boxes.new_zeros(())
            judges = [r for r in predictions.reports if r.keypoints is None or self.weights.group_alignment > 0]
            judge = judges[-1] if judges else None  # the last layer that predicts the class of an object
            for task, count in zip(tasks, counts, strict=False):
                for name, value in self._terms(task, targets, trace.prompts.object_mask, count).items():
                    result[f"{name}@{task.place}" if task.place else name] = value.detach()
                    if name == self.weights.on_classes and task.report is judge:
                        result[name] = value.detach()
                    total = total + task.weight * getattr(self.weights, name) * value
            for name, value in self._further(trace, targets, opened).items():
                result[name] = value.detach()
                total = total + getattr(self.weights, name) * value
        return {"total": total, **result}

    def _further(self, trace: Trace, targets: TargetBatch, opened: OpenedGroups | None) -> dict[str, Tensor]:
        """The terms that belong to no single layer: those of all image tokens and of the keypoint maps."""
        values: dict[str, Tensor] = {}
        proposals = trace.proposals
        if proposals.every is not None and self.weights.dense_class > 0:
            assert proposals.centres is not None
            sums, count = terms.dense_terms(proposals.every, proposals.centres, targets, trace.prompts.object_mask)
            count = _mean_over_processes(count.view(1))[0].clamp(min=1)
            values |= {name: value / count for name, value in sums.items()}
        if trace.maps is not None and opened is not None and self.weights.pose_map > 0:
            assert opened.assignment is not None
            images, groups, objects = opened.assignment.index(targets.boxes.device)
            labelled = targets.visibility[images, objects] > 0
            logits, frames = trace.maps.logits[images, groups], trace.maps.frames[images, groups]
            loss = terms.pose_map(logits, frames.to(logits.dtype), targets.keypoints[images, objects], labelled)
            count = _mean_over_processes(labelled.any(-1).sum().view(1).to(loss.dtype))[0]
            values["pose_map"] = loss.sum() / count
        return values

    def _tasks(
        self, predictions: Predictions, targets: TargetBatch, noised: Noised | None, opened: OpenedGroups | None
    ) -> list[_Task]:
        w, trace = self.weights, predictions.trace
        assert trace is not None
        sets = trace.prompts.keypoint_set
        allowed = sets.gather(1, trace.group_class)[:, :, None] == sets.gather(1, targets.classes)[:, None]
        every = trace.proposals.every is not None and w.dense_class > 0  # which then covers the proposals too
        layers = [Layer("proposals", LayerReport(trace.proposals.scores, trace.proposals.boxes))]
        for place, report in zip(_places(predictions.reports), predictions.reports, strict=True):
            layers.append(Layer(place, report, None if report.keypoints is None else allowed))
        weights = [0.0 if every else w.proposals, *[w.auxiliary] * (len(layers) - 2), 1.0]
        judged = [(layer, weight) for layer, weight in zip(layers, weights, strict=True) if weight > 0]
        assignments = self._assignments([layer for layer, _ in judged], targets, opened)
        tasks = [
            _Task("" if layer is layers[-1] else layer.name, weight, layer.report, assignment)
            for (layer, weight), assignment in zip(judged, assignments, strict=True)
        ]
        if noised is not None and w.denoising > 0:
            real, opened_real = noised.queries.real, noised.queries.real.gather(1, noised.queries.opened)
            for place, report in zip(_places(trace.given), trace.given, strict=True):
                grouped = report.keypoints is not None
                assignment, counted = (noised.of_groups, opened_real) if grouped else (noised.of_queries, real)
                tasks.append(_Task(f"noised {place}", w.denoising, report, assignment, counted))
        return tasks

    def _assignments(self, layers: list[Layer], targets: TargetBatch, opened: OpenedGroups | None) -> list[Assignment]:
        """One assignment per layer; matches made when groups were opened are reused.

        Groups that were opened for an object are matched with it in every layer.
        """
        if opened is None:
            return self.matcher(layers, targets)
        assert opened.assignment is not None
        assert opened.matched is not None
        free = [layer for layer in layers if layer.report.keypoints is None and layer.report is not opened.report]
        matched = dict(zip(map(id, free), self.matcher(free, targets), strict=True)) if free else {}
        opening = {id(layer): opened.matched for layer in layers if layer.report is opened.report}
        return [(matched | opening).get(id(layer), opened.assignment) for layer in layers]

    def _terms(self, task: _Task, targets: TargetBatch, object_mask: Tensor | None, count: Tensor) -> dict[str, Tensor]:
        """All active terms of one layer; `count` holds the numbers of objects, with points, and with presence."""
        w, report, dtype = self.weights, task.report, targets.boxes.dtype
        images, queries, objects = index = task.assignment.index(targets.boxes.device)
        values: dict[str, Tensor] = {}
        share = 1.0 if report.keypoints is None else w.group_alignment
        if share > 0:
            values[w.on_classes] = share * self._classification(task, targets, object_mask, index).sum() / count[0]

        def add(name: str, column: int, loss: Callable[..., Tensor], *arguments: Any) -> None:
            if getattr(w, name) > 0:
                values[name] = loss(*arguments).sum() / count[column]

        true = targets.boxes[images, objects]
        boxes = report.boxes[images, queries].to(dtype)
        add("box_l1", 0, terms.box_l1, boxes, true)
        add("giou", 0, terms.giou, boxes, true)
        if report.keypoints is None or report.keypoint_logits is None:
            return values
        points, places = report.keypoints[images, queries].to(dtype), targets.keypoints[images, objects]
        visibility, absent = targets.visibility[images, objects], targets.absent[images, objects]
        labelled, sizes, sigmas = visibility > 0, targets.sizes[images], targets.sigmas[images, objects]
        logits, real = report.keypoint_logits[images, queries].to(dtype), targets.real[images, objects]
        add("keypoint_l1", 1, terms.keypoint_l1, points, places, labelled)
        add("keypoint_relative", 1, terms.keypoint_relative, points, places, labelled, true, sizes)
        add("oks", 1, terms.pose_distance, points, places, labelled, true, sigmas, sizes)
        add("keypoint_alignment", 2, terms.keypoint_alignment, logits, visibility, absent, real, w.alpha, w.gamma)
        if report.visibility is not None:
            shown = report.visibility[images, queries].to(dtype)
            add("visibility", 2, terms.presence, shown, visibility, absent)
        if report.log_error is not None:
            log_error = report.log_error[images, queries].to(dtype)
            add("point_error", 1, terms.point_error, points, places, labelled, true, sizes, log_error)
        return values

    def _classification(
        self, task: _Task, targets: TargetBatch, object_mask: Tensor | None, index: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Focal loss [B, T, L] of the object logits, 0 where nothing is learned."""
        logits = task.report.logits.to(targets.boxes.dtype)
        images, queries, objects = index
        cells = images, queries, targets.classes[images, objects]
        positive = torch.zeros_like(logits, dtype=torch.bool)
        positive[cells] = True
        target = positive.to(logits.dtype)
        if self.weights.quality > 0:
            boxes = task.report.boxes.detach()[images, queries].to(logits.dtype)
            overlap = box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets.boxes[images, objects]))
            target[cells] = 1 - self.weights.quality * (1 - overlap)
        judged = targets.judged(
            positive,
            object_mask,
            _in_objects(task.report.boxes, targets) if targets.has_ignored else None,
            _on_objects(task.report.boxes, targets) if targets.incomplete is not None else None,
        )
        if task.counted is not None:
            judged = judged & task.counted[..., None]
        logits = logits.masked_fill(~judged, 0)
        return terms.focal(logits, target, self.weights.alpha, self.weights.gamma) * judged


def by_position(sigmas: Tensor) -> Tensor:
    """COCO's sigmas by position in the list [..., K], regardless of the points; their mean beyond the 17th."""
    coco = sigmas.new_tensor(load_skeleton("person").sigmas)
    count = sigmas.shape[-1]
    table = torch.cat((coco, coco.mean().expand(max(0, count - len(coco)))))
    return table[:count].expand_as(sigmas)


def _places(reports: Sequence[LayerReport]) -> list[str]:
    """A name for every layer: object 1, object 2, keypoint 1, ..."""
    objects = sum(r.keypoints is None for r in reports)
    return [f"object {i + 1}" if i < objects else f"keypoint {i + 1 - objects}" for i in range(len(reports))]


def _counts(tasks: Sequence[_Task], targets: TargetBatch, slots: int) -> Tensor:
    """Per task, the numbers of matched objects, with labelled points, and with known presence: [slots, 3]."""
    counts = torch.zeros(slots, 3, dtype=targets.boxes.dtype)
    for row, task in enumerate(tasks):
        at = task.assignment.images, task.assignment.objects
        counts[row] = torch.tensor((len(task.assignment), targets.has_points[at].sum(), targets.has_presence[at].sum()))
    return counts.to(targets.boxes.device)


def _mean_over_processes(counts: Tensor) -> Tensor:
    """The mean over all processes, or 1 if none has any: gradients are averaged too, so all objects weigh the same."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(counts)
        counts = counts / distributed.get_world_size()
    return torch.where(counts > 0, counts, torch.ones_like(counts))


@torch.no_grad()
def _in_objects(boxes: Tensor, targets: TargetBatch) -> Tensor:
    """Which boxes [B, T, 4] are mostly inside the box of an object: [B, T, M] bool."""
    a = cxcywh_to_xyxy(boxes.to(targets.boxes.dtype))[:, :, None]
    b = cxcywh_to_xyxy(targets.boxes)[:, None]
    shared = torch.cat((torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])), -1)
    return box_area(shared) > _IGNORED_SHARE * box_area(a)


@torch.no_grad()
def _on_objects(boxes: Tensor, targets: TargetBatch) -> Tensor:
    """Which boxes [B, T, 4] match a labelled object: [B, T, M] bool.

    If a set labels one person of many, a query on another one is right, but a second on the same person is wrong.
    """
    overlap = box_iou(cxcywh_to_xyxy(boxes.to(targets.boxes.dtype))[:, :, None], cxcywh_to_xyxy(targets.boxes)[:, None])
    return (overlap > _SAME) & targets.present[:, None]
