"""The importers by the name of their format; only the one that is asked for is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xpose.errors import DataError, did_you_mean, quote

if TYPE_CHECKING:
    from xpose.data.datasets.importers.base import Importer

IMPORTERS = {
    "coco": "xpose.data.datasets.importers.coco:CocoImport",
    "yolo-pose": "xpose.data.datasets.importers.yolo:YoloPose",
    "deeplabcut": "xpose.data.datasets.importers.deeplabcut:DeepLabCut",
    "sleap": "xpose.data.datasets.importers.sleap:Sleap",
    "cvat": "xpose.data.datasets.importers.cvat:Cvat",
    "label-studio": "xpose.data.datasets.importers.label_studio:LabelStudio",
    "part-masks": "xpose.data.datasets.importers.part_masks:PartMasks",
}


def load_importer(format_name: str) -> type[Importer]:
    """The importer of a format.

    Raises:
        DataError: there is none of that name.
    """
    target = IMPORTERS.get(format_name.casefold().replace("_", "-"))
    if target is None:
        raise DataError(
            f"Unknown format {quote(format_name)}.{did_you_mean(format_name, IMPORTERS)} List them with: "
            "xpose data formats"
        )
    module, _, attribute = target.partition(":")
    importer: type[Importer] = getattr(import_module(module), attribute)
    return importer
