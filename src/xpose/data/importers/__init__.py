"""Importers for what users have: one module per format, each a converter made at run time for one file or folder.

`import_set("yolo-pose", "my/data.yaml", "sets")` does all of it. docs/data-import.md has one command per format.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xpose.data.importers.run import Imported, import_set, imported_skeletons
from xpose.errors import DataError, did_you_mean, quote

if TYPE_CHECKING:
    from xpose.data.importers.base import Importer

__all__ = ["IMPORTERS", "Imported", "import_set", "imported_skeletons", "load_importer"]

IMPORTERS = {
    "coco": "xpose.data.importers.coco:CocoImport",
    "yolo-pose": "xpose.data.importers.yolo:YoloPose",
    "deeplabcut": "xpose.data.importers.deeplabcut:DeepLabCut",
    "sleap": "xpose.data.importers.sleap:Sleap",
    "cvat": "xpose.data.importers.cvat:Cvat",
    "label-studio": "xpose.data.importers.label_studio:LabelStudio",
    "part-masks": "xpose.data.importers.parts:PartMasks",
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
