"""Unified names: keypoint tables that are too long to stand in a converter (`tables/*.toml`), and categories."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

from xpose.data.datasets.converters.base import NameTable

FOLDER = Path(__file__).with_name("tables")


def load_names(file: str, table: str = "names") -> dict[str, str | None]:
    """A table of `tables/FILE.toml`, in the file's order; `false` there means: left out on purpose."""
    with open(FOLDER / f"{file}.toml", "rb") as stream:
        names = tomllib.load(stream)[table]
    return {name: unified or None for name, unified in names.items()}


def names_in(skeleton: str) -> dict[str, str | None]:
    """What the source of a skeleton calls its points and what we do, as the vocabulary has it, in its order."""
    from xpose.vocabulary import load_skeleton

    return {(*point.source_names, point.name)[0]: point.name for point in load_skeleton(skeleton).points}


def underscored(skeleton: str, renamed: Mapping[str, str] | None = None) -> NameTable:
    """A table for originals that write the skeleton's names, in its order, with underscores.

    `renamed` gives the original's name for each unified name where it is another.
    """
    from xpose.vocabulary import load_skeleton

    names = load_skeleton(skeleton).keypoints
    return NameTable(skeleton, {(renamed or {}).get(name, name.replace(" ", "_")): name for name in names})


def category_of(name: str) -> str:
    """The vocabulary's name of a category, also where an original leaves the blanks out ("arcticwolf").

    A category that the vocabulary does not have keeps the original's own words.
    """
    from xpose.vocabulary import find_category

    known = find_category(name)
    return known.name if known else _joined().get(_letters(name), " ".join(name.split()))


@functools.cache
def _joined() -> dict[str, str]:
    from xpose.vocabulary import list_categories

    joined: dict[str, str] = {}
    for category in list_categories():
        published = (text for texts in category.published.values() for text in texts)
        for spelling in (category.name, *category.also, *published):
            joined.setdefault(_letters(spelling), category.name)
    return joined


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
