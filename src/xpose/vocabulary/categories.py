"""Object categories: names, spellings in published lists, taxonomy (if a source states it) and skeletons.

The data are in `categories/*.toml`, one category per line. The default skeleton of a category is the `skeleton` of its
line or file; the skeletons of the collections that contain it are alternatives.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from xpose.errors import VocabularyError
from xpose.vocabulary.names import normalise
from xpose.vocabulary.reading import load_skeleton
from xpose.vocabulary.skeleton import Skeleton

FOLDER = Path(__file__).with_name("categories")
RANKS = ("species", "genus", "family", "order", "class")
FALLBACK = "animal"
_PEOPLE = ("person", "human", "man", "woman", "child", "baby")


@dataclass(frozen=True, slots=True)
class ScientificNames:
    """Scientific names that a source states; None means unknown. `class_` holds the rank "class"."""

    species: str | None = None
    genus: str | None = None
    family: str | None = None
    order: str | None = None
    class_: str | None = None
    stated_by: str | None = None

    def rank(self, name: str) -> str | None:
        """The name at one of `RANKS`."""
        value: str | None = getattr(self, "class_" if name == "class" else name)
        return value


@dataclass(frozen=True, slots=True)
class CategoryEntry:
    """One category of the vocabulary."""

    name: str  # what people read and type
    kind: str  # "person", "face", "hand", "animal", "clothes", "vehicle", "furniture" or "thing"
    skeletons: tuple[str, ...]  # names of the skeletons that fit, the default first
    also: tuple[str, ...]  # other names
    published: Mapping[str, tuple[str, ...]]  # each collection's own spellings, typing errors included
    taxonomy: ScientificNames  # of animals
    note: str | None = None


class DefaultSkeleton(NamedTuple):
    """The skeleton chosen for a category, why, and whether it is only a fallback."""

    skeleton: Skeleton
    reason: str
    is_fallback: bool


@functools.cache
def list_categories() -> tuple[CategoryEntry, ...]:
    """All categories, by file and line."""
    tables = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.toml"))}
    sources = tables.pop("sources")
    return tuple(_category(row, table, sources) for table in tables.values() for row in table["categories"])


def find_category(name: str) -> CategoryEntry | None:
    """The category with the given name, alternative name or published spelling; None if there is none.

    Case, underscores, hyphens and blanks do not matter, and neither does a plural "s".
    """
    index, key = _index(), normalise(name)
    return index.get(key) or index.get(key.removesuffix("s"))


def default_skeleton(category_name: str) -> DefaultSkeleton:
    """The skeleton to use for a category when the user names none.

    A known category has its own; "<something> face" gets a face; "red car" gets the skeleton for its last words; any
    other name gets the broad animal skeleton, and `is_fallback` is set.
    """
    name = normalise(category_name)
    category = find_category(name)
    if category is not None:
        return _chosen(category.skeletons[0], f'default of the category "{category.name}"')
    if name.endswith(" face") or name == "face":
        return _face(name.removesuffix("face").strip(), category_name)
    try:
        return DefaultSkeleton(load_skeleton(category_name), f'the skeleton "{category_name}" itself', False)
    except VocabularyError:
        pass
    words = name.split()
    for start in range(1, len(words)):
        category = find_category(" ".join(words[start:]))
        if category is not None:
            return _chosen(category.skeletons[0], f'"{category_name}" ends in the category "{category.name}"')
    return _chosen(FALLBACK, f'"{category_name}" is not a known category; the broad animal skeleton is used', True)


def taxonomy_coverage() -> dict[str, tuple[int, int]]:
    """For each rank, the numbers of animal categories with and without a name stated by a source."""
    animals = [category for category in list_categories() if category.kind == "animal"]
    counts = {rank: sum(animal.taxonomy.rank(rank) is not None for animal in animals) for rank in RANKS}
    return {rank: (stated, len(animals) - stated) for rank, stated in counts.items()}


def _chosen(skeleton: str, reason: str, is_fallback: bool = False) -> DefaultSkeleton:
    return DefaultSkeleton(load_skeleton(skeleton), reason, is_fallback)


def _face(owner: str, category_name: str) -> DefaultSkeleton:
    if owner == "" or owner.split()[-1] in _PEOPLE:
        return _chosen("face", f'"{category_name}" is the face of a person')
    is_fallback = default_skeleton(owner).is_fallback
    reason = "something unknown; an animal's face is used" if is_fallback else "an animal"
    return _chosen("animal_face", f'"{category_name}" is the face of {reason}', is_fallback)


@functools.cache
def _index() -> dict[str, CategoryEntry]:
    index: dict[str, CategoryEntry] = {}
    for category in list_categories():
        for spelling in (category.name, *category.also, *chain(*category.published.values())):
            index.setdefault(normalise(spelling), category)
    return index


def _category(row: Mapping[str, Any], table: Mapping[str, Any], sources: Mapping[str, Any]) -> CategoryEntry:
    published = {source: tuple(texts) for source, texts in row.get("published", {}).items()}
    first = row.get("skeleton", table.get("skeleton", FALLBACK))
    others = [sources[source].get("skeleton") for source in published]
    ranks = {rank: row.get(rank) for rank in (*RANKS[:-1], "stated_by")}
    return CategoryEntry(
        name=row["name"],
        kind=row.get("kind", table.get("kind", "animal")),
        skeletons=tuple(dict.fromkeys([first, *filter(None, others), *row.get("skeletons", [])])),
        also=tuple(row.get("also", ())),
        published=MappingProxyType(published),
        taxonomy=ScientificNames(**ranks, class_=row.get("class")),
        note=row.get("note"),
    )
