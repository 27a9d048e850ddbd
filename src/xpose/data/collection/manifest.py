"""`manifest.json`: what a prepared set is, where it came from, under which terms, and checksums to prove it.

It names no folder of the machine and no date, so that the same original gives the same bytes everywhere. The place of
the pictures stands beside it in `location.json`, which belongs to the machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpose.data.collection.store import CocoSet, Counts, sha256_of, write_atomically
from xpose.errors import DataError, quote

MANIFEST, LOCATION, REPORT = "manifest.json", "location.json", "report.json"


def write_json(path: Path, value: Any) -> None:
    """Write a small JSON file for people and programs: indented, sorted keys, whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, lambda file: file.writelines((text, "\n")))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a prepared set.

    Raises:
        DataError: there is none, or it is damaged.
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
    """What the manifest says about the file of a split."""
    path = folder / f"{split}.json"
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "counts": counts.to_json(),
        "skipped": dict(skipped),
    }


def pictures_root(folder: str | Path) -> Path:
    """Where the original's pictures lie, as `location.json` says (pictures `stored` as "prepared" lie in `folder`)."""
    path = Path(folder) / LOCATION
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["root"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{quote(path)} does not say where the pictures are ({error}). "
            'Write {"root": "FOLDER OF THE ORIGINAL"} into it, or run xpose data prepare again.'
        ) from None


def verify(folder: str | Path) -> dict[str, Counts]:
    """Read a prepared set again from its files and compare it with its manifest.

    Raises:
        DataError: something differs; the message names all of it.
    """
    folder = Path(folder)
    faults: list[str] = []
    found: dict[str, Counts] = {}
    for split, entry in sorted(read_manifest(folder)["splits"].items()):
        path = folder / entry["file"]
        if not path.is_file():
            faults.append(f"{entry['file']} is missing")
            continue
        if sha256_of(path) != entry["sha256"]:
            faults.append(f"{entry['file']} is not the file whose checksum the manifest holds")
        found[split] = counts = Counts()
        names: Counter[str] = Counter()
        for record in CocoSet(path):
            counts.add(record)
            names[record.picture.file] += 1
            faults += [f"{entry['file']}, {record.picture.file}: {fault}" for fault in record.faults()]
        faults += [f"{entry['file']} holds {name} {n} times" for name, n in names.items() if n > 1]
        faults += _differences(entry, counts)
    if faults:
        shown = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise DataError(f"{quote(folder)} is not what its manifest says: {shown}. Make it again with prepare --fresh.")
    return found


def _differences(entry: Mapping[str, Any], counts: Counts) -> list[str]:
    told = entry["counts"]
    return [
        f"{entry['file']} holds {value} {key.replace('_', ' ')}, the manifest says {told.get(key)}"
        for key, value in counts.to_json().items()
        if told.get(key) != value
    ]
