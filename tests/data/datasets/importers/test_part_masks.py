"""Part masks as weak keypoints: polygons, both kinds of run lengths, parts in pieces, several objects, damage."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as oracle
from tests.data.imports import check_imported, fuzz_import
from tests.data.trees import RADIUS, Tree, Truth, draw, records_of, spread, write_json

from xpose.data.datasets.importers import import_set, imported_skeletons
from xpose.data.datasets.importers.part_masks import point_of, read_mask, unpack
from xpose.data.datasets.report import read_report
from xpose.errors import DataError
from xpose.records import Picture

pytest.importorskip("scipy", reason="needs scipy, which the extra `data` brings")

PARTS = ("Head", "Body", "Tail")
SIZE = (120, 90)
CATEGORIES = [{"id": i, "name": f"Quadruped {part}", "supercategory": "Quadruped"} for i, part in enumerate(PARTS)] + [
    {"id": 7, "name": "Bird Head", "supercategory": "Bird"}
]


def mask_of(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    for left, top, right, bottom in rectangles:
        mask[top : bottom + 1, left : right + 1] = 1
    return mask


def packed(mask: np.ndarray) -> dict:
    runs = oracle.encode(np.asfortranarray(mask))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode()}


def plain(mask: np.ndarray) -> dict:
    flat = mask.T.ravel()
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = [b - a for a, b in pairwise(edges)]
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def polygon(mask_box: tuple[int, int, int, int]) -> list:
    left, top, right, bottom = mask_box
    return [[left, top, right, top, right, bottom, left, bottom]]


def dot(x: float, y: float) -> tuple[int, int, int, int]:
    return int(x) - RADIUS, int(y) - RADIUS, int(x) + RADIUS, int(y) + RADIUS


def annotation(number: int, image: int, category: int, segmentation: object, **more: object) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def write_tree(root: Path) -> Tree:
    truth, images, annotations = {}, [], []
    for number in range(3):
        points = spread(PARTS[: 3 - number] if number < 2 else PARTS, 30, 30, step=20)
        name = f"images/{number}.png"
        truth[name] = Truth([points], "train", visibility=1)
        draw(root / name, SIZE, [points])
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]})
        for i, (part, place) in enumerate(points.items()):
            form = (polygon, lambda box: packed(mask_of(box)), lambda box: plain(mask_of(box)))[i]
            annotations.append(annotation(10 * number + i, number, PARTS.index(part), form(dot(*place))))
    write_json(
        root / "annotations/train.json", {"images": images, "annotations": annotations, "categories": CATEGORIES}
    )
    return Tree(root, truth, ["annotations/train.json"])


test_fuzz = fuzz_import("part-masks", write_tree, "annotations/train.json")


def test_imported(tmp_path: Path) -> None:
    done = check_imported("part-masks", write_tree(tmp_path / "original"), "", tmp_path)
    animal = records_of(done.prepared.folder)["images/2.png"].instances[0]
    assert animal.category.name == "Quadruped"
    assert animal.category.keypoints == PARTS
    assert animal.area == 3 * (2 * RADIUS + 1) ** 2
    assert animal.box == (28, 28, 45, 5), "round all parts"
    assert set(imported_skeletons(done.prepared.folder)) == {"Quadruped of mine", "Bird of mine"}


def one(tmp_path: Path, annotations: list[dict], categories: list[dict] | None = None):
    draw(tmp_path / "original/a.png", SIZE, [])
    image = {"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}
    content = {"images": [image], "annotations": annotations, "categories": categories or CATEGORIES}
    write_json(tmp_path / "original/a.json", content)
    done = import_set("part-masks", tmp_path / "original/a.json", tmp_path / "out", name="mine")
    return records_of(done.prepared.folder).get("a.png"), read_report(done.prepared.folder / "report.json")


def test_each_whole_in_a_picture_is_an_object(tmp_path: Path) -> None:
    boxes = ((10, 10, 20, 20), (30, 10, 50, 30), (70, 60, 90, 80))
    record, _ = one(
        tmp_path,
        [annotation(i, 1, c, packed(mask_of(b))) for i, (c, b) in enumerate(zip((0, 1, 7), boxes, strict=True))],
    )
    assert [(each.category.name, each.keypoints) for each in record.instances] == [
        ("Quadruped", {"Head": (15, 15, 1), "Body": (40, 20, 1)}),
        ("Bird", {"Head": (80, 70, 1)}),
    ]
    assert record.instances[0].box == (10, 10, 41, 21)


def test_a_field_can_say_which_object_a_part_belongs_to(tmp_path: Path) -> None:
    boxes = ((10, 10, 20, 20), (30, 10, 50, 30))
    parts = [annotation(i, 1, 0, packed(mask_of(box)), object_id=i) for i, box in enumerate(boxes)]
    record, _ = one(tmp_path, parts)
    assert [each.keypoints for each in record.instances] == [{"Head": (15, 15, 1)}, {"Head": (40, 20, 1)}]


def test_a_part_in_even_pieces_gets_no_point_but_counts_for_the_box(tmp_path: Path) -> None:
    feet = [(10, 80, 14, 84), (30, 80, 34, 84), (50, 80, 54, 84)]
    whole = annotation(1, 1, 1, packed(mask_of((10, 20, 60, 50))))
    for shaped in (
        [annotation(2, 1, 2, packed(mask_of(*feet)))],
        [annotation(2 + i, 1, 2, packed(mask_of(foot))) for i, foot in enumerate(feet)],
    ):
        record, report = one(tmp_path, [whole, *shaped])
        (animal,) = record.instances
        assert set(animal.keypoints) == {"Body"}
        assert animal.box == (10, 20, 51, 65)
        assert [entry["what"] for entry in report] == ["point"]
        assert '"Tail" gets no keypoint: its mask is in 3 pieces' in report[0]["reason"]


def test_the_largest_piece_stands_for_a_part(tmp_path: Path) -> None:
    record, report = one(tmp_path, [annotation(1, 1, 0, packed(mask_of((10, 10, 30, 30), (60, 60, 62, 62))))])
    assert record.instances[0].keypoints == {"Head": (20, 20, 1)}
    assert report == []


def test_a_point_lies_on_its_part() -> None:
    ring = mask_of((20, 20, 60, 60)) - mask_of((25, 25, 55, 55))
    x, y = point_of(ring)
    assert ring[int(y), int(x)] == 1
    assert point_of(mask_of((20, 20, 61, 60))) == (40.5, 40), "between two pixels is on the part"


@pytest.mark.parametrize("seed", range(20))
def test_masks_agree_with_pycocotools(seed: int) -> None:
    chosen = np.random.default_rng(seed)
    mask = (chosen.random((23, 31)) < chosen.random()).astype(np.uint8)
    picture = Picture("a.png", 31, 23)
    if not mask.any():
        mask[0, 0] = 1
    for form in (packed, plain):
        assert np.array_equal(read_mask(form(mask), picture), mask.astype(bool))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "neither polygons nor run lengths"),
        ([], "neither polygons nor run lengths"),
        ([[1, 2, 3, 4]], "three corners or more"),
        ([[1, 2, 3, 4, 5, float("nan")]], "three corners or more"),
        ([[500, 500, 510, 500, 510, 510]], "covers no pixel"),
        ({"size": [9, 9], "counts": [81]}, "has the size"),
        ({"size": [90, 120], "counts": [5, 5]}, "do not add up"),
        ({"size": [90, 120], "counts": [-5, 10805]}, "do not add up"),
        ({"size": [90, 120], "counts": [10800]}, "covers no pixel"),
        ({"size": [90, 120], "counts": "PP\u00e9"}, "not packed run lengths"),
        ({"size": [90, 120], "counts": "o" * 40}, "not packed run lengths"),
        ({"size": [90, 120], "counts": "P"}, "cut short"),
    ],
)
def test_a_wrong_mask_is_reported_and_the_others_stay(segmentation: object, reason: str, tmp_path: Path) -> None:
    good = annotation(1, 1, 0, packed(mask_of((10, 10, 20, 20))))
    record, report = one(tmp_path, [good, annotation(2, 1, 1, segmentation)])
    assert [list(each.keypoints) for each in record.instances] == [["Head"]]
    assert reason in report[0]["reason"]
    assert "annotation 2" in report[0]["reason"]


def test_a_huge_picture_is_not_laid_out() -> None:
    with pytest.raises(DataError, match="too many to lay its masks out"):
        read_mask([[0, 0, 9, 0, 9, 9]], Picture("a.png", 60_000, 60_000))


def test_names_without_a_supercategory_may_hold_the_whole(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "chair:leg"}, {"id": 2, "name": "lid"}]
    parts = [annotation(i, 1, i, packed(mask_of((10 * i, 10, 10 * i + 5, 20)))) for i in (1, 2)]
    record, _ = one(tmp_path, parts, categories)
    assert [(each.category.name, list(each.keypoints)) for each in record.instances] == [
        ("chair", ["leg"]),
        ("object", ["lid"]),
    ]


def test_unpacking_is_the_inverse_of_packing() -> None:
    assert (
        unpack(json.loads(json.dumps(packed(mask_of((10, 10, 20, 20)))["counts"])))
        == plain(mask_of((10, 10, 20, 20)))["counts"]
    )
