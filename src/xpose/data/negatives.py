"""Federated labels: which categories a picture is known not to show, and which only nobody looked for.

A category is absent from a picture if its set labels that category on every object (`exhaustive`) and there is none, if
the set's pictures show nothing but its own objects (`closed`) and the category is not related to any of those, or if it
is one that the set is known not to show (`absent`). All other categories are unknown: they are never used as negatives.
What is known of sets stands in `labelling.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from xpose.data.pool import Pool
from xpose.errors import ConfigError
from xpose.vocabulary import find_category, normalise

_RANKS = ("species", "genus", "family", "order", "class")
_PARTS = ("face", "hand")
_BODIES = ("person", "animal", *_PARTS)


@dataclass(frozen=True)
class Labelling:
    """What a set labels.

    Attributes:
        exhaustive: every object of its categories.
        closed: nothing else is in its pictures.
        points: of an object with labelled points those without a label are not to be seen.
        absent: categories that its pictures do not show though it labels none; "animal" stands for all animals.
        unsure: pictures, by the names of their files without folders, of which `absent` does not hold.
        why: where this is known from.
    """

    exhaustive: bool = True
    closed: bool = False
    points: bool = False
    absent: tuple[str, ...] = ()
    unsure: frozenset[str] = frozenset()
    why: str = "not stated"

    def may_show(self, file: str) -> bool:
        """Whether a picture is among the `unsure` ones, in whatever folder it lies."""
        return PurePosixPath(file).name in self.unsure

    def known_absent(self, category: str, file: str) -> bool:
        """Whether `absent` says so of a picture."""
        if not self.absent or self.may_show(file):
            return False
        found = find_category(category)
        return category in self.absent or (found is not None and found.kind in self.absent)


@dataclass(frozen=True)
class Rule:
    """Which categories a picture of one set certainly does not show."""

    labelling: Labelling
    labelled: frozenset[str]  # the categories that the set labels

    def absent(self, categories: Iterable[str], file: str, shown: Iterable[str]) -> list[str]:
        """Those of the categories that a picture does not show, in their order, each once.

        Args:
            categories: to choose from.
            file: the picture's name.
            shown: what it is known to show.
        """
        shown = tuple(shown)
        return [
            category
            for category in dict.fromkeys(categories)
            if not any(_same(category, name) for name in shown)
            and (
                self.labelling.exhaustive
                if category in self.labelled
                else (self.labelling.closed and not any(related(category, own) for own in self.labelled))
                or self.labelling.known_absent(category, file)
            )
        ]


@cache
def known_labelling() -> Mapping[str, Labelling]:
    """What `labelling.toml` says, by set."""
    text = Path(__file__).with_name("labelling.toml").read_text(encoding="utf-8")
    return {name: _labelling(entry) for name, entry in tomllib.loads(text).items()}


def labelling_of(name: str) -> Labelling:
    """What `labelling.toml` says of a set; the usual where it does not list it."""
    return known_labelling().get(name, Labelling())


def _labelling(entry: Mapping[str, Any]) -> Labelling:
    lists = {"absent": tuple(entry.get("absent", ())), "unsure": frozenset(entry.get("unsure", ()))}
    return Labelling(**{**entry, **lists})


class Absences:
    """Answers, for the sets of a pool, which kinds a picture certainly does not show."""

    def __init__(self, pool: Pool, labelling: Mapping[str, Labelling] | None = None) -> None:
        """`labelling` adds to what is known of the sets, or replaces it.

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
        known = {**known_labelling(), **own}
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


@cache
def _same(one: str, other: str) -> bool:
    """Whether one name is the other, or a wider word for it: an arctic fox is a fox."""
    a, b = set(normalise(one).split()), set(normalise(other).split())
    return a <= b or b <= a


@cache
def related(one: str, other: str) -> bool:
    """Whether two names may speak of the same things, or of a part of them: rather once too often than too seldom."""
    a, b = normalise(one), normalise(other)
    if {word.rstrip("s") for word in a.split()} & {word.rstrip("s") for word in b.split()}:
        return True
    first, second = find_category(one), find_category(other)
    if first is None or second is None:
        return False
    if first.name == second.name or set(first.skeletons) & set(second.skeletons):
        return True
    if first.kind in _BODIES and second.kind in _BODIES and {first.kind, second.kind} & set(_PARTS):
        return True
    return any(
        (rank := first.taxonomy.rank(name)) is not None and rank == second.taxonomy.rank(name) for name in _RANKS
    )
