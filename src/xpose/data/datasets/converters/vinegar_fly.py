"""Vinegar Fly (`datasets/fly/{annotation_data_release.h5,skeleton.csv}` of DeepPoseKit's data)."""

from __future__ import annotations

from xpose.data.datasets.converters.base import Expected, NameTable, Need
from xpose.data.datasets.converters.deepposekit import WHERE, DeepPoseKit
from xpose.data.datasets.converters.names import names_in


class VinegarFly(DeepPoseKit):
    """Fruit flies from above, 32 points (the papers say 31)."""

    name = "vinegar-fly"
    title = "Vinegar Fly (DeepPoseKit)"
    folder = "datasets/fly"
    expected = Expected(unikpt=1_500, images=1_500, instances=1_500)
    needs = (Need(f"{folder}/annotation_data_release.h5", WHERE), Need(f"{folder}/skeleton.csv", WHERE))
    tables = {"vinegar fly": NameTable("fly", names_in("fly"))}
