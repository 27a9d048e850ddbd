"""`xpose data unify`: any prepared sets become one collection, with balance, leaks and statistics.

The result is a prepared set itself (`train.json`, `evaluation.json`, a manifest with checksums) whose pictures stay
where they are. The same sets and the same seed give the same bytes; only `location.json` and the memory of fingerprints
(`.prints.sqlite`) belong to the machine. Records pass one by one; what is held for each picture is a few hundred
bytes at most.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xpose import __version__
from xpose.data.collection.fingerprints import PrintStore
from xpose.data.collection.leaks import NEAR, Leak, Side, find_leaks, shared_groups
from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, pictures_root, split_entry, verify, write_json
from xpose.data.collection.merging import Merger
from xpose.data.collection.parts import Part, Progress, Role, find_parts
from xpose.data.collection.places import Places
from xpose.data.collection.statistics import Statistics, collect, write_statistics
from xpose.data.collection.store import Counts, dump, write_atomically, write_coco
from xpose.data.datasets.report import write_report
from xpose.errors import DataError, quote
from xpose.records import Record, Skipped

SEED = 2024  # of the published selection; stands in every manifest
# The papers take a fixed 2,000 pictures of the sets with one object and few categories.
SAMPLES: Mapping[str, int] = {"onehand10k": 2000, "macaquepose": 2000, "keypoint-5": 2000}
TITLE = "Unified keypoint collection"
LEAKS, PRINTS = "leaks.json", ".prints.sqlite"

LeakRule = Literal["drop", "report", "off"]


@dataclass(frozen=True)
class Choices:
    """How the collection is made."""

    seed: int = SEED
    samples: Mapping[str, int] = field(default_factory=lambda: dict(SAMPLES))
    leaks: LeakRule = "drop"  # from training; "report" keeps them, "off" does not look at pictures
    swap_sides: tuple[str, ...] = ()
    keep_sides: tuple[str, ...] = ()
    workers: int = 1  # processes that read pictures


@dataclass(frozen=True)
class Unified:
    """What `unify` made."""

    folder: Path
    counts: dict[str, Counts]
    statistics: Statistics
    leaks: list[Leak]
    unread: list[str]  # pictures that could not be compared
    parted: dict[str, tuple[int, int]]  # groups on both sides
    sampled: dict[str, tuple[int, int]]  # set -> pictures taken, pictures there


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
    """Merge the sets in the source folders into the collection `out`. See `find_parts` for sources and roles.

    Raises:
        DataError: a set is missing, damaged or twice there, or its sides need a decision.
        UnmappedKeypointError: a keypoint without a unified name.
    """
    folder = Path(out)
    parts = find_parts(sources, folder, only=only, without=without, roles=roles, progress=progress)
    _refuse(folder, parts)
    merger = Merger(parts, choices.swap_sides, choices.keep_sides)
    maker = _Maker(folder, parts, merger, choices, progress)
    leaks, unread, parted = maker.compare()
    sampled = maker.sample(leaks)
    counts = maker.write(leaks)
    _write_leaks(folder / LEAKS, leaks, unread, parted)
    _write_location(folder, parts)
    write_json(folder / MANIFEST, _manifest(folder, maker, counts, sampled, leaks, unread))
    statistics = collect(folder)
    write_statistics(folder, statistics)
    verify(folder)
    return Unified(folder, counts, statistics, leaks, unread, parted, sampled)


def _refuse(folder: Path, parts: list[Part]) -> None:
    for part in parts:
        if folder.resolve() == part.folder.resolve():
            raise DataError(
                f"{quote(folder)} holds the set {quote(part.name)} itself. Choose another folder with --out."
            )


class _Maker:
    """The passes over the records; `taken` and `dropped` hold short digests of file names."""

    def __init__(
        self, folder: Path, parts: list[Part], merger: Merger, choices: Choices, progress: Progress | None
    ) -> None:
        self.folder, self.parts, self.merger, self.choices = folder, parts, merger, choices
        self.progress = progress
        self.dropped: set[bytes] = set()
        self.taken: dict[str, set[bytes]] = {}

    def all_records(self, part: Part, role: Role) -> Iterator[Record]:
        """The merged records of a set; of pictures in several of its splits the first counts."""
        seen: set[bytes] = set()
        for record in part.records(role):
            merged = self.merger.record(record, part.name)
            name = short(merged)
            if name not in seen:
                seen.add(name)
                yield merged

    def records(self, role: Role) -> Iterator[Record]:
        """What the collection holds."""
        for part in self.parts:
            taken = self.taken.get(part.name) if role == "train" else None
            for record in self.all_records(part, role):
                name = short(record)
                if role == "train" and (name in self.dropped or (taken is not None and name not in taken)):
                    continue
                yield record

    def compare(self) -> tuple[list[Leak], list[str], dict[str, tuple[int, int]]]:
        """The leaks, the pictures that could not be read, the groups on both sides."""
        if self.choices.leaks == "off":
            return [], [], {}
        sides = {"train": Side(), "evaluation": Side()}
        store = PrintStore(self.folder / PRINTS, self.choices.workers)
        try:
            for part in self.parts:
                for role in ("train", "evaluation"):
                    self._print(part, role, sides[role], store)
        finally:
            store.close()
        train, evaluation = sides["train"], sides["evaluation"]
        leaks = find_leaks(train, evaluation)
        return leaks, [*train.unread, *evaluation.unread], shared_groups(train, evaluation)

    def _print(self, part: Part, role: Role, side: Side, store: PrintStore) -> None:
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
            if self.progress and (number % 50 == 0 or number == total):
                self.progress(f"compare {part.name} {role}", number, total)

    def sample(self, leaks: list[Leak]) -> dict[str, tuple[int, int]]:
        """Choose the pictures of the sets that are not taken whole: those with the smallest keyed digests."""
        if self.choices.leaks == "drop":
            self.dropped = {_digest(leak.train) for leak in leaks}
        result = {}
        for part in self.parts:
            wanted = self.choices.samples.get(part.name)
            if wanted is None or not part.splits("train"):
                continue
            names = [name for r in self.all_records(part, "train") if (name := short(r)) not in self.dropped]
            key = str(self.choices.seed).encode()
            chosen = heapq.nsmallest(wanted, names, key=lambda name: hashlib.blake2b(name, key=key).digest())
            self.taken[part.name] = set(chosen)
            result[part.name] = (len(chosen), len(names))
        return result

    def write(self, leaks: list[Leak]) -> dict[str, Counts]:
        """The annotation files and the report."""
        counts = {}
        for role in ("train", "evaluation"):
            path = self.folder / f"{role}.json"
            total = sum(part.images(role) for part in self.parts)
            path.unlink(missing_ok=True)
            if not total:
                continue
            info = {"description": TITLE, "set": "collection", "split": role, "seed": self.choices.seed}
            counts[role] = write_coco(path, self._told(role, total), info)
        dropped = leaks if self.choices.leaks == "drop" else []
        reasons = {leak.train: f"{leak.how} as {leak.evaluation} in evaluation" for leak in reversed(dropped)}
        skips = [("train", Skipped(name, reason)) for name, reason in sorted(reasons.items())]
        write_report(self.folder / REPORT, "collection", skips)
        return counts

    def _told(self, role: Any, total: int) -> Callable[[], Iterator[Record]]:
        passes = iter(("read", "write"))

        def records() -> Iterator[Record]:
            task = f"{next(passes)} {role}"
            for number, record in enumerate(self.records(role), start=1):
                if self.progress and number % 500 == 0:
                    self.progress(task, number, total)
                yield record
            if self.progress:
                self.progress(task, total, total)

        return records


def short(record: Record) -> bytes:
    """A short digest of a picture's name in the collection."""
    return _digest(record.picture.file)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _write_leaks(path: Path, leaks: list[Leak], unread: list[str], parted: dict[str, tuple[int, int]]) -> None:
    def lines() -> Iterator[str]:
        yield f'{{"near_bits":{NEAR},\n"leaks":['
        yield ",".join(f"\n{dump(leak.to_json())}" for leak in leaks)
        yield '\n],\n"not_compared":['
        yield ",".join(f"\n{dump(name)}" for name in unread)
        yield '\n],\n"groups_on_both_sides":{'
        yield ",".join(f"\n{dump(group)}:{dump(list(counts))}" for group, counts in parted.items())
        yield "\n}}\n"

    write_atomically(path, lambda file: file.writelines(lines()))


