"""Photographs to try the demo with; they come inside scikit-image and matplotlib, which its extra installs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One photograph.

    Attributes:
        path: where it lies.
        words: what to look for in it.
        points: of one object: name → x, y in pixels.
    """

    path: Path
    words: str
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


_FACE = {
    "right eye outer corner": (192.0, 101.0),
    "right eye inner corner": (213.0, 103.0),
    "left eye inner corner": (237.0, 104.0),
    "left eye outer corner": (259.0, 103.0),
    "nose tip": (223.5, 126.5),
    "right mouth corner": (203.0, 140.0),
    "left mouth corner": (245.0, 141.0),
    "chin centre": (225.0, 178.0),
}
# name → package, file in it, words, points
_ALL: dict[str, tuple[str, str, str, Mapping[str, tuple[float, float]]]] = {
    "astronaut.png": ("skimage", "data/astronaut.png", "face", _FACE),
    "admiral.jpg": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "face", {}),
    "photographer.png": ("skimage", "data/camera.png", "person", {}),
}


@cache
def samples() -> Mapping[str, Sample]:
    """Those that are there, by the name that the demo gives them."""
    found = {}
    for name, (package, file, words, points) in _ALL.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (Path(folder) / file).is_file():
                found[name] = Sample(Path(folder) / file, words, points)
    return found
