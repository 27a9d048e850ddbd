"""One module per dataset. Adding one: docs/data.md, "Adding a dataset"; its last step is a row of this table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xpose.errors import DataError, did_you_mean, quote

if TYPE_CHECKING:
    from xpose.data.converters.base import Converter

CONVERTERS = {
    "coco": "xpose.data.converters.coco:Coco",
    "300w": "xpose.data.converters.w300:W300",
    "onehand10k": "xpose.data.converters.onehand10k:OneHand10K",
    "macaquepose": "xpose.data.converters.macaquepose:MacaquePose",
    "humanart": "xpose.data.converters.humanart:HumanArt",
    "ap10k": "xpose.data.converters.ap10k:AP10K",
    "apt36k": "xpose.data.converters.apt36k:APT36K",
    "animal-kingdom": "xpose.data.converters.animal_kingdom:AnimalKingdom",
    "animal-kingdom-coco": "xpose.data.converters.animal_kingdom_coco:AnimalKingdomCoco",
    "animalweb": "xpose.data.converters.animalweb:AnimalWeb",
    "animalpose": "xpose.data.converters.animalpose:AnimalPose",
    "animalpose-xml": "xpose.data.converters.animalpose_xml:AnimalPoseXml",
    "vinegar-fly": "xpose.data.converters.vinegar_fly:VinegarFly",
    "desert-locust": "xpose.data.converters.desert_locust:DesertLocust",
    "keypoint-5": "xpose.data.converters.keypoint5:Keypoint5",
    "deepfashion2": "xpose.data.converters.deepfashion2:DeepFashion2",
    "cub-200-2011": "xpose.data.converters.cub200:Cub200",
    "carfusion": "xpose.data.converters.carfusion:CarFusion",
    "mp100": "xpose.data.converters.mp100:MP100",
}


def load_converter(name: str) -> Converter:
    """The converter of that name.

    Raises:
        DataError: there is none of that name.
    """
    target = CONVERTERS.get(name.casefold())
    if target is None:
        raise DataError(
            f"Unknown dataset {quote(name)}.{did_you_mean(name, CONVERTERS)} List them with: xpose data list"
        )
    module, _, attribute = target.partition(":")
    converter: Converter = getattr(import_module(module), attribute)()
    return converter
