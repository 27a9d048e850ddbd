"""Federated labels: which categories are known to be absent from a picture, and which are unknown.

A category is absent from a picture in three cases: its set labels every object of that category (`exhaustive`) and
there is none; the set's pictures show only labelled objects (`closed`) and the category is not related to any of the
set's; or the set is known not to show the category (`absent`). All other categories are unknown and never used as
negatives. The package's `labelling.toml` describes published sets. A file of the same form in a folder of sets
describes the sets in that folder; its entries replace the package's.
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
from xpose.vocabulary.categories import RANKS

LABELLING_FILE = "labelling.toml"
_RULES = {bool: "true or false", list: "a list of strings", str: "a string"}
_FIELDS = {"exhaustive": bool, "closed": bool, "points": bool, "absent": list, "unsure": list, "why": str}
_PARTS = {"face", "hand"}


@dataclass(frozen=True)
class Labelling:
    """What is known about a set's labels."""

    exhaustive: bool = True  # every object of its categories
    closed: bool = False  # its pictures show no other objects
    points: bool = False  # if an object has labelled points, its points without a label are not visible
    absent: tuple[str, ...] = ()  # categories that its pictures never show; "animal" means all animals
    unsure: frozenset[str] = frozenset()  # file names, without folders, of pictures to which `absent` does not apply
    why: str = "not stated"  # how this is known

    def may_show(self, file: str) -> bool:
        """Whether a picture's file name, in any folder, is in `unsure`."""
        return PurePosixPath(file).name in self.unsure

    def known_absent(self, category: str, file: str) -> bool:
        """Whether `absent` applies to a category in a picture."""
        if not self.absent or self.may_show(file):
            return False
        entry = find_category(category)
        return category in self.absent or (entry is not None and entry.kind in self.absent)


@dataclass(frozen=True)
class Rule:
    """Decides which categories are absent from a set's pictures."""

    labelling: Labelling
    labelled: frozenset[str]  # the categories that the set labels

    def absent(self, categories: Iterable[str], file: str, shown: Iterable[str]) -> list[str]:
        """The given categories that are absent from the picture, in order, each once; `shown` are present."""
        shown = tuple(shown)
        return [
            category
            for category in dict.fromkeys(categories)
            if not any(_same(category, name) for name in shown)
            and (self.labelling.known_absent(category, file) or self._never_shown(category))
        ]

    def _never_shown(self, category: str) -> bool:
        if category in self.labelled:
            return self.labelling.exhaustive
        return self.labelling.closed and not any(related(category, name) for name in self.labelled)


@cache
def known_labelling() -> Mapping[str, Labelling]:
    """The entries of the package's `labelling.toml`, by set."""
    return read_labelling(Path(__file__).with_name(LABELLING_FILE))


def labelling_of(name: str, beside: Mapping[str, Labelling] | None = None) -> Labelling:
    """The labelling of a set from the folder's file, the package's file or the defaults."""
    return {**known_labelling(), **(beside or {})}.get(name, Labelling())


def labelling_beside(places: Iterable[str | Path]) -> dict[str, Labelling]:
    """The entries of `labelling.toml` in the root of each folder, by set; later folders override earlier ones."""
    labelling: dict[str, Labelling] = {}
    for folder in map(Path, places):
        if not (path := folder / LABELLING_FILE).is_file():
            continue
        stated = read_labelling(path)
        if is_folder_of_sets(folder):
            sets = {child.name for child in folder.iterdir() if child.is_dir()}
            for name in sorted(set(stated) - sets):
                rule = f"which its folder does not hold.{did_you_mean(name, sets)} Correct or remove it."
                raise DataError(f"{quote(path)} describes the set {quote(name)}, {rule}")
        labelling |= stated
    return labelling


def read_labelling(path: Path) -> dict[str, Labelling]:
    """The entries of a labelling file, by set."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{quote(path)} cannot be read as TOML in UTF-8: {error}. Correct or remove it.") from None
    return {name: _labelling(entry, f"{quote(path)}: [{name}]") for name, entry in content.items()}


def _labelling(entry: object, where: str) -> Labelling:
    if not isinstance(entry, dict):
        raise DataError(f"{where} is {quote(entry)}. Each set has a table with {', '.join(_FIELDS)}.")
    for key, value in entry.items():
        kind = _FIELDS.get(key)
        if kind is None:
            raise DataError(f"{where} has {quote(key)}.{did_you_mean(key, _FIELDS)} It may have {', '.join(_FIELDS)}.")
        if type(value) is not kind or (isinstance(value, list) and not all(isinstance(item, str) for item in value)):
            raise DataError(f"{where}: {key} is {quote(value)}. It must be {_RULES[kind]}.")
    lists = {"absent": tuple(entry.get("absent", ())), "unsure": frozenset(entry.get("unsure", ()))}
    return Labelling(**{**entry, **lists})


@cache
def _same(name: str, other: str) -> bool:
    """Whether the names are equal or one is more general, as "fox" for "arctic fox"."""
    words, others = set(normalise(name).split()), set(normalise(other).split())
    return words <= others or others <= words


@cache
def related(name: str, other: str) -> bool:
    """Whether two names can mean the same object or a part of it; True if in doubt."""
    words, others = ({word.rstrip("s") for word in normalise(text).split()} for text in (name, other))
    if words & others:
        return True
    first, second = find_category(name), find_category(other)
    if first is None or second is None:
        return False
    if first.name == second.name or set(first.skeletons) & set(second.skeletons):
        return True
    kinds = {first.kind, second.kind}
    if kinds <= {"person", "animal", *_PARTS} and kinds & _PARTS:
        return True
    ranks = [(first.taxonomy.rank(rank), second.taxonomy.rank(rank)) for rank in RANKS]
    return any(rank is not None and rank == other_rank for rank, other_rank in ranks)
