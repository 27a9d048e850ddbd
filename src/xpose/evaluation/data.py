"""The labelled pictures that a protocol runs on: folders of sets, prepared sets, collections, by split.

Every set has the split `held-out`: the tenth of `train` that `xpose.data.collection.held_out` selects. `train` is then
the rest, so neither examples nor baselines come from evaluated pictures.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.data.collection.held_out import is_held_out
from xpose.data.collection.manifest import LOCATION, read_manifest
from xpose.data.datasets.folder_sets import folder_sets, is_folder_of_sets
from xpose.data.loading.pool import read_places
from xpose.errors import DataError, did_you_mean, quote
from xpose.records import Record, Skipped

HELD_OUT = "held-out"

Placed = tuple[Record, Path]


@dataclass(frozen=True)
class EvaluationData:
    """The places of the pictures, and the evaluated subset."""

    places: tuple[Path, ...]  # folders
    split: str = "val"
    only: tuple[str, ...] = ()  # the sets to take; empty for all
    # Pictures of the evaluated split that could not be read, `SET/FILE` and why; grows as records are read.
    skipped: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def at(
        cls, data: str | Path | Iterable[str | Path], split: str = "val", only: Iterable[str] = ()
    ) -> EvaluationData:
        """The data in the given folders, each a set or a folder of sets."""
        folders = [data] if isinstance(data, str | Path) else list(data)
        return cls(tuple(part for folder in folders for part in _parts(Path(folder))), split, tuple(only))

    def records(self, split: str | None = None) -> Iterator[Placed]:
        """The evaluated records (or those of another split), with the places of their pictures.

        Raises:
            DataError: no folder has such a split, or a name in `only` is not a set.
        """
        split = split or self.split
        if split == HELD_OUT or (split == "train" and self.split == HELD_OUT):
            for record, place in self._read("train"):
                if is_held_out(record.source, record.picture.file) == (split == HELD_OUT):
                    yield record, place
        else:
            yield from self._read(split)

    def first_sets(self) -> set[str]:
        """The sets of the first edition ("since": 1), according to the index of a folder of sets."""
        entries: list[Any] = []
        for folder in self.places:
            with contextlib.suppress(OSError, ValueError, TypeError):  # an invalid index is reported later
                entries += json.loads((folder / "index.json").read_bytes())
        return {str(entry.get("name")) for entry in entries if isinstance(entry, dict) and entry.get("since") == 1}

    def of_set(self, name: str, split: str) -> Iterator[Placed]:
        """One split of one set; nothing if the folders do not hold that set or the set lacks that split."""
        stored = "train" if split == HELD_OUT else split
        for folder in self.places:
            splits = _splits_by_set(folder)
            for record, place in read_places(folder, stored) if stored in splits.get(name, ()) else ():
                of_set = record.source == name or len(splits) == 1
                if of_set and (split != HELD_OUT or is_held_out(record.source, record.picture.file)):
                    yield record, place

    def _read(self, split: str) -> Iterator[Placed]:
        seen: set[str] = set()
        faults: list[str] = []

        def skip(name: str, what: Skipped) -> None:
            seen.add(name)
            if what.what != "picture" or (self.only and name not in self.only):
                return
            if split == self.split or (self.split == HELD_OUT and is_held_out(name, what.file)):
                self.skipped[f"{name}/{what.file}"] = what.reason

        for folder in self.places:
            begun = False
            try:
                for record, place in read_places(folder, split, skipped=skip):
                    begun = True
                    seen.add(record.source)
                    if not self.only or record.source in self.only:
                        yield record, place
            except DataError as error:
                # Some of several sets can lack a split, but not all.
                if begun or len(self.places) == 1:
                    raise
                faults.append(str(error))
        if len(faults) == len(self.places):
            raise DataError(faults[0])
        for name in sorted(set(self.only) - seen):
            raise DataError(
                f"There is no set {quote(name)} in the split {quote(split)}.{did_you_mean(name, seen)} There are: "
                f"{', '.join(sorted(seen)) or 'none'}."
            )


def _splits_by_set(folder: Path) -> dict[str, tuple[str, ...]]:
    """The splits of each set in a folder, as far as they are stated."""
    if (folder / LOCATION).is_file():
        manifest = read_manifest(folder)
        sets = manifest["sets"] if isinstance(manifest.get("sets"), dict) else [manifest.get("name", folder.name)]
        return dict.fromkeys(sets, tuple(manifest["splits"]))
    return {entry.name: tuple(entry.splits) for entry in folder_sets(folder)} if is_folder_of_sets(folder) else {}


def _parts(folder: Path) -> list[Path]:
    """The sets in a folder of prepared sets; any other folder unchanged."""
    if not folder.is_dir():
        raise DataError(f"{quote(folder)} is not a folder. --data is the folder of the labelled pictures.")
    if (folder / LOCATION).is_file() or is_folder_of_sets(folder):
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{LOCATION}")) or [folder]
