"""One module per dataset. Adding one: docs/data.md, "Adding a dataset"; its last step is a row of this table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xpose.errors import DataError, did_you_mean, quote

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter

CONVERTERS = {
    "coco": "xpose.data.datasets.converters.coco:Coco",
    "300w": "xpose.data.datasets.converters.w300:W300",
    "onehand10k": "xpose.data.datasets.converters.onehand10k:OneHand10K",
    "macaquepose": "xpose.data.datasets.converters.macaquepose:MacaquePose",
    "humanart": "xpose.data.datasets.converters.humanart:HumanArt",
    "ap10k": "xpose.data.datasets.converters.ap10k:AP10K",
    "apt36k": "xpose.data.datasets.converters.apt36k:APT36K",
    "animal-kingdom": "xpose.data.datasets.converters.animal_kingdom:AnimalKingdom",
    "animal-kingdom-coco": "xpose.data.datasets.converters.animal_kingdom_coco:AnimalKingdomCoco",
    "animalweb": "xpose.data.datasets.converters.animalweb:AnimalWeb",
    "animalpose": "xpose.data.datasets.converters.animalpose:AnimalPose",
    "animalpose-xml": "xpose.data.datasets.converters.animalpose_xml:AnimalPoseXml",
    "vinegar-fly": "xpose.data.datasets.converters.deepposekit:VinegarFly",
    "desert-locust": "xpose.data.datasets.converters.deepposekit:DesertLocust",
    "keypoint-5": "xpose.data.datasets.converters.keypoint5:Keypoint5",
    "deepfashion2": "xpose.data.datasets.converters.deepfashion2:DeepFashion2",
    "cub-200-2011": "xpose.data.datasets.converters.cub200:Cub200",
    "carfusion": "xpose.data.datasets.converters.carfusion:CarFusion",
    "mp100": "xpose.data.datasets.converters.mp100:MP100",
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
