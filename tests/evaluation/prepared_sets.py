"""Published sets in miniature: the originals that the converters' tests draw, prepared as a user would prepare them."""

from __future__ import annotations

import importlib
from pathlib import Path

from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.pipeline import prepare

# Converter -> the test module that draws its original.
DRAWN = {
    "coco": "tests.data.datasets.converters.test_coco",
    "humanart": "tests.data.datasets.converters.test_humanart",
    "ap10k": "tests.data.datasets.converters.test_ap10k",
    "apt36k": "tests.data.datasets.converters.test_apt36k",
    "macaquepose": "tests.data.datasets.converters.test_macaquepose",
    "animal-kingdom": "tests.data.datasets.converters.test_animal_kingdom",
    "animalweb": "tests.data.datasets.converters.test_animalweb",
    "300w": "tests.data.datasets.converters.test_w300",
    "onehand10k": "tests.data.datasets.converters.test_onehand10k",
    "vinegar-fly": "tests.data.datasets.converters.test_vinegar_fly",
    "desert-locust": "tests.data.datasets.converters.test_desert_locust",
    "keypoint-5": "tests.data.datasets.converters.test_keypoint5",
    "animalpose": "tests.data.datasets.converters.test_animalpose",
    "mp100": "tests.data.datasets.converters.test_mp100",
}


def prepare_drawn(root: Path, *names: str) -> Path:
    """The folder of prepared sets with these sets in it."""
    for name in names or DRAWN:
        tree = importlib.import_module(DRAWN[name]).write_tree(root / "originals" / name)
        prepare(load_converter(name), tree.root, root / "prepared")
    return root / "prepared"
