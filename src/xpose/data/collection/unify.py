"""Merge prepared sets into one collection (`xpose data unify`): sampling, leaks and statistics.

The result is itself a prepared set (`train.json`, `evaluation.json`, a manifest with checksums); the pictures stay
where they are. The same sets and the same seed give the same bytes; only `location.json` and the fingerprint cache
(`.prints.sqlite`) depend on the machine. Records are read one by one, and each takes a few hundred bytes of memory.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from xpose import __version__
from xpose.data.collection.leaks import NEAR, Leak, PrintStore, Side, find_leaks, shared_groups
from xpose.data.collection.manifest import (
    LOCATION,
    MANIFEST,
    REPORT,
    Places,
    pictures_root,
    split_entry,
    verify,
    write_json,
)
from xpose.data.collection.parts import PreparedSet, Progress, Role, find_parts
from xpose.data.collection.statistics import Statistics, collect, write_statistics
from xpose.data.collection.store import CocoSet, Counts, write_atomically, write_coco
from xpose.data.datasets.report import write_report
from xpose.errors import DataError, UnmappedKeypointError, VocabularyError, quote
from xpose.records import Category, Instance, LeftRight, Record, Skipped, Taxonomy, replaced
from xpose.vocabulary import Skeleton, find_category, load_skeleton

SEED = 2024  # of the published selection; stored in every manifest
# The papers take a fixed sample of 2,000 pictures from sets with one object and few categories.
SAMPLES: Mapping[str, int] = {"onehand10k": 2000, "macaquepose": 2000, "keypoint-5": 2000}
TITLE = "Unified keypoint collection"
LEAKS, PRINTS = "leaks.json", ".prints.sqlite"
_RANKS = ("species", "family", "order", "class_")
_SIDES: tuple[Role, ...] = ("train", "evaluation")
_STATED = ("title", "licence", "terms", "homepage", "format", "left_right", "converter_version", "expected")


@dataclass(frozen=True)
class Choices:
    """Options for making a collection."""

    seed: int = SEED
    samples: Mapping[str, int] = field(default_factory=lambda: dict(SAMPLES))
    leaks: Literal["drop", "report", "off"] = "drop"  # from training; "report" keeps them; "off" reads no pictures
    swap_sides: tuple[str, ...] = ()
    keep_sides: tuple[str, ...] = ()
    workers: int = 1  # processes that read pictures


@dataclass(frozen=True)
class Unified:
    """The result of `unify`."""

    folder: Path
    counts: dict[str, Counts]
    statistics: Statistics
    leaks: list[Leak]
    unread: list[str]  # pictures that could not be compared
    parted: dict[str, tuple[int, int]]  # groups on both sides
    sampled: dict[str, tuple[int, int]]  # set -> pictures taken, pictures in total


def unify(
    sources: Iterable[str | Path],
    out: str | Path,
    choices: Choices = Choices(),
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    roles: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Unified:
    """Merge the sets in the source folders into the collection `out`; `find_parts` describes sources and roles.

    Raises:
        DataError: a set is missing, damaged or given twice, or its sides need a decision.
        UnmappedKeypointError: a keypoint has no unified name.
    """
    folder = Path(out)
    parts = find_parts(sources, folder, only=only, without=without, roles=roles, progress=progress)
    for part in parts:
        if folder.resolve() == part.folder.resolve():
            raise DataError(f"{quote(folder)} holds the set {quote(part.name)}. Choose another folder with --out.")
    merger = _Merger(parts, choices.swap_sides, choices.keep_sides)
    maker = _Maker(folder, parts, merger, choices, progress)
    leaks, unread, parted = maker.compare()
    dropped = leaks if choices.leaks == "drop" else []
    sampled = maker.sample(dropped)
    counts = maker.write(dropped)
    pairs = [asdict(leak) for leak in leaks]
    report = {"near_bits": NEAR, "leaks": pairs, "not_compared": unread, "groups_on_both_sides": parted}
    write_atomically(folder / LEAKS, lambda file: file.write(json.dumps(report, indent=2)))  # ASCII, for any file name
    _write_location(folder, parts)
    skipped = len({leak.train for leak in dropped})
    manifest = {
        "name": "collection",
        "title": TITLE,
        "xpose": __version__,
        "sampling_seed": choices.seed,
        "sampled": {name: {"taken": taken, "of": total} for name, (taken, total) in sampled.items()},
        "leaks": {"rule": choices.leaks, "found": len(leaks), "pictures_dropped": skipped, "not_compared": len(unread)},
        "left_right": "anatomical, where the single pictures do not say otherwise",
        **merger.notes(),
        "sets": {part.name: _stated_by(part) for part in parts},
        "splits": {
            split: split_entry(folder, split, counted, {"picture": skipped} if skipped and split == "train" else {})
            for split, counted in counts.items()
        },
    }
    write_json(folder / MANIFEST, manifest)
    statistics = collect(folder)
    write_statistics(folder, statistics)
    verify(folder)
    return Unified(folder, counts, statistics, leaks, unread, parted, sampled)


class _Merger:
    """Convert the records of a set for the collection.

    The file name is prefixed with the set's name. A category gets its name in the vocabulary, and missing ranks of its
    taxonomy are taken from other sets if these agree. Left and right are exchanged for the sets in `swap`.
    """

    def __init__(self, parts: list[PreparedSet], swap: Iterable[str], keep: Iterable[str]) -> None:
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
        return {
            "renamed_categories": dict(sorted(self.renamed.items())),
            "taxonomy_conflicts": self.conflicts,
            "skeletons_of_their_own": sorted(self.own_skeletons),
            "sides_swapped": sorted(self.swap),
        }

    def _decide(self, set_name: str, rule: object) -> None:
        if rule == "viewer" and set_name not in self.swap | self.keep:
            raise DataError(
                f"The set {quote(set_name)} names left and right as the viewer sees them. If its objects face the "
                f"camera, exchange the sides: --swap-sides {set_name}; else leave the set out (--without {set_name}) "
                f"or take it as it is (--keep-sides {set_name})."
            )

    def _instance(self, instance: Instance, swap: bool) -> Instance:
        category = self.categories[instance.category]
        if not swap:
            return replaced(instance, category=category)
        skeleton = _skeleton(category.skeleton)
        if skeleton is None:
            raise DataError(
                f"The sides of {quote(category.name)} cannot be exchanged: the vocabulary lacks its skeleton "
                f"{quote(category.skeleton)}. Take the set as it is: --keep-sides"
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
                        for rank in _RANKS:
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
                f"keypoint of the skeleton {quote(skeleton.name)}. Correct the set's name table and prepare it again."
            )


def _skeleton(name: str) -> Skeleton | None:
    try:
        return load_skeleton(name) if not name.endswith(".toml") else None
    except VocabularyError:
        return None


def _filled(taxonomy: Taxonomy, stated: Mapping[str, set[str]]) -> Taxonomy:
    """The taxonomy, completed with ranks that other sets state for the name, if all agree."""
    agreed = {rank: min(values) for rank, values in stated.items() if len(values) == 1}
    return Taxonomy(*(getattr(taxonomy, rank) or agreed.get(rank) for rank in _RANKS))


class _Maker:
    """Makes the passes over the records; `taken` and `dropped` hold short digests of file names."""

    def __init__(
        self, folder: Path, parts: list[PreparedSet], merger: _Merger, choices: Choices, progress: Progress | None
    ) -> None:
        self.folder, self.parts, self.merger, self.choices = folder, parts, merger, choices
        self.progress = progress or (lambda task, number, total: None)
        self.dropped: set[bytes] = set()
        self.taken: dict[str, set[bytes]] = {}

    def all_records(self, part: PreparedSet, role: Role) -> Iterator[tuple[bytes, Record]]:
        """The merged records of a set with their digests; a picture in several splits is used only once."""
        seen: set[bytes] = set()
        for record in part.records(role):
            merged = self.merger.record(record, part.name)
            digest = _digest(merged.picture.file)
            if digest not in seen:
                seen.add(digest)
                yield digest, merged

    def records(self, role: Role) -> Iterator[Record]:
        for part in self.parts:
            taken = self.taken.get(part.name)
            for digest, record in self.all_records(part, role):
                if role != "train" or (digest not in self.dropped and (taken is None or digest in taken)):
                    yield record

    def compare(self) -> tuple[list[Leak], list[str], dict[str, tuple[int, int]]]:
        """The leaks, the pictures that could not be read, and the groups on both sides."""
        if self.choices.leaks == "off":
            return [], [], {}
        train, evaluation = Side(), Side()
        with closing(PrintStore(self.folder / PRINTS, self.choices.workers)) as store:
            for part in self.parts:
                self._print(part, "train", train, store)
                self._print(part, "evaluation", evaluation, store)
        return find_leaks(train, evaluation), train.unread + evaluation.unread, shared_groups(train, evaluation)

    def _print(self, part: PreparedSet, role: Role, side: Side, store: PrintStore) -> None:
        places, total = Places(part.folder), part.images(role)
        waiting: deque[Record] = deque()

        def paths() -> Iterator[Path]:
            for record in part.records(role):
                waiting.append(record)
                yield places.path(record.picture)

        # The store reads ahead in portions; `waiting` holds the records of one portion.
        for number, prints in enumerate(store.prints(paths()), start=1):
            record = waiting.popleft()
            group = None if record.group is None else f"{part.name}/{record.group}"
            side.add(f"{part.name}/{record.picture.file}", prints, group)
            if number % 50 == 0 or number == total:
                self.progress(f"compare {part.name} {role}", number, total)

    def sample(self, dropped: list[Leak]) -> dict[str, tuple[int, int]]:
        """Choose the pictures of the sampled sets: those with the smallest keyed digests."""
        self.dropped = {_digest(leak.train) for leak in dropped}
        key = str(self.choices.seed).encode()
        sampled = {}
        for part in self.parts:
            count = self.choices.samples.get(part.name)
            if count is not None and part.splits("train"):
                digests = [digest for digest, _ in self.all_records(part, "train") if digest not in self.dropped]
                chosen = heapq.nsmallest(count, digests, key=lambda digest: hashlib.blake2b(digest, key=key).digest())
                self.taken[part.name] = set(chosen)
                sampled[part.name] = (len(chosen), len(digests))
        return sampled

    def write(self, dropped: list[Leak]) -> dict[str, Counts]:
        counts: dict[str, Counts] = {}
        for role in _SIDES:
            path = self.folder / f"{role}.json"
            total = sum(part.images(role) for part in self.parts)
            path.unlink(missing_ok=True)
            if total:
                info = {"description": TITLE, "set": "collection", "split": role, "seed": self.choices.seed}
                counts[role] = write_coco(path, self._reporting(role, total), info)
        reasons = {leak.train: f"{leak.how} as {leak.evaluation} in evaluation" for leak in reversed(dropped)}
        skips = [("train", Skipped(name, reason)) for name, reason in sorted(reasons.items())]
        write_report(self.folder / REPORT, "collection", skips)
        return counts

    def _reporting(self, role: Role, total: int) -> Callable[[], Iterator[Record]]:
        passes = iter(("read", "write"))

        def records() -> Iterator[Record]:
            task = f"{next(passes)} {role}"
            for number, record in enumerate(self.records(role), start=1):
                if number % 500 == 0:
                    self.progress(task, number, total)
                yield record
            self.progress(task, total, total)

        return records


def _digest(name: str) -> bytes:
    """A short digest of a picture's name in the collection."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _write_location(folder: Path, parts: list[PreparedSet]) -> None:
    roots = {}
    for part in parts:
        place = part.folder.resolve()
        if place.is_relative_to(folder.resolve()):
            place = place.relative_to(folder.resolve())  # a set prepared inside the collection moves with it
        roots[part.name] = {"source": str(pictures_root(part.folder).resolve()), "prepared": place.as_posix()}
    write_json(folder / LOCATION, {"roots": roots})


def _stated_by(part: PreparedSet) -> dict[str, Any]:
    splits = {split: {"role": role, "sha256": part.files[split].sha256} for split, role in part.roles.items()}
    return {**{key: part.manifest.get(key) for key in _STATED}, "splits": splits}
