"""Animal Kingdom in the authors' COCO form (`annotation_coco/PROTOCOL/{train,test}.json`), which MMPose uses."""

from __future__ import annotations

from typing import Any

from xpose.data.datasets.converters.animal_kingdom import (
    PICTURES,
    PLACES,
    WHERE,
    AnimalKingdom,
    species_of,
    video_of,
)
from xpose.data.datasets.converters.base import Entry, Need
from xpose.data.datasets.converters.coco_like import CocoImage, CocoLike
from xpose.data.datasets.sources import Fields, Source
from xpose.errors import DataError
from xpose.records import VISIBLE, Instance, Picture, Record, replaced

FILES = {split: f"annotation_coco/{place}.json" for split, place in PLACES.items()}


class AnimalKingdomCoco(CocoLike, AnimalKingdom):
    """The same pictures and points as `animal-kingdom`; the file's categories are classes, its animals stand beside."""

    name = "animal-kingdom-coco"
    title = "Animal Kingdom (pose estimation, COCO form)"
    visibility = "only labelled (1 in the file) or not: labelled points become 2"
    boxes = "as in the file: the extent of the labelled points moved by half a pixel and made one pixel smaller"
    annotation_files = FILES
    picture_folders = dict.fromkeys(FILES, PICTURES)
    needs = (*(Need(file, WHERE, (split,)) for split, file in FILES.items()), Need(PICTURES, WHERE))

    def group(self, image: Fields) -> str | None:
        """The video."""
        return video_of(image.text("file_name"))

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """A picture without annotation still shows an animal, so it must not count as an empty picture."""
        if not entry.data.annotations:
            raise DataError("it has no annotation: the COCO form leaves out animals with a single labelled point")
        return super().record(source, split, entry)

    def instance(self, annotation: Any, number: str, data: CocoImage, picture: Picture) -> Instance:
        """The annotation's animal instead of the category, and 2 for every labelled point."""
        instance = super().instance(annotation, number, data, picture)
        points = {name: (x, y, VISIBLE) for name, (x, y, _) in instance.keypoints.items()}
        category = species_of(Fields(annotation, f"annotation {number}"))
        return replaced(instance, category=category, keypoints=points)
