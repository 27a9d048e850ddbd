"""COCO person keypoints: a drawn original, the real sample, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters.coco import PERSON
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import UnmappedKeypointError


def annotation(number: int, image: int, points: dict, **more: object) -> dict:
    flat = [value for name in PERSON.names.values() for value in (*points.get(name, (0, 0)), 2 * (name in points))]
    xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
    box = [min(xs) - 4, min(ys) - 4, max(xs) - min(xs) + 8, max(ys) - min(ys) + 8]
    fixed = {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": 500.5, "iscrowd": 0}
    return {**fixed, "keypoints": flat, "num_keypoints": len(points), **more}


def write_tree(root: Path) -> Tree:
    truth = {}
    for split, first in (("train", 1), ("val", 100)):
        images, annotations = [], []
        for number in range(first, first + 3):
            objects = [spread(PERSON.unified, 12, 12), spread(PERSON.unified[:6], 70, 40)][: number - first]
            name = f"{split}2017/{number:012}.jpg"
            draw(root / name, (120, 90), objects)
            truth[name] = Truth(objects, split)
            images.append({"id": number, "file_name": f"{number:012}.jpg", "width": 120, "height": 90, "license": 4})
            annotations += [annotation(10 * number + i, number, points) for i, points in enumerate(objects)]
        category = {"id": 1, "name": "person", "keypoints": list(PERSON.names), "skeleton": [[1, 2]]}
        file = f"annotations/person_keypoints_{split}2017.json"
        licences = [{"id": 4, "name": "Attribution License", "url": ""}]
        content = {"images": images, "annotations": annotations, "categories": [category], "licenses": licences}
        write_json(root / file, content)
    return Tree(root, truth, [f"annotations/person_keypoints_{split}2017.json" for split in ("train", "val")])


test_fuzz = fuzz_test("coco", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("coco", write_tree(tmp_path / "original"), tmp_path)
    record = records_of(done.folder)["val2017/000000000101.jpg"]
    assert record.licence == "Attribution License"
    assert record.source_id == "101"
    assert [instance.area for instance in record.instances] == [500.5]
    assert [instance.source_id for instance in record.instances] == ["1010"]
    assert ("left eye", "right eye") in record.instances[0].category.edges


def test_a_keypoint_without_unified_name_stops_the_build(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / tree.annotations[0]
    path.write_text(path.read_text().replace("left_eye", "left_eyee"))
    with pytest.raises(UnmappedKeypointError, match=r'"left_eyee".*Did you mean "left_eye"'):
        prepare("coco", tree.root, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 5555}, "belongs to no image"),
        ({"category_id": 2}, "no category 2"),
        ({"keypoints": [1, 2]}, "must be a list of 51 finite numbers"),
        ({"keypoints": [1, 2, 3] * 17}, "visibility"),
        ({"keypoints": None}, "must be a list"),
        ({"bbox": [1, 2, 0, 5]}, "no area"),
    ],
)
def test_one_bad_annotation_is_reported_and_the_others_stay(tmp_path: Path, change: dict, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / tree.annotations[0]
    content = json.loads(path.read_text())
    content["annotations"][-1].update(change)
    path.write_text(json.dumps(content))
    done = prepare("coco", tree.root, tmp_path)
    entries = read_report(done.folder / "report.json")
    assert [entry["what"] for entry in entries] == ["object"]
    assert reason in entries[0]["reason"]
    assert "31" in entries[0]["reason"], "the annotation's id is named"
    assert [len(record.instances) for record in records_of(done.folder).values()] == [0, 1, 1, 0, 1, 2]


def test_the_real_sample_keeps_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/coco")
    root = tmp_path / "original"
    link(sample / "test_coco.json", root / "annotations/person_keypoints_val2017.json")
    for picture in sample.glob("*.jpg"):
        link(picture, root / "val2017" / picture.name)
    done = prepare("coco", root, tmp_path)
    content = json.loads((sample / "test_coco.json").read_text())
    assert done.missing.keys() == {"train"}
    assert done.skipped.get("val", {}) == {}
    found = {i.source_id: i for record in records_of(done.folder).values() for i in record.instances}
    assert set(found) == {str(entry["id"]) for entry in content["annotations"]}
    for entry in content["annotations"]:
        instance = found[str(entry["id"])]
        flat = [value for name in PERSON.unified for value in instance.point(name)]
        expected = [0 if not entry["keypoints"][i // 3 * 3 + 2] else v for i, v in enumerate(entry["keypoints"])]
        assert flat == pytest.approx(expected)
        assert instance.box == pytest.approx(entry["bbox"], abs=0.001)
        assert instance.area == pytest.approx(entry["area"], abs=0.001)
        assert instance.iscrowd == bool(entry["iscrowd"])
