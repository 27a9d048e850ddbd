"""Desert Locust (`datasets/locust/{annotation_data_release.h5,skeleton.csv}` of DeepPoseKit's data)."""

from __future__ import annotations

from xpose.data.datasets.converters.base import Expected, NameTable, Need
from xpose.data.datasets.converters.deepposekit import WHERE, DeepPoseKit
from xpose.data.datasets.converters.names import names_in


class DesertLocust(DeepPoseKit):
    """Locusts from above, 35 points (the papers say 34)."""

    name = "desert-locust"
    title = "Desert Locust (DeepPoseKit)"
    folder = "datasets/locust"
    expected = Expected(unikpt=700, images=700, instances=700)
    needs = (Need(f"{folder}/annotation_data_release.h5", WHERE), Need(f"{folder}/skeleton.csv", WHERE))
    tables = {"desert locust": NameTable("locust", names_in("locust"))}
