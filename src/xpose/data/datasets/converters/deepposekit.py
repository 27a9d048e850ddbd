"""Base class and sets of DeepPoseKit: pictures and points are arrays in one h5 file, point names are in a csv file.

The file's own table of mirror partners (second column of `skeleton`, and `swap` in the csv) is wrong for the middle
legs of the fly, so it is not read: partners come from the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from xpose.data.datasets.converters.array_files import WAY_OUT, array_in, open_h5
from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, category_of
from xpose.data.datasets.sources import SourceFolder, as_number, box_of_points
from xpose.errors import DataError, quote
from xpose.records import MAX_SIDE, VISIBLE, Instance, Point, Record, Taxonomy
from xpose.vocabulary import find_category

if TYPE_CHECKING:
    import numpy as np

TRAIN_SHARE = 0.9
UNSET = (-1.0, -1.0)
LIMITS = (10_000_000, MAX_SIDE, MAX_SIDE)  # rows, height, width


class DeepPoseKit(Converter):
    """One animal per picture, filling it."""

    file: ClassVar[str]  # the pictures and points
    names_file: ClassVar[str]

    def __init__(self) -> None:
        ((self.animal, self.table),) = self.tables.items()

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry]:
        """One entry per row of the split, in the file's order; the pictures are named by row, from 0."""
        self._check_names(source)
        with open_h5(source, self.file) as file:
            count = len(self._arrays(file)[0])
        stamp = source.stamped([self.file])
        for row in sorted(_rows(count, split)):
            yield PictureEntry(f"pictures/row_{row:05}.png", row, stamp)

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        with open_h5(source, self.file) as file:
            pixels, places, confirmed = (array[entry.data] for array in self._arrays(file))
        points = self.table.by_order(_point(place, bool(sure)) for place, sure in zip(places, confirmed, strict=True))
        if not points:
            raise DataError("nobody has confirmed any of its points")
        picture = source.save_picture(entry.name.removeprefix("pictures/"), pixels[:, :, 0])
        match = find_category(self.animal)
        taxonomy = Taxonomy(species=match.taxonomy.species if match else None)
        category = self.table.category(category_of(self.animal), taxonomy)
        x, y, width, height = box_of_points(points.values())
        instance = Instance(category, (x, y, width + 1, height + 1), points)
        return self.make(picture, [instance], split, source_id=str(entry.data))

    def _arrays(self, file: Any) -> tuple[Any, Any, Any]:
        images = array_in(file, "images", "u", (None, None, None, 1), self.file)
        points = array_in(file, "annotations", "f", (len(images), len(self.table.names), 2), self.file)
        confirmed = array_in(file, "annotated", "bui", (len(images), len(self.table.names)), self.file)
        fits = all(0 < length <= limit for length, limit in zip(images.shape, LIMITS, strict=False))
        if images.dtype.itemsize != 1 or not fits:
            shape = " x ".join(map(str, images.shape))
            raise DataError(
                f"The pictures in {quote(self.file)} are {shape} of {images.dtype}, not pictures of bytes. {WAY_OUT}"
            )
        return images, points, confirmed

    def _check_names(self, source: SourceFolder) -> None:
        """Require the table's names and order in the csv, since the h5 file only has numbers."""
        names = [row["name"] for row in source.table(self.names_file, ("name",))]
        self.table.check(names)
        if names != list(self.table.names):
            raise DataError(f"{quote(self.names_file)} lists points in another order or number. {WAY_OUT}")


class VinegarFly(DeepPoseKit):
    """Fruit flies from above, 32 points (the papers say 31)."""

    file, names_file = "datasets/fly/annotation_data_release.h5", "datasets/fly/skeleton.csv"
    tables = {"vinegar fly": NameTable.from_skeleton("fly")}


class DesertLocust(DeepPoseKit):
    """Locusts from above, 35 points (the papers say 34)."""

    file, names_file = "datasets/locust/annotation_data_release.h5", "datasets/locust/skeleton.csv"
    tables = {"desert locust": NameTable.from_skeleton("locust")}


def _rows(count: int, split: str) -> list[int]:
    import numpy as np

    shuffled = np.random.RandomState(0).permutation(count).tolist()
    cut = int(TRAIN_SHARE * count)
    return shuffled[:cut] if split == "train" else shuffled[cut:]


def _point(place: np.ndarray, sure: bool) -> Point:
    x, y = (as_number(float(value)) for value in place)
    if not sure or (x, y) == UNSET:
        return 0.0, 0.0, 0
    if x is None or y is None:
        raise DataError(f"one of its points is at ({place[0]}, {place[1]}), not at two finite numbers")
    return x, y, VISIBLE
