"""Human-Art: a drawn original, the real sample, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import coco_annotation, flat_points
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.converters.coco import HumanArt
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.vocabulary import load_skeleton

TABLE = load_converter("humanart").tables["person"]
SCENES = {"2D_virtual_human/digital_art": 2, "3D_virtual_human/garage_kits": 12, "real_human/acrobatics": 15}


def annotation(number: int, image: int, points: dict) -> dict:
    common = coco_annotation(number, image, 1, TABLE, points)
    flat = common["keypoints"]
    return {
        **common,
        "keypoints": flat[: 3 * 17],
        "keypoints_21": flat,
        "num_keypoints": sum(1 for v in flat[2 : 3 * 17 : 3] if v),
        "num_keypoints_21": len(points),
        "self_contact": [[20, 20]],
        "annotator": 67037,
    }


def write_tree(root: Path) -> Tree:
    truth = {}
    for split, file in HumanArt.annotation_files.items():
        images, annotations = [], []
        for number, (scene, prefix) in enumerate(SCENES.items(), start=1 + 10 * (split == "val")):
            image = prefix * 10**12 + number  # larger than 32 bit, as in the original
            name = f"HumanArt/images/{scene}/{number:012}.jpg"
            objects = [spread(TABLE.unified, 12, 12), spread(TABLE.unified[15:], 70, 40)][: 1 + number % 2]
            draw(root / name, (120, 90), objects)
            truth[name] = Truth(objects, split)
            category = scene.split("/")[1].replace("_", " ")
            description = f"{category}, a person"
            fixed = {"id": image, "file_name": name, "width": 120, "height": 90, "author": "nobody"}
            images.append({**fixed, "category": category, "description": description})
            annotations += [annotation(image + i, image, points) for i, points in enumerate(objects)]
        category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(TABLE.names)}
        write_json(root / file, {"images": images, "annotations": annotations, "categories": [category]})
    return Tree(root, truth, list(HumanArt.annotation_files.values()))


test_fuzz = fuzz_test("humanart", write_tree)


def test_the_vocabulary_knows_the_names_by_itself() -> None:
    skeleton = load_skeleton(TABLE.skeleton)
    assert {name: skeleton.point(name).name for name in TABLE.names} == TABLE.names


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("humanart", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    assert {record.style for record in records.values()} == {"digital art", "garage kits", "acrobatics"}
    first = records["HumanArt/images/2D_virtual_human/digital_art/000000000001.jpg"]
    assert first.style == "digital art"
    assert first.source_id == "2000000000001"
    assert {"left finger", "right toe"} <= set(first.instances[1].keypoints)
    assert ("right ankle", "right toe") in first.instances[0].category.edges


def test_an_annotation_with_17_points_only_is_reported(tmp_path: Path) -> None:
    """The files mixed with COCO have such ones; they are COCO's, and converting them here would count them twice."""
    tree = write_tree(tmp_path / "original")
    path = tree.root / HumanArt.annotation_files["train"]
    content = json.loads(path.read_text())
    del content["annotations"][-1]["keypoints_21"]
    path.write_text(json.dumps(content))
    done = prepare("humanart", tree.root, tmp_path, splits=["train"])
    (entry,) = read_report(done.folder / "report.json")
    assert (entry["what"], '"keypoints_21" is missing' in entry["reason"]) == ("object", True)


def test_the_real_sample_keeps_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/humanart")
    root = tmp_path / "original"
    link(sample / "test_humanart.json", root / HumanArt.annotation_files["val"])
    for picture in sample.rglob("*.jpg"):
        link(picture, root / "HumanArt/images" / picture.relative_to(sample))
    done = prepare("humanart", root, tmp_path)
    assert done.skipped.get("val", {}) == {}
    content = json.loads((sample / "test_humanart.json").read_text())
    records = records_of(done.folder)
    assert {record.source_id: record.style for record in records.values()} == {
        str(image["id"]): image["category"] for image in content["images"]
    }
    found = {i.source_id: i for record in records.values() for i in record.instances}
    assert set(found) == {str(entry["id"]) for entry in content["annotations"]}
    for entry in content["annotations"]:
        instance = found[str(entry["id"])]
        assert flat_points(TABLE, {name: (x, y) for name, (x, y, _) in instance.keypoints.items()}) == pytest.approx(
            entry["keypoints_21"], abs=0.001
        )
        assert entry["keypoints_21"][: 3 * 17] == entry["keypoints"], "the rule that `points` relies on"
        assert instance.box == pytest.approx(entry["bbox"], abs=0.001)
        assert instance.area == pytest.approx(entry["area"], abs=0.001)
