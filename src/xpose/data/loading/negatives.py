"""Which categories the pictures of a pool certainly do not show, by what is known of their sets (`labelling`)."""

from __future__ import annotations

from collections.abc import Iterable

from xpose.data.loading.labelling import Rule, labelling_of
from xpose.data.loading.pool import Pool


class Absences:
    """Tells, by the rules of the pool's sets, which categories a picture certainly does not show."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        labelled: list[set[str]] = [set() for _ in pool.sets]
        pictures = pool.picture_of()
        for number, kind in enumerate(pool.kinds):
            for set_number in set(pool.set_of[pictures[pool.kind_of == number]].tolist()):
                labelled[set_number].add(kind.category)
        self.rules = tuple(
            Rule(labelling_of(name, pool.labelling), frozenset(categories))
            for name, categories in zip(pool.sets, labelled, strict=True)
        )

    def rule(self, number: int) -> Rule:
        """The rule of the picture's set."""
        return self.rules[self.pool.set_of[number]]

    def absent(self, number: int, categories: Iterable[str], present: Iterable[str] = ()) -> list[str]:
        """Those of the categories that the picture certainly does not show, in their order, each once.

        `present` are categories that other pictures brought along, as in a mosaic.
        """
        shown = {self.pool.kinds[kind].category for kind in self.pool.kinds_in(number)} | set(present)
        return self.rule(number).absent(categories, self.pool.file(number), shown)
