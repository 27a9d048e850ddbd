"""COCO person keypoints and Human-Art: persons with 17 and 21 points in COCO json."""

from __future__ import annotations

from xpose.data.datasets.converters.base import NameTable, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.sources import Fields
from xpose.records import Point

WHERE = "the dataset's home page: 2017 train/val annotations and images"
FILES = {split: f"annotations/person_keypoints_{split}2017.json" for split in ("train", "val")}
FOLDERS = {"train": "train2017", "val": "val2017"}

HUMANART_WHERE = "by the request form on the home page; --root is the folder that holds HumanArt/"
# The files *_humanart_coco.json hold COCO too: with the set "coco" beside this one, they would count it twice.
HUMANART_FILES = {
    "train": "HumanArt/annotations/training_humanart.json",
    "val": "HumanArt/annotations/validation_humanart.json",
}

# Shared with every original that uses COCO's 17 points.
PERSON = NameTable.underscored("person")


class Coco(CocoLike):
    """Persons with 17 points; pictures without a person are kept, since COCO labels every person."""

    name = "coco"
    splits = FOLDERS
    annotation_files = FILES
    picture_folders = FOLDERS
    own_folders = True
    needs = tuple(Need(path, WHERE, (split,)) for split in FILES for path in (FILES[split], FOLDERS[split]))
    tables = {"person": PERSON}


class HumanArt(CocoLike):
    """Persons in photographs, paintings, cartoons, sculptures and other scenes; the scene is the record's style."""

    name = "humanart"
    splits = {"train": "training_humanart.json", "val": "validation_humanart.json"}
    annotation_files = HUMANART_FILES
    picture_folders = {"train": "", "val": ""}  # file_name starts with HumanArt/images/
    needs = (
        *(Need(file, HUMANART_WHERE, (split,)) for split, file in HUMANART_FILES.items()),
        Need("HumanArt/images", HUMANART_WHERE),
    )
    tables = {"person": NameTable.underscored("humanart_person")}

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        """All 21; `keypoints` holds the first 17 of them again."""
        return annotation.points("keypoints_21", names)

    def style(self, image: Fields) -> str | None:
        """The scene: "digital art", "acrobatics", ..."""
        return image.text("category").replace("_", " ") if "category" in image else None
