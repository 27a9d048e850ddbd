"""Photographs to try the demo with; they come inside scikit-image and matplotlib, which its extra installs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
class Sample:
    """Pictures to search by words or, if `by_points`, by an example; `joined` words are a part of the prompt."""

    title: str
    pictures: tuple[str, ...]
    words: str
    by_points: bool = False
    joined: bool = False


SAMPLES = (
    Sample("A face", ("astronaut.png",), "face"),
    Sample("A person", ("photographer.png",), "person"),
    Sample("A face, by points in an example", ("admiral.jpg",), "face", by_points=True),
    Sample("A face, by a word and an example", ("admiral.jpg",), "face", by_points=True, joined=True),
    Sample("Several pictures", tuple(_PHOTOGRAPHS), "face, person"),
)


@cache
def photographs() -> Mapping[str, Path]:
    """Those that are installed, by the name that the demo gives them."""
    paths = {}
    for name, (package, file) in _PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            paths[name] = Path(folder) / file
    return {name: path for name, path in paths.items() if path.is_file()}


def samples() -> list[Sample]:
    """Those whose photographs are installed."""
    return [s for s in SAMPLES if {*s.pictures, *(["astronaut.png"] if s.by_points else [])} <= photographs().keys()]
