"""Animal Kingdom's COCO form: a drawn original, the real samples against the raw form, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import box_round, flat_points
from tests.data.datasets.converters.test_animal_kingdom import ANIMALS, SIZE
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters.animal_kingdom import ANIMAL, PICTURES, AnimalKingdomCoco
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report

FILES = AnimalKingdomCoco.annotation_files
CLASSES = ("Amphibian", "Bird", "Fish", "Mammal", "Reptile")


def annotation(number: int, animal: str, points: dict) -> dict:
    left, top, width, height = box_round(points, 0)
    flat = flat_points(ANIMAL, points, 1)
    return {
        "id": number,
        "image_id": number,
        "category_id": 1 + CLASSES.index(ANIMALS[animal]),
        "animal_parent_class": ANIMALS[animal],
        "animal": animal,
        "bbox": [left + 0.5, top + 0.5, width - 1, height - 1],
        "area": (width - 1) * (height - 1),
        "iscrowd": 0,
        "num_keypoints": len(points),
        "keypoints": [value if flat[3 * (i // 3) + 2] or i % 3 == 2 else -1.0 for i, value in enumerate(flat)],
    }


def write_tree(root: Path) -> Tree:
    truth = {}
    categories = [
        {"id": i, "name": name, "supercategory": "AK_Animal", "keypoints": list(ANIMAL.names), "skeleton": [[1, 0]]}
        for i, name in enumerate(CLASSES, start=1)
    ]
    for video, split in (("AAAAAAAA", "train"), ("CCCCCCCC", "test-P3-fish")):
        images, annotations = [], []
        for frame, animal in enumerate(ANIMALS):
            points = spread(ANIMAL.unified[frame:], 40, 40, step=20)
            image = f"{video}/{video}_f{frame:06}.jpg"
            draw(root / PICTURES / image, SIZE, [points])
            truth[f"{PICTURES}/{image}"] = Truth([points], split)
            images.append({"id": frame, "file_name": image, "width": SIZE[0], "height": SIZE[1]})
            annotations.append(annotation(frame, animal, points))
        licences = [{"url": "", "id": 1, "name": ""}]
        content = {"images": images, "annotations": annotations, "categories": categories, "licenses": licences}
        write_json(root / FILES[split], content)
    return Tree(root, truth, [FILES["train"], FILES["test-P3-fish"]])


test_fuzz = fuzz_test("animal-kingdom-coco", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("animal-kingdom-coco", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    assert {record.group for record in records.values()} == {"AAAAAAAA", "CCCCCCCC"}
    kinds = {(i.category.name, i.category.taxonomy.class_) for record in records.values() for i in record.instances}
    assert kinds == {("Danube salmon", "Fish"), ("elephant", "Mammalia"), ("Blue LabelledObject", "Aves")}


def test_a_picture_without_annotation_is_no_empty_picture(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / FILES["train"]
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    done = prepare("animal-kingdom-coco", tree.root, tmp_path, splits=["train"])
    (entry,) = read_report(done.folder / "report.json")
    assert "leaves out animals with a single labelled point" in entry["reason"]
    assert done.counts["train"].images == 2


def test_the_real_pictures_and_their_annotations(tmp_path: Path) -> None:
    """The sample was cut down to two of the file's five categories, so the other three are put back."""
    sample = shared("format_samples/animal_kingdom")
    root = tmp_path / "original"
    content = json.loads((sample / "test_animalkingdom.json").read_text())
    first = content["categories"][0]
    content["categories"] = [{**first, "id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    write_json(root / FILES["test"], content)
    for picture in sample.rglob("*.jpg"):
        link(picture, root / PICTURES / picture.relative_to(sample))
    done = prepare("animal-kingdom-coco", root, tmp_path)
    assert done.skipped.get("test", {}) == {}
    found = {i.source_id: i for record in records_of(done.folder).values() for i in record.instances}
    assert set(found) == {str(entry["id"]) for entry in content["annotations"]}
    for entry in content["annotations"]:
        elephant = found[str(entry["id"])]
        assert elephant.category.name == "elephant"
        triples = zip(*[iter(entry["keypoints"])] * 3, strict=True)
        told = [(x, y, 2) if v else (0, 0, 0) for x, y, v in triples]
        for name, point in zip(ANIMAL.unified, told, strict=True):
            assert elephant.point(name) == pytest.approx(point, abs=0.001)
        assert elephant.box == pytest.approx(entry["bbox"], abs=0.001)
        assert elephant.point("head top")[1] < elephant.point("left wrist")[1], "the elephant stands upright"


def test_both_forms_of_the_real_records_agree(tmp_path: Path) -> None:
    sample = shared("format_samples/animal_kingdom_raw")
    place = "ak_P3_fish/test.json"
    root = tmp_path / "original"
    for form in ("annotation", "annotation_coco"):
        link(sample / form / place, root / form / place)
    for entry in json.loads((sample / "annotation" / place).read_text()):
        draw(root / PICTURES / entry["image"], SIZE, [])
    raw = records_of(prepare("animal-kingdom", root, tmp_path).folder)
    coco = records_of(prepare("animal-kingdom-coco", root, tmp_path).folder)
    assert raw.keys() == coco.keys()
    for name, record in raw.items():
        (one,), (other,) = record.instances, coco[name].instances
        assert (one.keypoints, one.category) == (other.keypoints, other.category)
        x, y, width, height = one.box
        assert other.box == (x + 0.5, y + 0.5, width - 1, height - 1)
        assert record.group == coco[name].group
