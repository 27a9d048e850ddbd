"""Batches for the ablation without object alignment: every picture is asked for all training classes, always in order.

A closed-set network (`closed_set`) knows class l as column l, so what a picture does not show stands in its prompt too.
Classes that its set does not label are neither `present` nor `complete`, and get masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpose.data.loading.batches import PromptedKind, kinds_present
from xpose.data.loading.loader import Loader
from xpose.data.loading.pool import Pool
from xpose.data.loading.samples import Kind, Sample
from xpose.data.loading.sampling import Step
from xpose.records import Category


class ClosedLoader(Loader):
    """A loader that asks every picture for every class of the pool."""

    def __init__(self, pool: Pool, **options: Any) -> None:
        super().__init__(pool, **options)
        kinds: dict[tuple[str, str], Kind] = {}
        for kind in pool.kinds:
            kinds.setdefault(kind.key, kind)
        self._kinds = dict(sorted(kinds.items()))  # an order that no order of sets and pictures changes

    @property
    def classes(self) -> tuple[Category, ...]:
        """What column l of the network's class scores means."""
        return tuple(Category(kind.category, kind.skeleton, kind.names, kind.edges) for kind in self._kinds.values())

    def _asked(self, step: Step, sample: Sample, place: int, kinds: Sequence[int]) -> list[PromptedKind]:
        return self._asked_plainly(sample)

    def _asked_plainly(self, sample: Sample) -> list[PromptedKind]:
        picture = sample.pictures[0]
        shown = {kind.key: kind for kind in kinds_present(sample.labels)}
        rule = self.absences.rule(picture)
        return [
            PromptedKind(
                shown.get(key, kind), key in shown, rule.labelling.exhaustive and kind.category in rule.labelled
            )
            for key, kind in self._kinds.items()
        ]
