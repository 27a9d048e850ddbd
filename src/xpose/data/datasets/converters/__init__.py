"""One class per dataset. See docs/data.md, "Adding a dataset", whose last step is a row in `CONVERTERS`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xpose.errors import DataError, did_you_mean, quote

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter

CONVERTERS = {  # name -> module in this folder and class
    "coco": "coco:Coco",
    "300w": "faces_and_hands:W300",
    "onehand10k": "faces_and_hands:OneHand10K",
    "macaquepose": "macaquepose:MacaquePose",
    "humanart": "coco:HumanArt",
    "ap10k": "coco:AP10K",
    "apt36k": "coco:APT36K",
    "animal-kingdom": "animal_kingdom:AnimalKingdom",
    "animal-kingdom-coco": "animal_kingdom:AnimalKingdomCoco",
    "animalweb": "faces_and_hands:AnimalWeb",
    "animalpose": "animalpose:AnimalPose",
    "animalpose-xml": "animalpose:AnimalPoseXml",
    "vinegar-fly": "deepposekit:VinegarFly",
    "desert-locust": "deepposekit:DesertLocust",
    "keypoint-5": "keypoint5:Keypoint5",
    "deepfashion2": "deepfashion2:DeepFashion2",
    "cub-200-2011": "cub200:Cub200",
    "carfusion": "carfusion:CarFusion",
    "mp100": "mp100:MP100",
}


def load_converter(name: str) -> Converter:
    """The converter of that name."""
    target = CONVERTERS.get(name.casefold())
    if target is None:
        hint = did_you_mean(name, CONVERTERS)
        raise DataError(f"Unknown dataset {quote(name)}.{hint} List them with: xpose data list")
    module, _, attribute = target.partition(":")
    converter: Converter = getattr(import_module(f"{__name__}.{module}"), attribute)()
    return converter
