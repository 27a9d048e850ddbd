"""COCO person keypoints and Human-Art: persons with 17 and 21 points in COCO json."""

from __future__ import annotations

from xpose.data.datasets.converters.base import Expected, NameTable, Need
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
    title = "COCO person keypoints 2017"
    licence = "annotations CC-BY-4.0; pictures under their own Flickr licences"
    terms = "each picture keeps the licence that the annotation file gives for it"
    homepage = "https://cocodataset.org"
    status = "seen"
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


class HumanArt(CocoLike):
    """Persons in photographs, paintings, cartoons, sculptures and other scenes; the scene is the record's style."""

    name = "humanart"
    title = "Human-Art"
    licence = "non-commercial"
    terms = "the annotation files name the author and page of every picture"
    homepage = "https://idea-research.github.io/HumanArt/"
    status = "loader only"
    left_right = "anatomical"
    origin = "not stated; COCO style, taken as 0-based"
    visibility = "as in the file; those of the sample that was read are visible (2) or absent"
    evaluation = "val; OKS-AP over the first 17 points, those of COCO"
    expected = Expected(unikpt=50_000)
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
