"""The pictures that a command works on: files, folders and patterns, in natural order.

No file is opened here. Invalid inputs are returned separately, so that they do not stop the others.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from xpose.errors import did_you_mean, quote

DRAWN = "_xpose"  # ends the stem of the file names of our drawings
_VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts"}
_MOST_COMPARED = 5000  # number of file names that a misspelt one is compared with
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Picture:
    """An input picture.

    Attributes:
        path: the file.
        name: the path as typed, printable on every terminal.
        below: its path relative to the given folder, or its file name; drawings use the same subfolders.
    """

    path: Path
    name: str
    below: Path


@dataclass(frozen=True)
class Fault:
    """An input that could not be used, and why."""

    name: str
    message: str


def list_pictures(words: Sequence[str], out: Path | None = None) -> tuple[list[Picture], list[Fault]]:
    """The pictures that the words of a command line refer to, without duplicates, and the faults of the other words.

    A folder stands for all pictures in it and its subfolders, a pattern (`*`, `?`, `[...]`, `**`) for the files that it
    matches. Both are sorted in natural order: frame 2 comes before frame 10. Hidden files and drawings of earlier runs
    are skipped.

    Args:
        words: files, folders and patterns.
        out: the folder for results; drawings in it are not used as inputs.
    """
    found: dict[Path, Picture] = {}
    faults: list[Fault] = []
    for word in words:
        pictures, fault = _pictures_of(word)
        if fault is not None:
            faults.append(Fault(printable(word), fault))
        for picture in pictures:
            found.setdefault(Path(os.path.abspath(picture.path)), picture)
    return _without_drawings(found, out), faults


def printable(name: object) -> str:
    """The name with control characters and invalid bytes escaped as `\\x..`, safe for terminals and JSON files."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(name))


def natural_key(path: Path) -> list[list[tuple[int, int, str]]]:
    """A sort key that compares numbers in names by value: "frame 2" before "frame 10"."""
    return [
        [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in re.split(r"(\d+)", part)]
        for part in path.parts
    ]


def _pictures_of(word: str) -> tuple[list[Picture], str | None]:
    """The pictures that a word refers to, or the reason why there are none."""
    if not word.strip():
        return [], "The name is empty. Give the name of a picture, a folder or a pattern."
    if _ADDRESS.match(word):
        return [], f"{quote(printable(word))} is a URL. xpose downloads no pictures; save the file first."
    path = Path(word).expanduser()
    try:
        if path.is_dir():
            return _in_folder(path)
        if not path.exists():
            return _by_pattern(word) if glob.has_magic(word) else ([], _missing(word))
        if not path.is_file():
            return [], f"{quote(printable(word))} is a device or a pipe. Save the picture to a file first."
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return [], f"{quote(printable(word))} is not a usable path ({reason}). Check it."
    if path.suffix.lower() in _VIDEOS:
        return [], (
            f"{quote(printable(word))} is a video; this command reads pictures. Extract its frames first, "
            "e.g. with: ffmpeg -i clip.mp4 frames/%06d.png"
        )
    return [Picture(path, printable(word), Path(path.name))], None


def _in_folder(folder: Path) -> tuple[list[Picture], str | None]:
    from xpose.pictures import PICTURE_ENDINGS
    from xpose.pictures.reading import find_pictures

    below = [path.relative_to(folder) for path in find_pictures(folder)]
    kept = sorted((path for path in below if not _is_hidden(path)), key=natural_key)
    if not kept:
        return [], (
            f"The folder {quote(printable(folder))} contains no pictures. Check the folder. "
            f"Pictures end in {', '.join(PICTURE_ENDINGS)}."
        )
    return [Picture(folder / path, printable(folder / path), path) for path in kept], None


def _by_pattern(word: str) -> tuple[list[Picture], str | None]:
    from xpose.pictures import PICTURE_ENDINGS

    fits = [Path(name) for name in glob.glob(os.path.expanduser(word), recursive=True)]
    files = [path for path in fits if path.is_file() and path.suffix.lower() in PICTURE_ENDINGS]
    if not files:
        return [], f"No picture matches the pattern {quote(printable(word))}. Check the folder and the ending."
    start = Path(os.path.commonpath([os.path.abspath(path.parent) for path in files]))
    return [
        Picture(path, printable(path), Path(os.path.abspath(path)).relative_to(start))
        for path in sorted(files, key=natural_key)
    ], None


def _missing(word: str) -> str:
    path = Path(word).expanduser()
    try:
        beside = [entry.name for entry in islice(os.scandir(path.parent), _MOST_COMPARED)]
    except OSError:
        return f"There is no picture {quote(printable(word))}, and no such folder. Check the path."
    return f"There is no picture {quote(printable(word))}.{did_you_mean(path.name, beside, limit=1)} Check the path."


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _without_drawings(found: dict[Path, Picture], out: Path | None) -> list[Picture]:
    """All pictures except our own drawings, which are in the folder for results or next to their picture."""
    from xpose.cli import _console

    results = None if out is None else Path(os.path.abspath(out.expanduser()))
    beside = {place.with_suffix("") for place in found}
    below = {picture.below.with_suffix("") for picture in found.values()}

    def is_drawing(place: Path) -> bool:
        original = place.with_name(re.sub(rf"{DRAWN}(-\d+)?$", "", place.stem) or "_")
        if original == place.with_suffix(""):
            return False
        there = results is not None and place.is_relative_to(results) and original.relative_to(results) in below
        return there or original in beside

    kept = [picture for place, picture in found.items() if not is_drawing(place)]
    if len(kept) < len(found):
        _console.note(f"Skipped {len(found) - len(kept)} drawings of an earlier run (names with {DRAWN}).")
    return kept
