"""`xpose data look`: one page per set with pictures, points and charts, and one page for all of them.

The pages stand alone (pictures are embedded, charts are inline SVG, no scripts) and hold no folder of the machine. The
pictures shown are a fixed choice for each seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import MANIFEST, read_manifest
from xpose.data.collection.parts import Progress, find_parts, split_files
from xpose.data.collection.places import Places
from xpose.data.collection.store import CocoSet
from xpose.data.inspection.look_page import index_page, set_page
from xpose.data.inspection.set_look import SetLook
from xpose.pictures.atomic import write_text
from xpose.records import Record


def look(
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    pictures: int = 24,
    seed: int = 0,
    only: Iterable[str] = (),
    progress: Progress | None = None,
) -> list[Path]:
    """Write `index.html` and one page per set into `out`; the pages, the index first.

    A source is a prepared set, a unified collection, a folder of prepared sets, or a folder of COCO sets.

    Raises:
        DataError: a source holds no set, or is damaged.
    """
    folder = Path(out)
    looks: dict[str, SetLook] = {}
    for record, path, manifest, done, total in _records(sources, folder, set(only), progress):
        set_look = looks.setdefault(record.source, SetLook(record.source, manifest, pictures))
        set_look.add(record, path, seed)
        if progress and (done % 200 == 0 or done == total):
            progress(record.source, done, total)
    content = {folder / page_name(name): set_page(looks[name]) for name in sorted(looks)}
    content = {folder / "index.html": index_page([looks[name] for name in sorted(looks)], page_name), **content}
    for page, text in content.items():
        write_text(page, text)
    return list(content)


def page_name(set_name: str) -> str:
    """The file name of a set's page: plain letters, so that every set gets one and none leaves the folder."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in set_name)
    known = plain == set_name and plain not in ("", "index")
    suffix = "" if known else "-" + hashlib.sha256(set_name.encode()).hexdigest()[:6]
    return f"{plain}{suffix}.html"


def _records(
    sources: Iterable[str | Path], out: Path, only: set[str], progress: Progress | None
) -> Iterator[tuple[Record, Path, Mapping[str, Any], int, int]]:
    """Every record with its picture's path, its set's manifest, and how far its set is."""
    others: list[str | Path] = []
    for source in map(Path, sources):
        manifest = read_manifest(source) if (source / MANIFEST).is_file() else {}
        if "sets" in manifest:
            yield from _of_collection(source, manifest, only)
        else:
            others.append(source)
    for part in find_parts(others, out, only=only, progress=progress) if others else ():
        places = Places(part.folder)
        total = part.images("train") + part.images("evaluation")
        done = 0
        for role in ("train", "evaluation"):
            for record in part.records(role):
                done += 1
                yield record, places.path(record.picture), part.manifest, done, total


def _of_collection(
    folder: Path, manifest: Mapping[str, Any], only: set[str]
) -> Iterator[tuple[Record, Path, Mapping[str, Any], int, int]]:
    places = Places(folder)
    files = split_files(folder, manifest).values()
    total = sum(file.images for file in files)
    sets = manifest["sets"] if isinstance(manifest["sets"], dict) else {}
    done = 0
    for file in files:
        for record in CocoSet(file.path):
            done += 1
            if not only or record.source in only:
                told = sets.get(record.source) or {}
                yield record, places.path(record.picture), told, done, total
