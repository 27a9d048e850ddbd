"""Datasets: one record for every source, converters from the authors' layouts, prepared sets on disk.

`prepare("coco", root, out)` converts an original; `CocoSet(path)` reads what it wrote. Adding a dataset: docs/data.md.
"""

from __future__ import annotations

from xpose.data.collection.manifest import pictures_root, read_manifest, verify
from xpose.data.collection.store import CocoSet, write_coco
from xpose.data.datasets.converters import CONVERTERS, load_converter
from xpose.data.datasets.pipeline import Prepared, prepare
from xpose.records import Category, Instance, Picture, Record, Skipped, Taxonomy

__all__ = [
    "CONVERTERS",
    "Category",
    "CocoSet",
    "Instance",
    "Picture",
    "Prepared",
    "Record",
    "Skipped",
    "Taxonomy",
    "load_converter",
    "pictures_root",
    "prepare",
    "read_manifest",
    "verify",
    "write_coco",
]
