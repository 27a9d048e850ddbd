"""How records of many sets become records of one collection: names, categories, sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from xpose.data.collection.parts import PreparedSet
from xpose.data.collection.store import CocoSet
from xpose.errors import DataError, UnmappedKeypointError, VocabularyError, quote
from xpose.records import Category, Instance, LeftRight, Record, Taxonomy, replaced
from xpose.vocabulary import Skeleton, find_category, load_skeleton

RANKS = ("species", "family", "order", "class_")


class Merger:
    """Turns a set's record into the collection's.

    The file name gets the set's name in front. A category takes the vocabulary's name for it, and the taxonomy that
    the sets state for one name together, as far as they agree. Left and right of the sets in `swap` are exchanged.

    Raises:
        UnmappedKeypointError: a keypoint is not one of its skeleton's.
        DataError: a set names sides as the viewer sees them, and neither `swap` nor `keep` names it.
    """

    def __init__(self, parts: Iterable[PreparedSet], swap: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        parts = list(parts)
        self.swap, self.keep = set(swap), set(keep)
        for name in sorted((self.swap | self.keep) - {part.name for part in parts}):
            raise DataError(f"There is no set {quote(name)} whose sides could be exchanged or kept.")
        for part in parts:
            self._decide(part.name, part.manifest.get("left_right"))
        self.renamed: dict[str, str] = {}
        self.conflicts: list[str] = []
        self.own_skeletons: set[str] = set()
        self.categories = self._unify(parts)

    def record(self, record: Record, set_name: str) -> Record:
        """The record as the collection stores it."""
        self._decide(set_name, record.left_right)
        swap = set_name in self.swap
        rule: LeftRight = "anatomical" if swap and record.left_right != "none" else record.left_right
        return replace(
            record,
            picture=replace(record.picture, file=f"{set_name}/{record.picture.file}"),
            instances=tuple(self._instance(instance, swap) for instance in record.instances),
            source=set_name,
            left_right=rule,
            group=None if record.group is None else f"{set_name}/{record.group}",
        )

    def notes(self) -> dict[str, Any]:
        """What the manifest tells about it."""
        return {
            "renamed_categories": dict(sorted(self.renamed.items())),
            "taxonomy_conflicts": self.conflicts,
            "skeletons_of_their_own": sorted(self.own_skeletons),
            "sides_swapped": sorted(self.swap),
        }

    def _decide(self, set_name: str, rule: object) -> None:
        """Refuse sides named by the picture unless the user has decided what to do about them."""
        if rule == "viewer" and set_name not in self.swap | self.keep:
            raise DataError(
                f"The set {quote(set_name)} names left and right as the viewer sees them, the collection as the "
                f"object itself does. If its objects face the camera, exchange them: --swap-sides {set_name}; "
                f"else leave the set out (--without {set_name}) or take it as it is (--keep-sides {set_name})."
            )

    def _instance(self, instance: Instance, swap: bool) -> Instance:
        category = self.categories[instance.category]
        if not swap:
            return replaced(instance, category=category)
        skeleton = _skeleton(category.skeleton)
        if skeleton is None:
            raise DataError(
                f"The sides of {quote(category.name)} cannot be exchanged: its skeleton {quote(category.skeleton)} is "
                "not in the vocabulary. Take the set as it is: --keep-sides"
            )
        points = {skeleton.flips[name]: point for name, point in instance.keypoints.items()}
        return replaced(instance, category=category, keypoints=points)

    def _unify(self, parts: list[PreparedSet]) -> dict[Category, Category]:
        names: dict[Category, str] = {}
        stated: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for part in parts:
            for split in [*part.splits("train"), *part.splits("evaluation")]:
                for category in CocoSet(part.files[split].path).categories.values():
                    if category not in names:
                        name = names[category] = self._name(category)
                        self._check(category, part.name)
                        for rank in RANKS:
                            if value := getattr(category.taxonomy, rank):
                                stated[name][rank].add(value)
        for name, ranks in sorted(stated.items()):
            for rank, values in sorted(ranks.items()):
                if len(values) > 1:
                    self.conflicts.append(f"{name}: {rank.rstrip('_')} is {' or '.join(sorted(values))}")
        return {
            category: replace(category, name=name, taxonomy=_filled(category.taxonomy, stated[name]))
            for category, name in names.items()
        }

    def _name(self, category: Category) -> str:
        entry = find_category(category.name)
        if entry is None or entry.name == category.name:
            return category.name
        self.renamed[category.name] = entry.name
        return entry.name

    def _check(self, category: Category, set_name: str) -> None:
        skeleton = _skeleton(category.skeleton)
        if skeleton is None:
            self.own_skeletons.add(category.skeleton)
        elif strangers := sorted(set(category.keypoints) - set(skeleton.keypoints)):
            raise UnmappedKeypointError(
                f"{', '.join(map(quote, strangers))} of {quote(category.name)} in the set {quote(set_name)}: not a "
                f"keypoint of the skeleton {quote(skeleton.name)}. Every keypoint has a unified name: correct the "
                f"set's name table and prepare it again (xpose data prepare {set_name})."
            )


def _skeleton(name: str) -> Skeleton | None:
    try:
        return load_skeleton(name) if not name.endswith(".toml") else None
    except VocabularyError:
        return None


def _filled(taxonomy: Taxonomy, stated: Mapping[str, set[str]]) -> Taxonomy:
    """The taxonomy with the ranks that other sets state for the same name, where they all agree."""
    agreed = {rank: min(values) for rank, values in stated.items() if len(values) == 1}
    return Taxonomy(*(getattr(taxonomy, rank) or agreed.get(rank) for rank in RANKS))
