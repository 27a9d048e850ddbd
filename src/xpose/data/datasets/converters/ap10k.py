"""AP-10K (`ap-10k/annotations/ap10k-{train,val,test}-split{1,2,3}.json`): COCO json with a family per category."""

from __future__ import annotations

from xpose.data.datasets.converters.base import LOADER_ONLY, Expected, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.converters.names import category_of, underscored
from xpose.data.datasets.sources import Fields
from xpose.records import Taxonomy

WHERE = "the home page (ap-10k.zip)"
PARTS = ("train", "val", "test")
# The papers use split 1, so its parts have the plain names; 2 and 3 part the same pictures anew.
FILES = {
    part if number == 1 else f"{part}-split{number}": f"ap-10k/annotations/ap10k-{part}-split{number}.json"
    for number in (1, 2, 3)
    for part in PARTS
}
PICTURES = "ap-10k/data"
STYLES = {
    1: "grass background",
    2: "forest background",
    3: "mud or rock background",
    4: "snow background",
    5: "zoo or human background",
    6: "swamp background",
    7: "desert background",
    8: "mugshot",
}

# Shared with APT-36K.
ANIMAL = underscored("ap10k", {"tail base": "root_of_tail"})


class AP10K(CocoLike):
    """Animals of 54 categories in 23 families, 17 points.

    The family is kept as the file states it, also where zoology disagrees (it puts New World monkeys under
    Cercopithecidae). The zero-shot protocol by family chooses `category.taxonomy.family`: Bovidae, Canidae, Felidae.
    """

    name = "ap10k"
    title = "AP-10K"
    licence = "CC-BY-4.0 by its README, MIT by its annotation files"
    terms = "two licences are stated, and elsewhere it is called non-commercial: ask the authors before commercial use"
    homepage = "https://github.com/AlexTheBad/AP-10K"
    status = LOADER_ONLY
    left_right = "anatomical"
    origin = "not stated; COCO style, taken as 0-based"
    evaluation = "OKS-AP on val (of split 1); zero-shot by family: Bovidae, Canidae, Felidae"
    expected = Expected(unikpt=10_015, images=10_015, instances=13_028)
    splits = {
        split: "split 1 of three, the one that papers report"
        if split in PARTS
        else "the same pictures parted anew: not to be mixed with split 1"
        for split in FILES
    }
    annotation_files = FILES
    picture_folders = dict.fromkeys(FILES, PICTURES)
    needs = (*(Need(file, WHERE, (split,)) for split, file in FILES.items()), Need(PICTURES, WHERE))
    tables = {"animal": ANIMAL}

    def category_name(self, category: Fields) -> str:
        """The vocabulary's name: "rhino" is a rhinoceros."""
        return category_of(category.text("name"))

    def taxonomy(self, category: Fields) -> Taxonomy:
        """The supercategory is the family."""
        return Taxonomy(family=category.text("supercategory"))

    def style(self, image: Fields) -> str | None:
        """The background; a number that the README does not explain says nothing."""
        return STYLES.get(image.integer("background")) if "background" in image else None

    def picture_licence(self, stated: str) -> str:
        """Both of the licences that are stated."""
        return f"CC-BY-4.0 by its README, {stated} by its annotation file"
