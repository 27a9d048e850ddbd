"""Uploaded pictures, checked against limits, and samples of pictures and prompts.

The photographs of the samples are part of scikit-image and matplotlib, which the extra of the demo installs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
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
        file_bytes, pixels: the largest size of one picture.
        pictures: the number of pictures in one run.
        pages: the number of open pages; beyond it, the page that was unused for longest is forgotten.
        waiting: the number of runs that may wait for the network.
        idle_seconds: the time after which an unused page is forgotten, and a temporary file deleted.
        closed_seconds: the time after which a closed page is forgotten.
    """

    file_bytes: int = 20_000_000
    pixels: int = 40_000_000
    pictures: int = 200
    pages: int = 50
    waiting: int = 16
    idle_seconds: float = 3600.0
    closed_seconds: float = 60.0


@dataclass(frozen=True)
class UploadedPicture:
    """A picture that could be read when it was uploaded; `name` is printable and short."""

    path: Path
    name: str

    @property
    def pixels(self) -> np.ndarray:
        """[height, width, 3], read anew each time."""
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
            f"{quote(name)} is larger than {limits.file_bytes / 1e6:g} MB, the limit for one file. Save it "
            "smaller, or use the command line, which has no such limit: xpose detect"
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


_PHOTOGRAPHS = {  # name → package and file in it
    "astronaut.png": ("skimage", "data/astronaut.png"),
    "admiral.jpg": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "photographer.png": ("skimage", "data/camera.png"),
}
FACE_POINTS = {  # of the astronaut
    "right eye outer corner": (192.0, 101.0),
    "right eye inner corner": (213.0, 103.0),
    "left eye inner corner": (237.0, 104.0),
    "left eye outer corner": (259.0, 103.0),
    "nose tip": (223.5, 126.5),
    "right mouth corner": (203.0, 140.0),
    "left mouth corner": (245.0, 141.0),
    "chin centre": (225.0, 178.0),
}


@dataclass(frozen=True)
class DemoSample:
    """Pictures to search by words or, if `by_points`, by an example; `joined` words are a part of the prompt."""

    title: str
    pictures: tuple[str, ...]
    words: str
    by_points: bool = False
    joined: bool = False


SAMPLES = (
    DemoSample("A face", ("astronaut.png",), "face"),
    DemoSample("A person", ("photographer.png",), "person"),
    DemoSample("A face, by points in an example", ("admiral.jpg",), "face", by_points=True),
    DemoSample("A face, by a word and an example", ("admiral.jpg",), "face", by_points=True, joined=True),
    DemoSample("Several pictures", tuple(_PHOTOGRAPHS), "face, person"),
)


@cache
def photographs() -> Mapping[str, Path]:
    """The photographs that are installed, by their names in the demo."""
    paths = {}
    for name, (package, file) in _PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            paths[name] = Path(folder) / file
    return {name: path for name, path in paths.items() if path.is_file()}


def samples() -> list[DemoSample]:
    """The samples whose photographs are installed."""
    return [
        sample
        for sample in SAMPLES
        if {*sample.pictures, *(["astronaut.png"] if sample.by_points else [])} <= photographs().keys()
    ]
