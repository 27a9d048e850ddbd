"""Published sets in miniature: the originals that the converters' tests draw, prepared as a user would prepare them."""

from __future__ import annotations

import importlib
from pathlib import Path

from xpose.data.converters import load_converter
from xpose.data.pipeline import prepare

# Converter -> the test module that draws its original.
DRAWN = {
    "coco": "test_coco",
    "humanart": "test_humanart",
    "ap10k": "test_ap10k",
    "apt36k": "test_apt36k",
    "macaquepose": "test_macaquepose",
    "animal-kingdom": "test_animal_kingdom",
    "animalweb": "test_animalweb",
    "300w": "test_w300",
    "onehand10k": "test_onehand10k",
    "vinegar-fly": "test_vinegar_fly",
    "desert-locust": "test_desert_locust",
    "keypoint-5": "test_keypoint5",
    "animalpose": "test_animalpose",
    "mp100": "test_mp100",
}


def prepare_drawn(root: Path, *names: str) -> Path:
    """The folder of prepared sets with these sets in it."""
    for name in names or DRAWN:
        tree = importlib.import_module(DRAWN[name]).write_tree(root / "originals" / name)
        prepare(load_converter(name), tree.root, root / "prepared")
    return root / "prepared"
