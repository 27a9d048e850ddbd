"""The skeletons against the annotation files of the data collection, where it lies beside the project."""

import json
from pathlib import Path

import pytest

from xpose.vocabulary import default_skeleton, find_category, load_skeleton

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SETS = {
    "alpine_birds": "alpine_bird",
    "animal_pose": "animal_pose",
    "carfusion_sample": "car",
    "coco_person": "person",
    "cub_birds": "cub_bird",
    "faces68": "face",
    "faces68_multi": "face",
    "fly_pair_predicted": "fly_pair",
    "format_samples/animal_kingdom/test_animalkingdom.json": "animal_kingdom",
    "format_samples/ap10k/test_ap10k.json": "animal",
    "format_samples/fly/test_fly.json": "fly",
    "format_samples/locust/test_locust.json": "locust",
    "format_samples/macaque/test_macaque.json": "person",
    "format_samples/onehand10k/test_onehand10k.json": "hand",
    "glue_tubes": "glue_tube",
    "hands": "hand",
    "honeybee": "honeybee",
    "livestock": "livestock",
    "lspet": "lspet_person",
    "mouse_mirror": "mouse_mirror",
    "mouse_openfield": "mouse_openfield",
    "mouse_reaching": "mouse_reaching",
    "salmon": "salmon",
    "salmon_side": "salmon_side",
    "sitting_person": "sitting_person",
    "steel_profiles": "",  # one for each category: the default of the category
    "vinegar_fly": "fly",
    "zebrafish_larva": "zebrafish_larva",
}


def categories(name: str) -> list[dict[str, object]]:
    file = DATA / name if name.endswith(".json") else DATA / name / "annotations.json"
    if not file.is_file():
        pytest.skip(f"the data collection is not here: {file} is missing")
    found = json.loads(file.read_text(encoding="utf-8"))["categories"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("name", SETS)
def test_points_of_the_set_are_those_of_its_skeleton_in_order(name: str) -> None:
    for category in categories(name):
        skeleton = load_skeleton(SETS[name] or default_skeleton(str(category["name"])).skeleton.name)
        fields = category["keypoints"]
        assert isinstance(fields, list)
        assert [skeleton.index(field) for field in fields] == list(range(len(skeleton)))


@pytest.mark.parametrize("name", [name for name in SETS if not name.startswith("format_samples")])
def test_categories_of_the_set_are_known(name: str) -> None:
    for category in categories(name):
        assert find_category(str(category["name"])) is not None


def test_families_are_those_of_ap10k() -> None:
    for row in categories("format_samples/ap10k/test_ap10k.json"):
        category = find_category(str(row["name"]))
        assert category is not None
        assert category.taxonomy.family in (row["supercategory"], None)
        assert category.taxonomy.family is not None or row["supercategory"] == "Cercopithecidae"
