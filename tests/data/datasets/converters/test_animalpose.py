"""Animal-Pose as json: a drawn original, the real records, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import box_round
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters.animalpose import ANIMAL, PICTURES, AnimalPose
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import DataError, UnmappedKeypointError
from xpose.vocabulary import load_skeleton

FILE = AnimalPose.annotation_files["test"]
CATEGORIES = {1: "dog", 2: "cat", 3: "sheep", 4: "horse", 5: "cow"}


def annotation(image: int, kind: int, points: dict) -> dict:
    x, y, width, height = box_round(points)
    triples = [[*points[name], 1] if name in points else [0, 0, 0] for name in ANIMAL.unified]
    corners = [x, y, x + width, y + height]
    return {"image_id": image, "bbox": corners, "keypoints": triples, "num_keypoints": 20, "category_id": kind}


def write_tree(root: Path) -> Tree:
    truth, images, annotations = {}, {}, []
    for number, kind in enumerate(CATEGORIES, start=1):
        objects = [spread(ANIMAL.unified[number % 3 :], 12, 12), spread(ANIMAL.unified[:7], 70, 40)][: 1 + number % 2]
        name = f"2007_{number:06}.jpg"
        draw(root / PICTURES / name, (120, 90), objects)
        truth[f"{PICTURES}/{name}"] = Truth(objects, "test")
        images[str(number)] = name
        annotations += [annotation(number, kind, points) for points in objects]
    categories = [
        {"id": number, "name": name, "supercategory": "animal", "keypoints": list(ANIMAL.names), "skeleton": [[0, 1]]}
        for number, name in CATEGORIES.items()
    ]
    content = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
    write_json(root / FILE, content)
    return Tree(root, truth, [FILE])


test_fuzz = fuzz_test("animalpose", write_tree)


def test_the_vocabulary_knows_the_names_by_itself() -> None:
    skeleton = load_skeleton(ANIMAL.skeleton)
    assert {name: skeleton.point(name).name for name in ANIMAL.names} == ANIMAL.names


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("animalpose", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    assert [record.instances[0].category.name for record in records.values()] == list(CATEGORIES.values())
    dog = records[f"{PICTURES}/2007_000001.jpg"].instances[1]
    assert dog.box == (66, 36, 40, 16)
    assert dog.source_id == "2", "its place in the file"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 99}, "belongs to no image"),
        ({"category_id": 9}, "no category 9"),
        ({"bbox": [9, 9, 9, 50]}, "no area"),
        ({"keypoints": [[1, 2, 1]] * 19}, "must be a list of 20"),
        ({"keypoints": [[1, 2]] * 20}, "must be a list of 3 finite numbers"),
        ({"keypoints": [[1, 2, 2]] * 20}, "not x, y and 0 or 1"),
    ],
)
def test_one_bad_annotation_is_reported_and_the_others_stay(tmp_path: Path, change: dict, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / FILE
    content = json.loads(path.read_text())
    content["annotations"][1].update(change)
    path.write_text(json.dumps(content))
    done = prepare("animalpose", tree.root, tmp_path)
    (entry,) = read_report(done.folder / "report.json")
    assert entry["what"] == "object"
    assert reason in entry["reason"]
    assert [len(record.instances) for record in records_of(done.folder).values()] == [1, 1, 2, 1, 2]


def test_other_names_or_another_order_stop_the_build(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / FILE
    content = json.loads(path.read_text())
    content["categories"][2]["keypoints"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="another order"):
        prepare("animalpose", tree.root, tmp_path)
    content["categories"][2]["keypoints"][0] = "tail_base"
    path.write_text(json.dumps(content))
    with pytest.raises(UnmappedKeypointError, match=r'"tail_base" has no unified name. Did you mean "tailbase"'):
        prepare("animalpose", tree.root, tmp_path)


def test_pictures_and_images_without_annotation_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    draw(tree.root / PICTURES / "unlisted.jpg", (120, 90), [])
    path = tree.root / FILE
    content = json.loads(path.read_text())
    content["annotations"].pop()
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    entries = read_report(prepare("animalpose", tree.root, tmp_path).folder / "report.json")
    assert {entry["file"]: entry["reason"] for entry in entries} == {
        f"{PICTURES}/2007_000005.jpg": "no annotation belongs to it, though it shows an animal",
        f"{PICTURES}/unlisted.jpg": "no annotation names this picture",
    }


def test_the_real_records_keep_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/animal_pose_raw")
    root = tmp_path / "original"
    link(sample / FILE, root / FILE)
    for picture in (sample / PICTURES).iterdir():
        link(picture, root / PICTURES / picture.name)
    done = prepare("animalpose", root, tmp_path)
    assert done.skipped.get("test", {}) == {}
    content = json.loads((sample / FILE).read_text())
    records = {record.source_id: record for record in records_of(done.folder).values()}
    assert {key: record.picture.file for key, record in records.items()} == {
        key: f"{PICTURES}/{name}" for key, name in content["images"].items()
    }
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    for entry in content["annotations"]:
        (animal,) = records[str(entry["image_id"])].instances
        assert animal.category.name == names[entry["category_id"]]
        assert [list(animal.point(name)) for name in ANIMAL.unified] == [
            [x, y, 2] if v else [0, 0, 0] for x, y, v in entry["keypoints"]
        ]
        left, top, right, bottom = entry["bbox"]
        assert animal.box == (left, top, right - left, bottom - top)
    dog = records["1"].instances[0]
    assert dog.point("right eye")[0] < dog.point("left eye")[0], "it faces the viewer"
    assert dog.point("left ear")[1] < dog.point("left eye")[1] < dog.point("nose")[1]
