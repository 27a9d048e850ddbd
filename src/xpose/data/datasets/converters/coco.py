"""COCO person keypoints (`annotations/person_keypoints_{train,val}2017.json`)."""

from __future__ import annotations

from xpose.data.datasets.converters.base import SEEN, Expected, NameTable, Need
from xpose.data.datasets.converters.coco_like import CocoLike

WHERE = "the dataset's home page: 2017 train/val annotations and images"

# Shared with every original that uses COCO's 17 points.
PERSON = NameTable(
    "person",
    {
        "nose": "nose",
        "left_eye": "left eye",
        "right_eye": "right eye",
        "left_ear": "left ear",
        "right_ear": "right ear",
        "left_shoulder": "left shoulder",
        "right_shoulder": "right shoulder",
        "left_elbow": "left elbow",
        "right_elbow": "right elbow",
        "left_wrist": "left wrist",
        "right_wrist": "right wrist",
        "left_hip": "left hip",
        "right_hip": "right hip",
        "left_knee": "left knee",
        "right_knee": "right knee",
        "left_ankle": "left ankle",
        "right_ankle": "right ankle",
    },
)


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
    visibility = "as in the file: 2 visible, 1 labelled but hidden"
    boxes = "as in the file"
    evaluation = "val2017, OKS-AP"
    expected = Expected(unikpt=58_945)
    splits = {"train": "train2017", "val": "val2017"}
    annotation_files = {split: f"annotations/person_keypoints_{split}2017.json" for split in ("train", "val")}
    picture_folders = {"train": "train2017", "val": "val2017"}
    own_folders = True
    needs = (
        Need("annotations/person_keypoints_train2017.json", WHERE, ("train",)),
        Need("train2017", WHERE, ("train",)),
        Need("annotations/person_keypoints_val2017.json", WHERE, ("val",)),
        Need("val2017", WHERE, ("val",)),
    )
    tables = {"person": PERSON}
