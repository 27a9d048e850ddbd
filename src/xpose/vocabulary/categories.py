"""Object categories: names, spellings in published lists, taxonomy (if a source states it) and skeletons.

The data are in `categories/*.toml`, one category per line. The default skeleton of a category is the `skeleton` of its
line or file; the skeletons of the collections that contain it are alternatives.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from xpose.errors import VocabularyError, quote, unknown
from xpose.vocabulary.names import has_one_typing_error, normalise, unsided
from xpose.vocabulary.reading import load_skeleton
from xpose.vocabulary.skeleton import Skeleton

FOLDER = Path(__file__).with_name("categories")
RANKS = ("species", "genus", "family", "order", "class")
FALLBACK = "animal"
# Kinds of things without a category. A word that is more like one of them than like a learned category means neither.
OTHER_THINGS = (
    *("aircraft", "bag", "ball", "book", "building", "clock", "clothing", "computer", "container", "cutlery", "door"),
    *("drink", "fabric", "food", "fruit", "furniture", "household appliance", "jewellery", "light", "machine", "meal"),
    *("money", "motorcycle", "musical instrument", "paper", "planet", "plant", "robot", "rope", "ship", "sign", "sky"),
    *("tool", "toy", "train", "tree", "vegetable", "water", "weapon", "wheel"),
)


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
    """The skeleton chosen for an object, and why."""

    skeleton: Skeleton
    reason: str


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


def last_words(text: str) -> Iterator[str]:
    """The normalised text, then the same without its first word, and so on: "red sports car", "sports car", "car"."""
    words = normalise(text).split()
    return (" ".join(words[start:]) for start in range(len(words)))


def category_of(text: str) -> CategoryEntry | None:
    """The category that a text, or its last words, name."""
    return next(filter(None, map(find_category, last_words(text))), None)


def default_skeleton(word: str) -> DefaultSkeleton | None:
    """The skeleton of the vocabulary for an object if the user names none; None for an unknown object.

    A known category has its own; "dog face" gets the face of an animal; "red car" gets the skeleton for its last words.
    """
    name = normalise(word)
    category = find_category(name)
    if category is not None:
        return _of_category(category, f'default of the category "{category.name}"')
    if name.endswith(" face") and _is_animal(name.removesuffix(" face")):
        return DefaultSkeleton(load_skeleton("animal_face"), f'"{word}" is the face of an animal')
    if not word.endswith(".toml"):
        with suppress(VocabularyError):
            return DefaultSkeleton(load_skeleton(word), f'the skeleton "{word}" itself')
    category = category_of(name)
    return _of_category(category, f'"{word}" ends in the category "{category.name}"') if category else None


def other_spelling(word: str, known: Iterable[str] = ()) -> str | None:
    """The `known` name, or else the category, that an unknown word is with one typing error; None if there is none."""
    if find_category(word) is not None:
        return None
    names = (name for category in list_categories() for name in (category.name, *category.also))
    return next((name for name in chain(known, names) if has_one_typing_error(word, name)), None)


def unknown_object(word: str, known: Iterable[str] = (), nearest: str = "") -> VocabularyError:
    """The error for an object without default keypoints.

    `known` are names that weights have learned, and `nearest` lists those of them that are most like the word.
    """
    known = tuple(known)
    advice = f" These weights have never learned it{nearest and f'; nearest: {nearest}'}." if known else ""
    if (spelling := other_spelling(word, known)) is not None:
        advice = f" Did you mean {quote(spelling)}?"
    return VocabularyError(
        f"Unknown object {quote(word)}.{advice} It has no default keypoints: name them, as in "
        '--keypoints "tip,stalk" (--keypoints none: only boxes), or take a skeleton with -k NAME.'
    )


def check_part(word: str, part: str) -> None:
    """Check that an object of the vocabulary has a part with this name; any part of an unknown object is accepted.

    The parts are those of the category's skeletons and their keypoints, with or without a side, and the face of people
    and animals: "hand", "left hand" and "eye" of a person.

    Raises:
        VocabularyError: it has no such part.
    """
    category = category_of(word)
    if category is None:
        return
    skeletons = [load_skeleton(name) for name in category.skeletons]
    parts = dict.fromkeys(unsided(name) for skeleton in skeletons for name in skeleton.parts)
    if category.kind in ("person", "animal"):
        parts["face"] = None
    names = [*parts, *(unsided(name) for skeleton in skeletons for name in skeleton.keypoints)]
    if not any(f" {name}".endswith(f" {unsided(part)}") for name in names):
        raise unknown(f"part of {quote(word)}:", part, names, f"Its parts: {', '.join(parts)}.")


def taxonomy_coverage() -> dict[str, tuple[int, int]]:
    """For each rank, the numbers of animal categories with and without a name stated by a source."""
    animals = [category for category in list_categories() if category.kind == "animal"]
    counts = {rank: sum(animal.taxonomy.rank(rank) is not None for animal in animals) for rank in RANKS}
    return {rank: (stated, len(animals) - stated) for rank, stated in counts.items()}


def _of_category(category: CategoryEntry, reason: str) -> DefaultSkeleton:
    return DefaultSkeleton(load_skeleton(category.skeletons[0]), reason)


def _is_animal(text: str) -> bool:
    category = category_of(text)
    return category is not None and category.kind == "animal"


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
