"""Which pictures a run does without, and why: those that cannot be used, and those that are test pictures or look it.

Collected sets repeat themselves: neighbouring frames of a video, one photograph in two sets. A score on a picture that
was memorised says nothing. The fingerprints are those of `xpose data collect`; they are computed once a run.
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

# By "SET/FILE": the picture's place, and the photograph that it is a piece of.
Pictures = Mapping[str, tuple[Path, str | None]]


class LeftOut:
    """What is not learned from: pictures that cannot be used, objects without a place, pictures kept for testing."""

    def __init__(self) -> None:
        self.held_out = 0  # pictures
        self.apart: dict[str, str] = {}  # pictures that are test pictures or look like one: "SET/FILE" to "SET/FILE"
        self.nothing_apart = ""  # why no training picture was compared with the test pictures
        self._skipped: dict[tuple[str, str], None] = {}  # what and a line about it, in order, each once

    def take(self, source: str, skipped: Skipped) -> None:
        """Take what the reader of a folder of sets could not use."""
        prefix = "" if skipped.what == "picture" else f"{skipped.what} in "
        self._skipped[skipped.what, f"{prefix}{source}/{skipped.file}: {skipped.reason}"] = None

    def _unusable(self) -> tuple[list[str], list[str]]:
        """A line with the reason for every picture that cannot be used, and for every object and point."""
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
        """Write the full list into the run's folder; an earlier one is removed if nothing is left out any more."""
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
    """The pictures of a split that equal one of the split `tested`, mirrored or not, with it: "SET/FILE" each.

    Pieces of one photograph, by the number that a set gives it, equal each other, though they look different. The
    folder `cache` keeps the answer for as long as the pictures stay the same. SplitError if a split is missing.
    """
    sides = {name: _pictures(places, name) for name in (split, tested)}
    stamp = _stamp(sides)
    file = None if cache is None else cache / APART_FILE
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or damaged: made again
        content = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
        if content["stamp"] == stamp:
            return {str(a): str(b) for a, b in content["pictures"].items()}
    photographs = {photo: name for name, (_, photo) in reversed(list(sides[tested].items())) if photo is not None}
    answer = {name: photographs[photo] for name, (_, photo) in sides[split].items() if photo in photographs}
    leaks = find_leaks(*(_side(pictures) for pictures in sides.values()))
    answer |= {leak.train: leak.evaluation for leak in leaks}
    if file is not None:
        text = json.dumps({"stamp": stamp, "pictures": answer}, indent=1) + "\n"
        with suppress(OSError, XPoseError):  # the answer is valid even if it cannot be kept
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
    return answer


def _pictures(places: Iterable[str], split: str) -> Pictures:
    """The pictures of all folders; some folder must have the split."""
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
    """Changes with the names of the pictures and the sizes of their files."""
    digest = hashlib.sha256()
    for split, pictures in sides.items():
        for name, (path, photograph) in sorted(pictures.items()):
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{split}\0{name}\0{size}\0{photograph}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
