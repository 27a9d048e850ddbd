"""The pictures that a command works on: files, folders and patterns, in natural order.

Only files that may have several frames are opened here. Invalid inputs are returned separately, so that they do not
stop the others.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from xpose.errors import ImageError, did_you_mean, quote
from xpose.pictures import VIDEO_ENDINGS

DRAWN = "_xpose"  # ends the stem of our drawings' file names
POSE_MAP = "_pose_map"  # is added to it for pose maps
_SEVERAL_FRAMES = {".gif", ".tif", ".tiff", ".webp"}
_MOST_COMPARED = 5000  # number of file names to compare a misspelt one with
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class InputPicture:
    """An input picture."""

    path: Path
    name: str  # the path as typed, printable on every terminal
    below: Path  # relative to the given folder, or the file name; drawings use the same subfolders
    frame: int | None = None  # counted from 1, if the file has several


@dataclass(frozen=True)
class Fault:
    """An input that could not be used, and why."""

    name: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """For JSON output."""
        return {"picture": self.name, "error": printable(self.message)}


def list_pictures(words: Sequence[str], out: Path | None = None) -> tuple[list[InputPicture], list[Fault]]:
    """The pictures that the words of a command line refer to, without duplicates, and the faults of the other words.

    A folder stands for all pictures in it and its subfolders, a pattern (`*`, `?`, `[...]`, `**`) for the files that it
    matches. Both are sorted in natural order: frame 2 comes before frame 10. Hidden files and drawings of earlier runs
    (in the folder `out`, or next to their picture) are skipped. Each frame of an animation is a picture.
    """
    by_path: dict[Path, InputPicture] = {}
    faults: list[Fault] = []
    for word in words:
        try:
            for picture in _pictures_of(word):
                by_path.setdefault(Path(os.path.abspath(picture.path)), picture)
        except ImageError as error:
            faults.append(Fault(printable(word), str(error)))
    pictures = {path: _frames_of(picture) for path, picture in by_path.items()}
    return _without_drawings(pictures, out), faults


def _frames_of(picture: InputPicture) -> list[InputPicture]:
    """The picture, or its frames: "clip.gif#3", whose drawing is called "clip-03" if there are 10 frames or more."""
    from xpose.pictures.reading import count_frames

    count = count_frames(picture.path) if picture.path.suffix.lower() in _SEVERAL_FRAMES else 1
    if count == 1:
        return [picture]
    below, digits = picture.below, len(str(count))
    return [
        InputPicture(
            picture.path, f"{picture.name}#{number}", below.with_stem(f"{below.stem}-{number:0{digits}}"), number
        )
        for number in range(1, count + 1)
    ]


def printable(name: object) -> str:
    """The name with control characters and invalid bytes escaped as `\\x..`, safe for terminals and JSON files."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], str(name))


def _pictures_of(word: str) -> list[InputPicture]:
    """The pictures that a word refers to; an `ImageError` if there are none."""
    name = quote(printable(word))
    if not word.strip():
        raise ImageError("The name is empty. Give the name of a picture, a folder or a pattern.")
    if _ADDRESS.match(word):
        raise ImageError(f"{name} is a URL. xpose downloads no pictures; save the file first.")
    path = Path(word).expanduser()
    try:
        if path.is_dir():
            return _in_folder(path)
        if not path.exists():
            return _by_pattern(word)
        if not path.is_file():
            raise ImageError(f"{name} is a device or a pipe. Save the picture to a file first.")
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name} is not a usable path ({reason}). Check it.") from None
    if path.suffix.lower() in VIDEO_ENDINGS:
        raise ImageError(f"{name} is a video. Use: xpose video {path}")
    return [InputPicture(path, printable(word), Path(path.name))]


def _in_folder(folder: Path) -> list[InputPicture]:
    from xpose.pictures import PICTURE_ENDINGS
    from xpose.pictures.reading import find_pictures, natural_key

    below = [path.relative_to(folder) for path in find_pictures(folder)]
    visible = [path for path in below if not any(part.startswith(".") for part in path.parts)]
    if not visible:
        endings = ", ".join(PICTURE_ENDINGS)
        raise ImageError(f"The folder {quote(printable(folder))} contains no pictures. Pictures end in {endings}.")
    return [InputPicture(folder / path, printable(folder / path), path) for path in sorted(visible, key=natural_key)]


def _by_pattern(word: str) -> list[InputPicture]:
    from xpose.pictures import PICTURE_ENDINGS
    from xpose.pictures.reading import natural_key

    name = quote(printable(word))
    if not glob.has_magic(word):
        path = Path(word).expanduser()
        try:
            beside = [entry.name for entry in islice(os.scandir(path.parent), _MOST_COMPARED)]
        except OSError:
            raise ImageError(f"There is no picture {name}, and no such folder. Check the path.") from None
        raise ImageError(f"There is no picture {name}.{did_you_mean(path.name, beside, limit=1)} Check the path.")
    matches = [Path(name) for name in glob.glob(os.path.expanduser(word), recursive=True)]
    files = [path for path in matches if path.is_file() and path.suffix.lower() in PICTURE_ENDINGS]
    if not files:
        raise ImageError(f"No picture matches the pattern {name}. Check the folder and the ending.")
    start = Path(os.path.commonpath([os.path.abspath(path.parent) for path in files]))
    return [
        InputPicture(path, printable(path), Path(os.path.abspath(path)).relative_to(start))
        for path in sorted(files, key=natural_key)
    ]


def _without_drawings(by_path: dict[Path, list[InputPicture]], out: Path | None) -> list[InputPicture]:
    """All pictures except our own drawings and crops, which are in the folder for results or next to their picture."""
    from xpose.cli import _console

    results = None if out is None else Path(os.path.abspath(out.expanduser()))
    pictures = [(path, picture) for path, frames in by_path.items() for picture in frames]
    beside = {path.with_name(picture.below.stem) for path, picture in pictures}
    below = {picture.below.with_suffix("") for _, picture in pictures}

    def is_drawing(path: Path) -> bool:
        original = path.with_name(re.sub(rf"{DRAWN}(-\d+)?(_\d+_.*|{POSE_MAP})?$", "", path.stem) or "_")
        if original == path.with_suffix(""):
            return False
        in_results = results is not None and path.is_relative_to(results) and original.relative_to(results) in below
        return in_results or original in beside

    kept = [picture for path, picture in pictures if not is_drawing(path)]
    if len(kept) < len(pictures):
        _console.note(f"Skipped {len(pictures) - len(kept)} drawings of an earlier run (names with {DRAWN}).")
    return kept


def absolute(weights: str | None) -> str | None:
    """A path that is the same for other processes on this machine; other names as they are."""
    path = Path(weights or "").expanduser()
    return str(path.absolute()) if weights and path.exists() else weights
