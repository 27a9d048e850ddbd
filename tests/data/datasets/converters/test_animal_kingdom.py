"""Animal Kingdom: a drawn original, the real records, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import box_round
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters.animal_kingdom import ANIMAL, PICTURES, AnimalKingdom
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.vocabulary import load_skeleton

SIZE = (640, 360)
ANIMALS = {"Danube Salmon": "Fish", "Elephant": "Mammal", "Blue LabelledObject": "Bird"}


def record_of(image: str, animal: str, points: dict, protocol: str = "Protocol 1") -> dict:
    """A record as in the original: -1, -1 for joints without a place, centre and scale of the tight box."""
    left, top, width, height = box_round(points, 0)
    parent = ANIMALS[animal]
    return {
        "image": image,
        "animal": animal,
        "animal_parent_class": parent,
        "animal_class": parent,
        "animal_subclass": parent,
        "joints_vis": [int(name in points) for name in ANIMAL.unified],
        "joints": [list(points.get(name, (-1.0, -1.0))) for name in ANIMAL.unified],
        "scale": max(width, height) / 200,
        "center": [left + width / 2, top + height / 2],
        protocol: "test",
    }


def write_tree(root: Path) -> Tree:
    truth = {}
    for video, split in (("AAAAAAAA", "train"), ("BBBBBBBB", "test"), ("CCCCCCCC", "test-P3-fish")):
        records = []
        for frame, animal in enumerate(ANIMALS, start=11):
            points = spread(ANIMAL.unified[frame - 11 :], 40, 40, step=20)
            image = f"{video}/{video}_f{frame:06}.jpg"
            draw(root / PICTURES / image, SIZE, [points])
            truth[f"{PICTURES}/{image}"] = Truth([points], split)
            records.append(record_of(image, animal, points))
        write_json(root / AnimalKingdom.annotation_files[split], records)
    return Tree(root, truth, ["annotation/ak_P1/train.json", "annotation/ak_P3_fish/test.json"])


test_fuzz = fuzz_test("animal-kingdom", write_tree)


def test_the_vocabulary_knows_the_names_by_itself() -> None:
    skeleton = load_skeleton(ANIMAL.skeleton)
    assert {name: skeleton.point(name).name for name in ANIMAL.names} == ANIMAL.names


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("animal-kingdom", write_tree(tmp_path / "original"), tmp_path)
    assert set(done.counts) == {"train", "test", "test-P3-fish"}
    records = records_of(done.folder)
    videos: dict[str | None, set[str]] = {}
    for record in records.values():
        videos.setdefault(record.group, set()).add(record.picture.file.split("/")[1])
    assert videos == {name: {name} for name in ("AAAAAAAA", "BBBBBBBB", "CCCCCCCC")}
    kinds = {(i.category.name, i.category.taxonomy.class_) for record in records.values() for i in record.instances}
    assert kinds == {("Danube salmon", "Fish"), ("elephant", "Mammalia"), ("Blue LabelledObject", "Aves")}
    salmon = records[f"{PICTURES}/AAAAAAAA/AAAAAAAA_f000011.jpg"].instances[0]
    assert salmon.box == (40, 40, 80, 80), "the tight box"


def test_two_records_of_one_picture_are_two_animals(tmp_path: Path) -> None:
    root = tmp_path / "original"
    first, second = spread(ANIMAL.unified, 40, 40, step=20), spread(ANIMAL.unified[:9], 300, 40, step=20)
    draw(root / PICTURES / "A/A_f000001.jpg", SIZE, [first, second])
    records = [record_of("A/A_f000001.jpg", "Elephant", points) for points in (first, second)]
    write_json(root / "annotation/ak_P2/test.json", records)
    (record,) = records_of(prepare("animal-kingdom", root, tmp_path).folder).values()
    assert [len(instance.keypoints) for instance in record.instances] == [23, 9]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: record["joints_vis"].__setitem__(0, 2), "not 0 or 1"),
        (lambda record: record["joints_vis"].pop(), "list of 23 finite numbers"),
        (lambda record: (record["joints_vis"].pop(), record["joints"].pop()), "there are 22 points"),
        (lambda record: record["joints"].__setitem__(0, [-1.0, -1.0]), "counts as visible, but has no place"),
        (lambda record: record["joints"].__setitem__(0, [5.0]), "must be a list of 2 finite numbers"),
        (lambda record: record.update(joints_vis=[0] * 23), "neither a box nor a labelled point"),
        (lambda record: record.update(joints_vis=[1] + [0] * 22), "no area"),
        (lambda record: record.pop("animal"), '"animal" is missing'),
    ],
)
def test_wrong_records_are_reported(tmp_path: Path, change: object, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "annotation/ak_P1/train.json"
    content = json.loads(path.read_text())
    change(content[0])  # type: ignore[operator]
    path.write_text(json.dumps(content))
    done = prepare("animal-kingdom", tree.root, tmp_path, splits=["train"])
    (entry,) = read_report(done.folder / "report.json")
    assert entry["file"] == f"{PICTURES}/{content[0]['image']}"
    assert reason in entry["reason"]
    assert done.counts["train"].images == 2


def test_the_real_records_keep_every_number(tmp_path: Path) -> None:
    """The sample has no pictures: empty ones of the stated size stand in."""
    sample = shared("format_samples/animal_kingdom_raw")
    root = tmp_path / "original"
    link(sample / "annotation/ak_P3_fish/test.json", root / "annotation/ak_P3_fish/test.json")
    content = json.loads((sample / "annotation/ak_P3_fish/test.json").read_text())
    for entry in content:
        draw(root / PICTURES / entry["image"], SIZE, [])
    done = prepare("animal-kingdom", root, tmp_path)
    assert done.skipped.get("test-P3-fish", {}) == {}
    records = records_of(done.folder)
    assert len(records) == len(content) == 3
    for entry in content:
        (fish,) = records[f"{PICTURES}/{entry['image']}"].instances
        told = [
            (*place, 2 * v) if v else (0, 0, 0) for place, v in zip(entry["joints"], entry["joints_vis"], strict=True)
        ]
        assert [fish.point(name) for name in ANIMAL.unified] == told
        x, y, width, height = fish.box
        assert [x + width / 2, y + height / 2] == pytest.approx(entry["center"], abs=0.01)
        assert max(width, height) / 200 == pytest.approx(entry["scale"], abs=0.001)
        assert (fish.category.name, fish.category.taxonomy.class_) == ("Danube salmon", "Fish")
