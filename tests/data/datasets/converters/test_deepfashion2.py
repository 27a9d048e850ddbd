"""DeepFashion2: a drawn original, the real sample turned back into the authors' form, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import box_round, flat_points
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json

from xpose.data.datasets.converters.deepfashion2 import SKELETONS, DeepFashion2
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report

TABLES = DeepFashion2.tables
# As the authors' README has it: for each category how many points, and where they begin among all 294.
STATED = {
    1: (25, 0),
    2: (33, 25),
    3: (31, 58),
    4: (39, 89),
    5: (15, 128),
    6: (15, 143),
    7: (10, 158),
    8: (14, 168),
    9: (8, 182),
    10: (29, 190),
    11: (37, 219),
    12: (19, 256),
    13: (19, 275),
}


def item(number: int, points: dict) -> dict:
    x, y, width, height = box_round(points)
    return {
        "category_name": SKELETONS[number].replace("_", " "),
        "category_id": number,
        "style": 0,
        "bounding_box": [int(x), int(y), int(x + width), int(y + height)],
        "landmarks": flat_points(TABLES[SKELETONS[number]], points),
        "segmentation": [[1, 1, 5, 1, 5, 5]],
        "scale": 1,
        "occlusion": 1,
        "zoom_in": 1,
        "viewpoint": 2,
    }


def write_tree(root: Path) -> Tree:
    truth, files = {}, []
    for number in SKELETONS:
        folder = "validation" if number > 9 else "train"
        other = 7 if number != 7 else 9
        kinds = [(number, 12, 12), (other, 12, 100)][: 1 + number % 2]
        objects = [spread(TABLES[SKELETONS[kind]].unified[kind % 2 :], left, top, 10, 8) for kind, left, top in kinds]
        name = f"{folder}/image/{number:06}.jpg"
        draw(root / name, (110, 140), objects)
        about = {"source": "shop" if number % 2 else "user", "pair_id": number}
        # items are not always numbered without a gap, and item1 need not come first
        items = {f"item{2 * place + 1}": item(kind, objects[place]) for place, (kind, _, _) in enumerate(kinds)}
        files.append(f"{folder}/annos/{number:06}.json")
        write_json(root / files[-1], {**items, **about})
        truth[name] = Truth(objects, folder)
    return Tree(root, truth, [files[0], files[1], files[12]])


test_fuzz = fuzz_test("deepfashion2", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("deepfashion2", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    top, shorts = records["train/image/000001.jpg"].instances
    assert (top.category.name, shorts.category.name) == ("short sleeve top", "shorts")
    assert (top.source_id, shorts.source_id) == ("item1", "item3")
    assert len({instance.category.name for record in records.values() for instance in record.instances}) == 13
    assert shorts.box == (8, 96, 78, 18), "corners become sides"


@pytest.mark.parametrize("number", SKELETONS)
def test_the_points_fill_the_stated_places(number: int) -> None:
    before = sum(len(TABLES[SKELETONS[other]].names) for other in range(1, number))
    names = TABLES[SKELETONS[number]].names
    assert (len(names), before) == STATED[number]
    assert list(names) == [str(place) for place in range(1, len(names) + 1)]


def test_what_has_no_partner_or_no_items_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "train/annos/000001.json").unlink()
    (tree.root / "train/image/000002.jpg").unlink()
    write_json(tree.root / "train/annos/000004.json", {"source": "user", "pair_id": 1})
    write_json(tree.root / "train/annos/000003.json", {"item1": item(14 - 7, {"crotch": (20, 20)}), "item2": "socks"})
    done = prepare("deepfashion2", tree.root, tmp_path)
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert reasons == {
        "train/image/000001.jpg": "no annotation file belongs to it",
        "train/annos/000002.json": "no picture belongs to it",
        "train/image/000003.jpg": 'train/annos/000003.json: item2 is "socks", not an object with named fields',
        "train/image/000004.jpg": "train/annos/000004.json holds no item",
    }


def test_the_real_sample_keeps_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/deepfashion2")
    root = tmp_path / "original"
    annotations = json.loads((sample / "deepfasion2.json").read_text())["annotations"]
    for annotation in annotations:
        count, start = STATED[annotation["category_id"]]
        x, y, width, height = annotation["bbox"]
        landmarks = annotation["keypoints"][3 * start : 3 * (start + count)]
        number = f"{annotation['image_id']:06}"
        content = {
            "category_id": annotation["category_id"],
            "bounding_box": [x, y, x + width, y + height],
            "landmarks": landmarks,
        }
        write_json(root / f"train/annos/{number}.json", {"source": "shop", "pair_id": 22, "item1": content})
        link(sample / f"{number}.jpg", root / f"train/image/{number}.jpg")
    done = prepare("deepfashion2", root, tmp_path, splits=["train"])
    assert done.skipped == {}
    records = records_of(done.folder)
    for annotation in annotations:
        (dress,) = records[f"train/image/{annotation['image_id']:06}.jpg"].instances
        assert dress.category.name == "long sleeve dress"
        assert dress.box == tuple(annotation["bbox"])
        assert len(dress.keypoints) == annotation["num_keypoints"]
        flat = annotation["keypoints"][3 * 219 : 3 * 256]
        told = [(x, y, int(v)) for x, y, v in zip(flat[0::3], flat[1::3], flat[2::3], strict=True)]
        assert [dress.point(name) for name in dress.category.keypoints] == [p if p[2] else (0, 0, 0) for p in told]
        neck = max(y for name, (_, y, _) in dress.keypoints.items() if "neckline" in name)
        assert neck < min(dress.point("right side 4")[1], dress.point("left side 4")[1])
        assert dress.point("right side 4")[0] < dress.point("left side 4")[0], "the wearer's sides, seen from the front"
