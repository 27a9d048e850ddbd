"""Human-Art (`HumanArt/annotations/{training,validation}_humanart.json`): COCO json with 21 points and a style."""

from __future__ import annotations

from xpose.data.datasets.converters.base import LOADER_ONLY, Expected, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.converters.names import underscored
from xpose.data.datasets.sources import Fields
from xpose.records import Point

WHERE = "by the request form on the home page; --root is the folder that holds HumanArt/"
# The files *_humanart_coco.json hold COCO too: with the set "coco" beside this one, they would count it twice.
FILES = {
    "train": "HumanArt/annotations/training_humanart.json",
    "val": "HumanArt/annotations/validation_humanart.json",
}


class HumanArt(CocoLike):
    """Persons in photographs, paintings, cartoons, sculptures and other scenes; the scene is the record's style."""

    name = "humanart"
    title = "Human-Art"
    licence = "non-commercial"
    terms = "the annotation files name the author and page of every picture"
    homepage = "https://idea-research.github.io/HumanArt/"
    status = LOADER_ONLY
    left_right = "anatomical"
    origin = "not stated; COCO style, taken as 0-based"
    visibility = "as in the file; those of the sample that was read are visible (2) or absent"
    evaluation = "val; OKS-AP over the first 17 points, those of COCO"
    expected = Expected(unikpt=50_000)
    splits = {"train": "training_humanart.json", "val": "validation_humanart.json"}
    annotation_files = FILES
    picture_folders = {"train": "", "val": ""}  # file_name starts with HumanArt/images/
    needs = (*(Need(file, WHERE, (split,)) for split, file in FILES.items()), Need("HumanArt/images", WHERE))
    tables = {"person": underscored("humanart_person")}

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        """All 21; `keypoints` holds the first 17 of them again."""
        return annotation.points("keypoints_21", names)

    def style(self, image: Fields) -> str | None:
        """The scene: "digital art", "acrobatics", ..."""
        return image.text("category").replace("_", " ") if "category" in image else None
