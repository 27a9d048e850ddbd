"""Uploaded pictures, checked against limits, and samples of pictures and prompts (`samples.toml`)."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from xpose.drawing.text import clean
from xpose.errors import ImageError, quote
from xpose.pictures.reading import picture_from_bytes

SHOWN_SIDES = (960, 1600)  # pixels; the range of the longer side of a shown picture


@dataclass(frozen=True)
class Limits:
    """What visitors may upload, and how long it is kept."""

    file_bytes: int = 20_000_000
    pixels: int = 40_000_000  # per picture
    pictures: int = 200  # per run
    pages: int = 50  # open pages; beyond this limit, the least recently used one is forgotten
    waiting: int = 16  # runs that wait for the network
    idle_seconds: float = 3600.0  # until an unused page is forgotten, and a temporary file deleted
    closed_seconds: float = 60.0  # until a closed page is forgotten


@dataclass(frozen=True)
class UploadedPicture:
    """A picture that could be read when it was uploaded; `name` is printable and short."""

    path: Path
    name: str

    @property
    def pixels(self) -> np.ndarray:
        """[height, width, 3], read on every access."""
        return _pixels(self.path, self.name, Limits.pixels)

    @property
    def shown(self) -> Image.Image:
        """The picture as the page shows it: large ones are reduced, small ones enlarged for precise clicks."""
        return _shown(self)


def read_picture(path: str | Path, name: str, limits: Limits) -> UploadedPicture:
    """The picture in an uploaded file; an `ImageError` if it is too large or damaged, or not a picture."""
    path, name = Path(path), clean(name.replace("\\", "/").rpartition("/")[2], 120) or "picture"
    if path.is_file() and path.stat().st_size > limits.file_bytes:
        raise ImageError(
            f"{quote(name)} is larger than {limits.file_bytes / 1e6:g} MB, the limit for one file. Save it smaller."
        )
    _pixels(path, name, limits.pixels)
    return UploadedPicture(path, name)


def _pixels(path: Path, name: str, most: int) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError:
        raise ImageError(f"{quote(name)} has been deleted from the server. Upload it again.") from None
    if not data:
        raise ImageError(f"{quote(name)} is an empty file. Choose another one.")
    return picture_from_bytes(data, name, most_pixels=most)


@lru_cache(maxsize=4)
def _shown(picture: UploadedPicture) -> Image.Image:
    image = Image.fromarray(picture.pixels)
    least, most = SHOWN_SIDES
    factor = min(max(1.0, least / max(image.size)), most / max(image.size))
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), reducing_gap=2.0)


@dataclass(frozen=True)
class DemoSample:
    """Pictures to search by words, by an example if `by_points`, or by both if `joined` is also set."""

    title: str
    pictures: Sequence[str]
    words: str
    by_points: bool = False
    joined: bool = False


_CONTENT = tomllib.loads((Path(__file__).parent / "samples.toml").read_text("utf-8"))
FACE_POINTS: dict[str, tuple[float, float]] = {name: (x, y) for name, (x, y) in _CONTENT["face_points"].items()}
SAMPLES = [DemoSample(**sample) for sample in _CONTENT["samples"]]


@cache
def photographs() -> Mapping[str, Path]:
    """The installed photographs of the samples, by their names in the demo."""
    paths = {}
    for name, (package, file) in _CONTENT["photographs"].items():
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            paths[name] = Path(folder) / file
    return {name: path for name, path in paths.items() if path.is_file()}


def samples() -> list[DemoSample]:
    """The samples whose photographs are installed."""
    installed = photographs().keys()
    return [
        sample
        for sample in SAMPLES
        if installed >= {*sample.pictures, *(["astronaut.png"] if sample.by_points else [])}
    ]
