"""Federated labels: which categories a picture is known not to show, and which were never looked for.

A category is absent from a picture if its set labels that category on every object (`exhaustive`) and there is none, if
the set's pictures show nothing but its own objects (`closed`) and the category is not related to any of those, or if it
is one that the set is known not to show (`absent`). All other categories are unknown: they are never used as negatives.
What is known of sets stands in `labelling.toml`: in the package's for sets that many have, and in one of the same form
in a folder of sets for those of that folder; an entry there takes the place of the package's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from xpose.data.datasets.folder_sets import is_folder_of_sets
from xpose.errors import DataError, did_you_mean, quote
from xpose.vocabulary import find_category, normalise

LABELLING_FILE = "labelling.toml"
_FIELDS: Mapping[str, type] = {
    "exhaustive": bool,
    "closed": bool,
    "points": bool,
    "absent": list,
    "unsure": list,
    "why": str,
}
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
                self.labelling.known_absent(category, file)
                or (
                    self.labelling.exhaustive
                    if category in self.labelled
                    else self.labelling.closed and not any(related(category, own) for own in self.labelled)
                )
            )
        ]


@cache
def known_labelling() -> Mapping[str, Labelling]:
    """What the package's `labelling.toml` says, by set."""
    return read_labelling(Path(__file__).with_name(LABELLING_FILE))


def labelling_of(name: str, beside: Mapping[str, Labelling] | None = None) -> Labelling:
    """What is known of a set, by the folder's own file first; the usual where nothing is."""
    return {**known_labelling(), **(beside or {})}.get(name, Labelling())


def labelling_beside(places: Iterable[str | Path]) -> dict[str, Labelling]:
    """What the `labelling.toml` in the root of each folder says, by set; of two that speak of one set the later.

    Raises:
        DataError: one cannot be read, or speaks of a set that its folder does not hold.
    """
    found: dict[str, Labelling] = {}
    for folder in map(Path, places):
        path = folder / LABELLING_FILE
        if not path.is_file():
            continue
        own = read_labelling(path)
        if is_folder_of_sets(folder):
            held = {one.name for one in folder.iterdir() if one.is_dir()}
            for name in sorted(set(own) - held):
                raise DataError(
                    f"{quote(path)} speaks of the set {quote(name)}, which its folder does not hold."
                    f"{did_you_mean(name, held)} Each table has the name of a set's folder: correct or remove it."
                )
        found |= own
    return found


def read_labelling(path: Path) -> dict[str, Labelling]:
    """The entries of such a file, by set.

    Raises:
        DataError: it is not TOML, or an entry has an unknown field or a value of another type.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{quote(path)} cannot be read: {error.strerror}. Correct or remove it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{quote(path)} is not TOML in UTF-8: {error}. Correct or remove it.") from None
    return {name: _labelling(entry, f"{quote(path)}: [{name}]") for name, entry in content.items()}


def _labelling(entry: object, where: str) -> Labelling:
    if not isinstance(entry, dict):
        raise DataError(f"{where} is {quote(entry)}. Each set has a table with {', '.join(_FIELDS)}.")
    for key, value in entry.items():
        kind = _FIELDS.get(key)
        if kind is None:
            raise DataError(f"{where} has {quote(key)}.{did_you_mean(key, _FIELDS)} It may have {', '.join(_FIELDS)}.")
        if type(value) is not kind or (isinstance(value, list) and not all(isinstance(one, str) for one in value)):
            rule = {bool: "true or false", list: "a list of texts", str: "a text"}[kind]
            raise DataError(f"{where}: {key} is {quote(value)}. It must be {rule}.")
    lists = {"absent": tuple(entry.get("absent", ())), "unsure": frozenset(entry.get("unsure", ()))}
    return Labelling(**{**entry, **lists})


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
