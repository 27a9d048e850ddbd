"""The categories that a run learns, from the labels of its pictures and its starting weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from xpose.data.loading.pool import Pool
from xpose.data.loading.samples import Key, Kind
from xpose.data.synthetic.shapes import SKELETON as DRAWN_SHAPE
from xpose.model.checkpoints.categories import LearnedCategory
from xpose.vocabulary import default_skeleton, normalise


def learned_categories(pool: Pool, before: Iterable[LearnedCategory] = ()) -> tuple[LearnedCategory, ...]:
    """The labelled categories of the pool, and those of the starting weights, in the order of their names.

    The first entry of a name is its usual skeleton: that of the vocabulary, or else that of most objects; skeletons of
    the starting weights come last. Keypoints without any label are left out, and so are categories without keypoints if
    there is an entry with some. Invented shapes have no words, and the quality of the starting weights no longer
    applies.
    """
    kinds: dict[Key, Kind] = {}
    objects: Counter[Key] = Counter()
    labelled: dict[Key, Counter[str]] = {}
    for number, kind in enumerate(pool.kinds):
        rows = np.flatnonzero((pool.kind_of == number) & ~pool.crowd)
        if kind.skeleton == DRAWN_SHAPE or not len(rows):
            continue
        kinds[kind.key] = kinds[kind.key].joined(kind) if kind.key in kinds else kind
        objects[kind.key] += len(rows)
        counts = pool.labelled(rows).tolist()
        labelled.setdefault(kind.key, Counter()).update(dict(zip(kind.names, counts, strict=True)))
    learned = [_learned(kind, objects[key], labelled[key]) for key, kind in kinds.items()]
    learned.sort(key=lambda category: (not _is_usual(category), -category.objects))
    known = {category.key for category in learned}
    learned += [replace(category, quality=None) for category in before if category.key not in known]
    with_keypoints = {category.name for category in learned if category.keypoints}
    kept = [category for category in learned if category.keypoints or category.name not in with_keypoints]
    return tuple(sorted(kept, key=lambda category: normalise(category.name)))


def _learned(kind: Kind, objects: int, labelled: Counter[str]) -> LearnedCategory:
    names = tuple(name for name in kind.names if labelled[name])
    edges = {frozenset(edge): edge for edge in kind.edges if {*edge} <= {*names} and len({*edge}) == 2}
    return LearnedCategory(kind.category, kind.skeleton, names, tuple(edges.values()), objects)


def _is_usual(category: LearnedCategory) -> bool:
    default = default_skeleton(category.name)
    return default is not None and default.skeleton.name == category.skeleton
