"""The `manifest.json` of a prepared set: what the set is, its origin and terms of use, and checksums.

It contains no local paths and no dates, so that the same original gives the same bytes everywhere. In the same folder,
`location.json` holds the local paths of the pictures: one folder for a set, or one for each set of a collection, which
is selected by the first part of a picture's file name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpose.data.collection.store import CocoSet, Counts, sha256_of, write_atomically
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError, quote
from xpose.records import Picture

MANIFEST, LOCATION, REPORT = "manifest.json", "location.json", "report.json"


def write_json(path: Path, value: Any) -> None:
    """Write a small JSON file atomically, indented and with sorted keys."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, lambda file: file.writelines((text, "\n")))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a prepared set.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{quote(folder)} holds no {MANIFEST}. Make the set first: xpose data prepare NAME") from None
    except ValueError as error:
        raise DataError(f"{quote(path)} is damaged ({error}). Make the set again: xpose data prepare NAME") from None
    if not isinstance(value, dict) or not isinstance(value.get("splits"), dict):
        raise DataError(f"{quote(path)} is not the manifest of a set. Make the set again: xpose data prepare NAME")
    return value


def split_entry(folder: Path, split: str, counts: Counts, skipped: Mapping[str, int]) -> dict[str, Any]:
    """The manifest's entry for the file of a split."""
    path = folder / f"{split}.json"
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "counts": counts.to_json(),
        "skipped": dict(skipped),
    }


def pictures_root(folder: str | Path) -> Path:
    """The folder of a prepared set's original pictures (pictures `stored` as "prepared" are in `folder`)."""
    places = Places(folder)
    if places.several:
        raise _wrong_location(places.folder, "it names no root")
    return places.roots[""][0]


class Places:
    """Finds the pictures of a prepared set or a collection."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._sources: dict[Path, SourceFolder] = {}
        # For each set ("" for a single set): the original's folder and the prepared one. Folders of sets that were
        # prepared inside the collection are relative to it.
        self.roots: dict[str, tuple[Path, Path]]
        try:
            location = json.loads((self.folder / LOCATION).read_text(encoding="utf-8"))
            self.several = "roots" in location
            stated = location["roots"] if self.several else {"": {"source": location["root"], "prepared": ""}}
            self.roots = {name: (Path(e["source"]), self.folder / e["prepared"]) for name, e in stated.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _wrong_location(self.folder, f"{type(error).__name__}: {error}") from None

    def path(self, picture: Picture) -> Path:
        """The file of a picture."""
        name, file = "", picture.file
        if self.several:
            name, _, file = picture.file.partition("/")
        if name not in self.roots:
            reason = f"it names no folder for the set {quote(name)} of the picture {quote(picture.file)}"
            raise _wrong_location(self.folder, reason)
        root = self.roots[name][picture.stored == "prepared"]
        if root not in self._sources:
            if not root.is_dir():
                raise _wrong_location(self.folder, f"the folder {quote(root)} is not there")
            self._sources[root] = SourceFolder(root)
        return self._sources[root].path(file)


def _wrong_location(folder: Path, reason: str) -> DataError:
    return DataError(
        f"{quote(folder / LOCATION)} does not say where the pictures are ({reason}). "
        'Write {"root": "FOLDER OF THE ORIGINAL"} into it, or prepare (unify) again.'
    )


def verify(folder: str | Path) -> dict[str, Counts]:
    """Read a prepared set again from its files and compare it with its manifest.

    Raises:
        DataError: something differs; the message lists the differences.
    """
    folder = Path(folder)
    faults: list[str] = []
    counts_by_split: dict[str, Counts] = {}
    for split, entry in sorted(read_manifest(folder)["splits"].items()):
        file, stated = entry["file"], entry["counts"]
        if not (folder / file).is_file():
            faults.append(f"{file} is missing")
            continue
        if sha256_of(folder / file) != entry["sha256"]:
            faults.append(f"{file} is not the file whose checksum the manifest holds")
        counts_by_split[split] = counts = Counts()
        names: Counter[str] = Counter()
        for record in CocoSet(folder / file):
            counts.add(record)
            names[record.picture.file] += 1
            faults += [f"{file}, {record.picture.file}: {fault}" for fault in record.faults()]
        faults += [f"{file} holds {name} {n} times" for name, n in names.items() if n > 1]
        wrong = [(key, value) for key, value in counts.to_json().items() if stated.get(key) != value]
        faults += [f"{file} holds {n} {key.replace('_', ' ')}, the manifest says {stated.get(key)}" for key, n in wrong]
    if faults:
        shown = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise DataError(f"{quote(folder)} is not what its manifest says: {shown}. Make it again with prepare --fresh.")
    return counts_by_split
