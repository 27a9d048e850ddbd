"""Which categories the pictures of a pool certainly do not show, by what is known of their sets (`labelling`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xpose.data.loading.labelling import Labelling, Rule, known_labelling
from xpose.data.loading.pool import Pool
from xpose.errors import ConfigError


class Absences:
    """Answers, for the sets of a pool, which kinds a picture certainly does not show."""

    def __init__(self, pool: Pool, labelling: Mapping[str, Labelling] | None = None) -> None:
        """`labelling` adds to what the package and the folders say of the sets, or replaces it.

        Raises:
            ConfigError: it names a set that is not in the pool.
        """
        own = dict(labelling or {})
        strange = sorted(set(own) - set(pool.sets))
        if strange:
            raise ConfigError(
                f"Labelling is given for the sets {', '.join(strange)}, which are not in the pool. The pool "
                f"holds: {', '.join(pool.sets)}."
            )
        known = {**known_labelling(), **pool.labelling, **own}
        self.pool = pool
        labelled: list[set[str]] = [set() for _ in pool.sets]
        pictures = pool.picture_of()
        for kind, category in enumerate(kind.category for kind in pool.kinds):
            for number in set(pool.set_of[pictures[pool.kind_of == kind]].tolist()):
                labelled[number].add(category)
        self.rules = tuple(
            Rule(known.get(name, Labelling()), frozenset(own)) for name, own in zip(pool.sets, labelled, strict=True)
        )

    def labelled(self, number: int) -> frozenset[str]:
        """The categories that the picture's set labels."""
        return self._rule(number).labelled

    def exhaustive(self, number: int) -> bool:
        """Whether every object of those categories is labelled in the picture."""
        return self._rule(number).labelling.exhaustive

    def points(self, number: int) -> bool:
        """Whether a labelled object of the picture shows no other points than those that have a label."""
        return self._rule(number).labelling.points

    def absent(self, number: int, categories: Iterable[str], present: Iterable[str] = ()) -> list[str]:
        """Those of the categories that the picture certainly does not show, in their order, each once.

        `present` are categories that other pictures brought along, as in a mosaic.
        """
        shown = {self.pool.kinds[kind].category for kind in self.pool.kinds_in(number)} | set(present)
        return self._rule(number).absent(categories, self.pool.file(number), shown)

    def _rule(self, number: int) -> Rule:
        return self.rules[self.pool.set_of[number]]
