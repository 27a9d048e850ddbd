"""Which queries open keypoint groups in training: those that were matched with an object that has labelled points.

The best-scored ones, which open groups in use, often stand for no object at first, and teach nothing about points.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xpose.model.types import LayerReport
from xpose.training.objective.matcher import Assignment, Layer, Matcher
from xpose.training.objective.targets import TargetBatch


class OpenedGroups:
    """Chooses the groups of a batch (see `xpose.model.decoder.Choose`) and keeps what was matched."""

    def __init__(self, matcher: Matcher, targets: TargetBatch, most: int, seed: int) -> None:
        self.matcher, self.targets, self.most = matcher, targets, most
        self.rng = np.random.default_rng(seed)
        self.report: LayerReport | None = None  # of the last object layer
        self.matched: Assignment | None = None  # of that layer's queries
        self.assignment: Assignment | None = None  # of the groups

    @torch.no_grad()
    def __call__(self, report: LayerReport) -> tuple[Tensor, Tensor]:
        """The queries that open groups, and the class of each: [B, G] both."""
        self.report, self.matched = report, self.matcher([Layer("object", report)], self.targets)[0]
        pairs = [self._chosen(image) for image in range(len(self.targets))]
        count = max(1, *(len(queries) for queries, _ in pairs))
        best = report.logits.amax(-1).topk(min(count, report.logits.shape[1]), dim=1).indices
        likeliest = report.logits.gather(1, best[..., None].expand(-1, -1, report.logits.shape[2])).argmax(-1)
        kept, classes = best.cpu().numpy(), likeliest.cpu().numpy()
        labels = self.targets.classes.cpu().numpy()
        for image, (queries, objects) in enumerate(pairs):
            kept[image, : len(queries)] = queries
            classes[image, : len(objects)] = labels[image, objects]
        sizes = [len(queries) for queries, _ in pairs]
        self.assignment = Assignment(
            np.repeat(np.arange(len(pairs)), sizes),
            np.concatenate([np.arange(size) for size in sizes]),
            np.concatenate([objects for _, objects in pairs]),
        )
        device = report.logits.device
        return torch.from_numpy(kept).to(device), torch.from_numpy(classes).to(device)

    def _chosen(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.matched is not None
        mine = self.matched.images == image
        queries, objects = self.matched.queries[mine], self.matched.objects[mine]
        useful = self.targets.has_presence[image, objects]
        queries, objects = queries[useful], objects[useful]
        if len(queries) > self.most:
            rows = self.rng.choice(len(queries), self.most, replace=False)
            queries, objects = queries[rows], objects[rows]
        return queries, objects
