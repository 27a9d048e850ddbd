"""Desert Locust: a drawn h5 original, the real points and names, and damage. The rest is in test_vinegar_fly.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.fuzz import cut_short, fuzz_test, not_text
from tests.data.h5_trees import write_h5
from tests.data.h5_trees import write_tree as write_rows
from tests.data.trees import Tree, check_prepared, link, records_of, shared

from xpose.data.datasets.converters.deepposekit import DesertLocust
from xpose.data.datasets.pipeline import prepare
from xpose.vocabulary import load_skeleton

LOCUST = DesertLocust()


def write_tree(root: Path) -> Tree:
    return write_rows(root, LOCUST)


def write_binary_tree(root: Path) -> Tree:
    tree = write_tree(root)
    tree.annotations = [LOCUST.file]
    return tree


test_fuzz = fuzz_test("desert-locust", write_tree)
test_binary_fuzz = fuzz_test("desert-locust", write_binary_tree, (cut_short, not_text))


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("desert-locust", write_tree(tmp_path / "original"), tmp_path)
    (locust,) = records_of(done.folder)["pictures/row_00001.png"].instances
    assert len(locust.keypoints) == 35
    assert locust.category.taxonomy.species == "Schistocerca gregaria"


def test_the_order_of_the_points() -> None:
    sides = {
        side: [f"anttip{side}", f"antbase{side}", f"eye{side}"]
        + [f"{leg}leg{side}{part}" for leg in ("fore", "mid", "hind") for part in range(1, 5)]
        for side in "LR"
    }
    assert list(LOCUST.table.names) == ["head", "neck", "thorax", "abdomen1", "abdomen2", *sides["L"], *sides["R"]]


def test_the_real_names_and_partners_are_ours() -> None:
    sample = shared("format_samples/deepposekit_skeletons") / "locust_skeleton.csv"
    with open(sample, newline="") as file:
        rows = list(csv.DictReader(file))
    names = LOCUST.table.names
    assert [row["name"] for row in rows] == list(names)
    flips = load_skeleton("locust").flips
    assert {row["name"]: names[row["swap"] or row["name"]] for row in rows} == {
        name: flips[names[name]] for name in names
    }


def test_the_real_points_come_through(tmp_path: Path) -> None:
    sample = shared("format_samples/locust")
    root = tmp_path / "original"
    content = json.loads((sample / "test_locust.json").read_text())
    told = [np.array(annotation["keypoints"]).reshape(-1, 3) for annotation in content["annotations"]]
    pixels = [np.asarray(Image.open(sample / image["file_name"]).convert("L")) for image in content["images"]]
    places = np.stack([points[:, :2] for points in told])
    write_h5(root / LOCUST.file, np.stack(pixels)[..., None], places, np.stack([points[:, 2] > 0 for points in told]))
    link(shared("format_samples/deepposekit_skeletons") / "locust_skeleton.csv", root / LOCUST.names_file)
    done = prepare("desert-locust", root, tmp_path)
    records = records_of(done.folder)
    for row, (annotation, points) in enumerate(zip(content["annotations"], told, strict=True)):
        (locust,) = records[f"pictures/row_{row:05}.png"].instances
        assert locust.box == pytest.approx(annotation["bbox"], abs=1e-3)
        labelled = [
            (LOCUST.table.names[name], point)
            for name, point in zip(content["categories"][0]["keypoints"], points, strict=True)
            if point[2]
        ]
        assert {name: locust.point(name) for name, _ in labelled} == {
            name: pytest.approx(tuple(point), abs=1e-3) for name, point in labelled
        }