def _write_location(folder: Path, parts: list[Part]) -> None:
    roots = {}
    for part in parts:
        place = part.folder.resolve()
        if place.is_relative_to(folder.resolve()):
            place = place.relative_to(folder.resolve())  # what was prepared for this collection moves with it
        roots[part.name] = {"source": str(pictures_root(part.folder).resolve()), "prepared": place.as_posix()}
    write_json(folder / LOCATION, {"roots": roots})


def _manifest(
    folder: Path,
    maker: _Maker,
    counts: dict[str, Counts],
    sampled: dict[str, tuple[int, int]],
    leaks: list[Leak],
    unread: list[str],
) -> dict[str, Any]:
    dropped = {leak.train for leak in leaks} if maker.choices.leaks == "drop" else set()
    skipped = {"picture": len(dropped)} if dropped else {}
    return {
        "name": "collection",
        "title": TITLE,
        "xpose": __version__,
        "sampling_seed": maker.choices.seed,
        "sampled": {name: {"taken": taken, "of": there} for name, (taken, there) in sampled.items()},
        "leaks": {
            "rule": maker.choices.leaks,
            "found": len(leaks),
            "pictures_dropped": len(dropped),
            "not_compared": len(unread),
        },
        "left_right": "anatomical, where the single pictures do not say otherwise",
        **maker.merger.notes(),
        "sets": {part.name: _told_of(part) for part in maker.parts},
        "splits": {
            split: split_entry(folder, split, counted, skipped if split == "train" else {})
            for split, counted in counts.items()
        },
    }


def _told_of(part: Part) -> dict[str, Any]:
    keys = ("title", "licence", "terms", "homepage", "format", "left_right", "converter_version", "expected")
    return {
        **{key: part.manifest.get(key) for key in keys},
        "splits": {split: {"role": role, "sha256": part.files[split].sha256} for split, role in part.roles.items()},
    }
