"""The names of a folder's set, where no skeleton of the vocabulary knows them all: a skeleton of the set's own.

The points are called as in the file, with blanks for underscores; what the skeleton of the category calls otherwise
("tail_base" of a dog) takes its name, so that two sets ask for the same point by the same words. Mirror partners go by
the words left and right, edges by the file's `skeleton`. A category without keypoints is one that is only boxed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpose.data.datasets.importers.names import FreeTable, Kind, settle_names
from xpose.errors import DataError
from xpose.vocabulary import Skeleton, default_skeleton

Edges = tuple[tuple[str, str], ...]


def own_table(category: str, names: Sequence[str], edges: Edges, set_name: str) -> tuple[FreeTable, Skeleton]:
    """The table of a category whose points no skeleton of the vocabulary knows, and its skeleton.

    Raises:
        DataError: two of the names mean the same, or one is no name.
    """
    kind = Kind(category, tuple(names), edges)
    usual = default_skeleton(category)
    if not usual.is_fallback:
        try:
            found = settle_names(kind, category, usual.skeleton.name, None, set_name)
            return found.table, found.skeleton
        except DataError:  # two of the names are one point there: each keeps its own
            pass
    found = settle_names(kind, category, None, None, set_name)
    return found.table, found.skeleton


def box_table(category: str) -> FreeTable:
    """The table of a category without keypoints; its skeleton is the category's usual one, or is called like it."""
    usual = default_skeleton(category)
    return FreeTable(category if usual.is_fallback else usual.skeleton.name, {})


def edges_of(pairs: Any, names: Sequence[str]) -> Edges:
    """The pairs of a file's `skeleton` (numbers from 1 up) by name; what is no such pair is left out."""
    found: list[tuple[str, str]] = []
    for pair in pairs if isinstance(pairs, list) else []:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(end) is int for end in pair):
            continue
        if all(1 <= end <= len(names) for end in pair) and pair[0] != pair[1]:
            found.append((names[pair[0] - 1], names[pair[1] - 1]))
    return tuple(dict.fromkeys(found))
