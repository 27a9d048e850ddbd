"""Uploaded pictures: checked against limits, kept in memory only, so that nothing is left on the disk."""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image

from xpose.drawing.text import clean
from xpose.errors import ImageError, quote
from xpose.pictures.reading import picture_from_bytes

_SHOWN_SIDE = 1600  # pixels; browsers get a larger picture reduced to this
_JPEG_QUALITY = 90
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Limits:
    """What one visitor may bring, and how many visitors there may be.

    Attributes:
        file_bytes: of one uploaded file.
        pixels: of one picture.
        batch_files: pictures in one batch.
        session_bytes: of all files that one page holds at a time.
        sessions: pages at a time.
        waiting: requests for the network at a time, the one that it works on included.
        idle_seconds: a page that was not used for so long is forgotten with all that it holds.
        closed_seconds: the same for a page that was closed.
    """

    file_bytes: int = 20_000_000
    pixels: int = 40_000_000
    batch_files: int = 200
    session_bytes: int = 200_000_000
    sessions: int = 50
    waiting: int = 16
    idle_seconds: float = 3600.0
    closed_seconds: float = 60.0


@dataclass(frozen=True, eq=False)
class Upload:
    """A picture that can be read. Its file is kept as it came and unpacked when it is needed.

    Attributes:
        name: how it is shown; printable and short.
        data: the file's bytes.
        width, height: of the upright picture.
        shown: a JPEG for the browser, at most 1600 pixels long.
        id: what its address ends in.
    """

    name: str
    data: bytes
    width: int
    height: int
    shown: bytes
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def pixels(self) -> np.ndarray:
        """[height, width, 3], unpacked anew each time."""
        return picture_from_bytes(self.data, self.name)

    @cached_property
    def stem(self) -> str:
        """The name without its ending, for names of result files."""
        stem = self.name.rpartition(".")[0] or self.name
        kept = "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in stem).strip(" .")
        return kept[:80] or "picture"


def receive(data: bytes, name: str, limits: Limits) -> Upload:
    """The picture in an uploaded file.

    Raises:
        ImageError: it is too large, damaged, or no picture.
    """
    name = shown_name(name)
    if len(data) > limits.file_bytes:
        raise too_many_bytes(name, limits)
    if not data:
        raise ImageError(f"{quote(name)} is an empty file. A picture has content. Choose another file.")
    pixels = picture_from_bytes(data, name, most_pixels=limits.pixels)
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return Upload(name, data, width, height, stream.getvalue())


def shown_name(name: str) -> str:
    """A file's name without folders and control characters, on one line."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return clean(last, _LONGEST_NAME) or "picture"


def too_many_bytes(name: str, limits: Limits) -> ImageError:
    """The error for a file that is too large."""
    return ImageError(
        f"{quote(shown_name(name))} is larger than {limits.file_bytes / 1e6:g} MB, the most that one file may have "
        "here. Save it smaller, or use the command line, which has no such limit: xpose detect"
    )
