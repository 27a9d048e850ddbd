"""AP-10K: a drawn original, the real sample, families, licences, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import coco_annotation
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.converters.coco import ANIMAL, AP10K, AP10K_STYLES
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.sources import Fields
from xpose.vocabulary import load_skeleton

CATEGORIES = {
    1: ("antelope", "Bovidae"),
    8: ("dog", "Canidae"),
    26: ("jaguar", "Felidae"),
    45: ("rhino", "Rhinocerotidae"),
}
BOTH = "CC-BY-4.0 by its README, The MIT License by its annotation file"


def category(number: int) -> dict:
    name, family = CATEGORIES[number]
    return {"id": number, "name": name, "supercategory": family, "keypoints": list(ANIMAL.names), "skeleton": [[1, 2]]}


def write_split(root: Path, file: str, images: dict[int, list[tuple[int, dict]]], background: int = 5) -> None:
    """One annotation file: image number -> its animals as (category number, points)."""
    annotations = [
        coco_annotation(10 * image + number, image, kind, ANIMAL, points)
        for image, animals in images.items()
        for number, (kind, points) in enumerate(animals)
    ]
    size = {"width": 120, "height": 90, "license": 1}
    content = {
        "info": {"description": "AP-10k"},
        "licenses": [{"id": 1, "name": "The MIT License", "url": ""}],
        "images": [{"id": i, "file_name": f"{i:012}.jpg", "background": background, **size} for i in images],
        "annotations": annotations,
        "categories": [category(number) for number in CATEGORIES],
    }
    write_json(root / file, content)


def write_tree(root: Path) -> Tree:
    truth = {}
    for first, (split, file) in enumerate(AP10K.annotation_files.items()):
        if split.endswith(("-split2", "-split3")):
            continue  # the same pictures once more
        images = {}
        for number, kind in enumerate(CATEGORIES, start=10 * first + 1):
            objects = [spread(ANIMAL.unified, 12, 12), spread(ANIMAL.unified[:6], 70, 40)][: 1 + number % 2]
            name = f"{AP10K.picture_folder}/{number:012}.jpg"
            draw(root / name, (120, 90), objects)
            truth[name] = Truth(objects, split)
            images[number] = [(kind, points) for points in objects]
        write_split(root, file, images)
    return Tree(root, truth, [AP10K.annotation_files["train"], AP10K.annotation_files["val"]])


test_fuzz = fuzz_test("ap10k", write_tree)


def test_the_vocabulary_knows_the_names_by_itself() -> None:
    skeleton = load_skeleton(ANIMAL.skeleton)
    assert {name: skeleton.point(name).name for name in ANIMAL.names} == ANIMAL.names


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("ap10k", write_tree(tmp_path / "original"), tmp_path)
    assert set(done.counts) == {"train", "val", "test"}
    assert len(done.missing) == 6, "split 2 and 3"
    record = records_of(done.folder)[f"{AP10K.picture_folder}/000000000004.jpg"]
    assert record.licence == BOTH
    assert record.style == "zoo or human background"
    (rhino,) = record.instances
    assert (rhino.category.name, rhino.category.taxonomy.family) == ("rhinoceros", "Rhinocerotidae")
    assert "tail base" in rhino.keypoints


def test_the_three_splits_are_prepared_side_by_side(tmp_path: Path) -> None:
    root = tmp_path / "original"
    points = spread(ANIMAL.unified, 12, 12)
    draw(root / AP10K.picture_folder / "000000000007.jpg", (120, 90), [points])
    for split in ("train", "test-split2", "val-split3"):
        write_split(root, AP10K.annotation_files[split], {7: [(8, points)]})
    done = prepare("ap10k", root, tmp_path)
    assert {split: counts.images for split, counts in done.counts.items()} == {
        "train": 1,
        "test-split2": 1,
        "val-split3": 1,
    }


@pytest.mark.parametrize(("background", "style"), [*AP10K_STYLES.items(), (0, None), (9, None)])
def test_backgrounds(tmp_path: Path, background: int, style: str | None) -> None:
    root = tmp_path / "original"
    draw(root / AP10K.picture_folder / "000000000007.jpg", (120, 90), [])
    write_split(root, AP10K.annotation_files["val"], {7: []}, background)
    records = records_of(prepare("ap10k", root, tmp_path, splits=["val"]).folder)
    assert [record.style for record in records.values()] == [style]


def test_hidden_points_stay_hidden(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / AP10K.annotation_files["val"]
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"][2] = 1
    path.write_text(json.dumps(content))
    records = records_of(prepare("ap10k", tree.root, tmp_path, splits=["val"]).folder)
    first = next(iter(records.values())).instances[0]
    assert first.point("left eye")[2] == 1
    assert first.point("right eye")[2] == 2


def test_the_families_of_the_zero_shot_protocol_are_those_ids(tmp_path: Path) -> None:
    sample = shared("format_samples/ap10k")
    content = Fields(json.loads((sample / "test_ap10k.json").read_text()), "the sample")
    categories = dict(load_converter("ap10k").categories(content))
    assert len(categories) == 54
    ids: dict[str | None, list[int]] = {}
    for number, kind in categories.items():
        ids.setdefault(kind.category.taxonomy.family, []).append(number)
    assert len(ids) == 23
    assert ids["Bovidae"] == [1, 2, 3, 4, 5, 6]
    assert ids["Canidae"] == [7, 8, 9, 10]
    assert ids["Felidae"] == list(range(23, 33))


def test_the_real_sample_keeps_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/ap10k")
    root = tmp_path / "original"
    link(sample / "test_ap10k.json", root / AP10K.annotation_files["val"])
    for picture in sample.glob("*.jpg"):
        link(picture, root / AP10K.picture_folder / picture.name)
    done = prepare("ap10k", root, tmp_path, splits=["val"])
    assert done.skipped.get("val", {}) == {}
    content = json.loads((sample / "test_ap10k.json").read_text())
    records = records_of(done.folder)
    assert {record.licence for record in records.values()} == {BOTH}
    assert {record.style for record in records.values()} == {"grass background", "zoo or human background"}
    found = {i.source_id: i for record in records.values() for i in record.instances}
    assert set(found) == {str(entry["id"]) for entry in content["annotations"]}
    for entry in content["annotations"]:
        instance = found[str(entry["id"])]
        assert [value for name in ANIMAL.unified for value in instance.point(name)] == entry["keypoints"]
        assert list(instance.box) == entry["bbox"]
        assert instance.area == entry["area"]
    assert {i.category.name: i.category.taxonomy.family for i in found.values()} == {
        "antelope": "Bovidae",
        "jaguar": "Felidae",
    }
