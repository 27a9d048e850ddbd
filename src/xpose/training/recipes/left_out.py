"""Which pictures a run excludes, and why: unusable pictures, test pictures and look-alikes of test pictures.

Collected sets contain near-duplicates, such as neighbouring frames of a video or one photograph in two sets. A score
on a memorised picture is meaningless. The fingerprints are those of `xpose data collect`, computed once per run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os import cpu_count
from pathlib import Path

from xpose.data.collection.leaks import Side, find_leaks, print_picture
from xpose.data.datasets.folder_sets import PHOTOGRAPH
from xpose.data.loading.pool import read_places
from xpose.errors import SplitError, XPoseError, counted
from xpose.pictures.atomic import write_atomically
from xpose.records import Skipped

LEFT_OUT_FILE, APART_FILE = "left-out.txt", "apart.json"
_SHOWN = 5  # pictures on the terminal
_AT_ONCE = 256  # pictures in memory

# By "SET/FILE": the picture's path and the photograph it was cut from.
Pictures = Mapping[str, tuple[Path, str | None]]


class LeftOut:
    """What is excluded from training: unusable pictures, objects without position, pictures kept for testing."""

    def __init__(self) -> None:
        self.held_out = 0  # pictures
        self.apart: dict[str, str] = {}  # pictures that are test pictures or look like one: "SET/FILE" to "SET/FILE"
        self.nothing_apart = ""  # why no training picture was compared with the test pictures
        self._skipped: dict[tuple[str, str], None] = {}  # kind and message, in order, without duplicates

    def take(self, source: str, skipped: Skipped) -> None:
        """Record what the reader of a folder of sets could not use."""
        prefix = "" if skipped.what == "picture" else f"{skipped.what} in "
        self._skipped[skipped.what, f"{prefix}{source}/{skipped.file}: {skipped.reason}"] = None

    def _unusable(self) -> tuple[list[str], list[str]]:
        """One line with the reason for every unusable picture, and for every object and point."""
        pictures = [line for what, line in self._skipped if what == "picture"]
        return pictures, [line for what, line in self._skipped if what != "picture"]

    def lines(self, folder: Path) -> Iterator[str]:
        """A summary for the start of a run in this folder."""
        full_list = f"Full list: {folder / LEFT_OUT_FILE}"
        if self.held_out:
            yield f"Held out for testing: {counted(self.held_out, 'picture')}"
        if self.nothing_apart:
            yield self.nothing_apart
        if self.apart:
            number = counted(len(self.apart), "picture")
            yield f"Left out because they are test pictures or look like one: {number}. {full_list}"
        pictures, rest = self._unusable()
        words = ((pictures, "picture", "pictures"), (rest, "object or point", "objects or points"))
        if numbers := [counted(len(lines), singular, plural) for lines, singular, plural in words if lines]:
            yield f"Left out because they cannot be used: {' and '.join(numbers)}. {full_list}"
        yield from (f"  {line}" for line in pictures[:_SHOWN])
        if len(pictures) > _SHOWN:
            yield f"  and {len(pictures) - _SHOWN:,} more"

    def write(self, folder: Path) -> None:
        """Write the full list into the run's folder; if nothing is excluded, an earlier list is removed."""
        path = folder / LEFT_OUT_FILE
        lines = [f"{name}: the test picture {other} is the same or looks it" for name, other in self.apart.items()]
        for skipped in self._unusable():
            lines += skipped
        if not lines:
            path.unlink(missing_ok=True)
            return
        text = "\n".join(lines) + "\n"
        write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", errors="backslashreplace"))


def look_alikes(places: Iterable[str], split: str, tested: str, cache: Path | None = None) -> dict[str, str]:
    """Map the pictures of a split to equal ones, perhaps mirrored, in the split `tested`, by "SET/FILE".

    Pieces of one photograph, identified by its number in the set, count as equal although they look different. The
    result is cached in the folder `cache` while the pictures stay the same. SplitError if a split is missing.
    """
    sides = {name: _pictures(places, name) for name in (split, tested)}
    stamp = _stamp(sides)
    file = None if cache is None else cache / APART_FILE
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or damaged: recomputed
        content = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
        if content["stamp"] == stamp:
            return {str(a): str(b) for a, b in content["pictures"].items()}
    photographs = {photo: name for name, (_, photo) in reversed(list(sides[tested].items())) if photo is not None}
    answer = {name: photographs[photo] for name, (_, photo) in sides[split].items() if photo in photographs}
    leaks = find_leaks(*(_side(pictures) for pictures in sides.values()))
    answer |= {leak.train: leak.evaluation for leak in leaks}
    if file is not None:
        text = json.dumps({"stamp": stamp, "pictures": answer}, indent=1) + "\n"
        with suppress(OSError, XPoseError):  # the answer is valid even if it cannot be cached
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
    return answer


def _pictures(places: Iterable[str], split: str) -> Pictures:
    """The pictures of all folders; at least one must have the split."""
    pictures: dict[str, tuple[Path, str | None]] = {}
    missing: list[SplitError] = []
    for folder in places:
        try:
            for record, place in read_places(Path(folder).expanduser(), split):
                group = record.group or ""  # a collection puts the set's name before it
                photograph = group[group.index(PHOTOGRAPH) :] if PHOTOGRAPH in group else None
                pictures[f"{record.source}/{record.picture.file}"] = place, photograph
        except SplitError as error:
            missing.append(error)
    if missing and not pictures:
        raise missing[0]
    return pictures


def _side(pictures: Pictures) -> Side:
    side, names = Side(), list(pictures)
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for start in range(0, len(names), _AT_ONCE):
            chunk = names[start : start + _AT_ONCE]
            for name, prints in zip(chunk, pool.map(print_picture, [pictures[n][0] for n in chunk]), strict=True):
                side.add(name, prints)
    return side


def _stamp(sides: Mapping[str, Pictures]) -> str:
    """A stamp of the pictures' names and file sizes."""
    digest = hashlib.sha256()
    for split, pictures in sides.items():
        for name, (path, photograph) in sorted(pictures.items()):
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{split}\0{name}\0{size}\0{photograph}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
