"""COCO person keypoints (`annotations/person_keypoints_{train,val}2017.json`)."""

from __future__ import annotations

from xpose.data.datasets.converters.base import SEEN, Expected, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.converters.names import underscored

WHERE = "the dataset's home page: 2017 train/val annotations and images"
FILES = {split: f"annotations/person_keypoints_{split}2017.json" for split in ("train", "val")}
FOLDERS = {"train": "train2017", "val": "val2017"}

# Shared with every original that uses COCO's 17 points.
PERSON = underscored("person")


class Coco(CocoLike):
    """Persons with 17 points; pictures without a person are kept, since COCO labels every person."""

    name = "coco"
    title = "COCO person keypoints 2017"
    licence = "annotations CC-BY-4.0; pictures under their own Flickr licences"
    terms = "each picture keeps the licence that the annotation file gives for it"
    homepage = "https://cocodataset.org"
    status = SEEN
    left_right = "anatomical"
    origin = "0-based pixels, as in the file"
    evaluation = "val2017, OKS-AP"
    expected = Expected(unikpt=58_945)
    splits = FOLDERS
    annotation_files = FILES
    picture_folders = FOLDERS
    own_folders = True
    needs = tuple(Need(path, WHERE, (split,)) for split in FILES for path in (FILES[split], FOLDERS[split]))
    tables = {"person": PERSON}
