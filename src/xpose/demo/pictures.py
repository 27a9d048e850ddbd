"""Uploaded pictures: checked against limits, and read from their temporary file when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from xpose.drawing.text import clean
from xpose.errors import ImageError, quote
from xpose.pictures.reading import picture_from_bytes

SHOWN_SIDES = (960, 1600)  # pixels; a picture is shown with its longer side in between


@dataclass(frozen=True)
class Limits:
    """What visitors may upload, and how long it is kept.

    Attributes:
        file_bytes, pixels: of one picture.
        pictures: that one run searches.
        pages: open at a time; beyond that, the page that was unused for longest is forgotten.
        waiting: runs that may wait for the network.
        idle_seconds: after which an unused page is forgotten, and a temporary file deleted.
        closed_seconds: after which a closed page is forgotten.
    """

    file_bytes: int = 20_000_000
    pixels: int = 40_000_000
    pictures: int = 200
    pages: int = 50
    waiting: int = 16
    idle_seconds: float = 3600.0
    closed_seconds: float = 60.0


@dataclass(frozen=True)
class Picture:
    """A picture that could be read when it was uploaded; `name` is printable and short."""

    path: Path
    name: str

    @property
    def pixels(self) -> np.ndarray:
        """[height, width, 3], read anew each time."""
        return _pixels(self.path, self.name)

    @property
    def shown(self) -> Image.Image:
        """The picture as it is shown: a large one reduced, a small one enlarged, so that its pixels can be hit."""
        return _resized(self)


def read_picture(path: str | Path, name: str, limits: Limits) -> Picture:
    """The picture in an uploaded file; an `ImageError` if it is too large, damaged, or no picture."""
    name = clean(name.replace("\\", "/").rpartition("/")[2], 120) or "picture"
    if Path(path).is_file() and Path(path).stat().st_size > limits.file_bytes:
        raise ImageError(
            f"{quote(name)} is larger than {limits.file_bytes / 1e6:g} MB, the limit for one file. Save it "
            "smaller, or use the command line, which has no such limit: xpose detect"
        )
    _pixels(Path(path), name, limits.pixels)
    return Picture(Path(path), name)


def _pixels(path: Path, name: str, most: int = Limits.pixels) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError:
        raise ImageError(f"{quote(name)} has been deleted from the server. Upload it again.") from None
    if not data:
        raise ImageError(f"{quote(name)} is an empty file. Choose another one.")
    return picture_from_bytes(data, name, most_pixels=most)


@lru_cache(maxsize=4)
def _resized(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture.pixels)
    least, most = SHOWN_SIDES
    factor = min(max(1.0, least / max(image.size)), most / max(image.size))
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), reducing_gap=2.0)
