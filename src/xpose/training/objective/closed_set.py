"""The ablation without object alignment: a classifier over numbered training classes, and its batches.

Every picture is prompted with all training classes in the same order: column l of the scores is class l. Classes that
a picture's set does not label are neither `present` nor `complete`, and are masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from xpose.data.loading.batches import PromptedKind
from xpose.data.loading.loader import Loader
from xpose.data.loading.pool import Pool
from xpose.data.loading.samples import Kind, Sample
from xpose.data.loading.sampling import Step
from xpose.errors import TrainingError
from xpose.model import XPose
from xpose.model.layers import Linear
from xpose.records import Category


class ClosedSetClassifier(nn.Module):
    """Class scores by a linear map, instead of the similarity with object prompts."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.output = Linear(dim, classes)
        nn.init.constant_(self.output.bias, -math.log(99))  # a score of 0.01: initially almost all is background

    def forward(self, features: Tensor, prompts: Tensor, mask: Tensor | None) -> Tensor:
        """Logits [B, T, L] of features [B, T, C]; only the number of prompts [B, L, C] is used."""
        classes = self.output.out_features
        if prompts.shape[1] != classes:
            raise TrainingError(
                f"The prompt has {prompts.shape[1]} classes, this closed-set network was trained on {classes}. "
                "Give all of them, in the order of training, and mask the others."
            )
        logits = self.output(features)
        return logits if mask is None else logits.masked_fill(~mask[:, None], float("-inf"))


def close(model: XPose, classes: int) -> XPose:
    """Replace both object similarities of a network (of the query selection and of the decoder) by classifiers."""
    for part in (model.selection, model.heads):
        classifier = ClosedSetClassifier(model.config.dim, classes).to(model.heads.norm.weight)
        part.add_module("similarity", classifier)
    return model


class ClosedLoader(Loader):
    """A loader that prompts every picture with all classes of the pool."""

    def __init__(self, pool: Pool, **options: Any) -> None:
        super().__init__(pool, **options)
        kinds: dict[tuple[str, str], Kind] = {}
        for kind in pool.kinds:
            kinds.setdefault(kind.key, kind)
        self._kinds = dict(sorted(kinds.items()))  # independent of the order of sets and pictures

    @property
    def classes(self) -> tuple[Category, ...]:
        """The classes in the column order of the class scores."""
        return tuple(Category(kind.category, kind.skeleton, kind.names, kind.edges) for kind in self._kinds.values())

    def _asked(self, step: Step, sample: Sample, place: int, kinds: Sequence[int]) -> list[PromptedKind]:
        picture = sample.pictures[0]
        shown = {kind.key: kind for kind in sample.labels.present()}
        rule = self.absences.rule(picture)
        return [
            PromptedKind(
                shown.get(key, kind), key in shown, rule.labelling.exhaustive and kind.category in rule.labelled
            )
            for key, kind in self._kinds.items()
        ]
