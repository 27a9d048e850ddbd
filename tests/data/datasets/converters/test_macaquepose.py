"""MacaquePose: a drawn original, its boxes and areas against the real sample's, and damage."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_text

from xpose.data.datasets.converters.coco import PERSON
from xpose.data.datasets.converters.macaquepose import FILE, PICTURE, POINTS, SEGMENTS, _area, _test_rows
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report

ROWS = 30  # enough for the rule to put one row into the test split


def csv_text(rows: list[tuple[str, list, list]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([PICTURE, POINTS, SEGMENTS])
    writer.writerows([name, json.dumps(animals), json.dumps(outlines)] for name, animals, outlines in rows)
    return text.getvalue()


def animal_of(points: dict) -> list[dict]:
    return [{"name": name, "position": list(points[name]) if name in points else None} for name in PERSON.unified]


def outline_of(points: dict) -> list[dict]:
    xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
    x0, y0, x1, y1 = min(xs) - 3.5, min(ys) - 3.5, max(xs) + 3.5, max(ys) + 3.5
    return [{"segment": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]}, {"segment": []}]


def write_tree(root: Path) -> Tree:
    rows, truth = [], {}
    for number in range(ROWS):
        objects = [spread(PERSON.unified[number % 3 :], 12, 12), spread(PERSON.unified[:6], 70, 40)][: 1 + number % 2]
        name = f"{number:05}.jpg"
        draw(root / "v1/images" / name, (120, 90), objects)
        rows.append((name, [animal_of(points) for points in objects], [outline_of(points) for points in objects]))
        truth[f"v1/images/{name}"] = Truth(objects, "test" if number in _test_rows(ROWS) else "train")
    write_text(root / FILE, csv_text(rows))
    return Tree(root, truth, [FILE])


test_fuzz = fuzz_test("macaquepose", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("macaquepose", write_tree(tmp_path / "original"), tmp_path)
    assert (done.counts["train"].images, done.counts["test"].images) == (29, 1)
    first = records_of(done.folder)["v1/images/00001.jpg"].instances[1]
    assert first.box == (66.5, 36.5, 39, 15)
    assert first.area == 39 * 15


def test_the_published_split_sizes() -> None:
    assert len(_test_rows(13_083)) == 583


def test_animals_without_points_or_without_outline(tmp_path: Path) -> None:
    points = spread(PERSON.unified, 12, 12)
    root = tmp_path / "original"
    draw(root / "v1/images/a.jpg", (120, 90), [points])
    animals = [animal_of({}), animal_of(points), animal_of({})]
    outlines = [outline_of(points), [{"segment": []}], []]
    write_text(root / FILE, csv_text([("a.jpg", animals, outlines)]))
    done = prepare("macaquepose", root, tmp_path)
    record = records_of(done.folder)["v1/images/a.jpg"]
    assert [len(instance.keypoints) for instance in record.instances] == [0, 17]
    (entry,) = read_report(done.folder / "report.json")
    assert entry["reason"] == "animal 3: there is neither a box nor a labelled point to make one from"


def test_boxes_and_areas_agree_with_the_sample_of_another_tool(tmp_path: Path) -> None:
    """The original is not among the samples: write its table from MMPose's numbers, and compare what comes out."""
    sample = shared("format_samples/macaque")
    content = json.loads((sample / "test_macaque.json").read_text())
    root = tmp_path / "original"
    rows, told = [], {}
    for image in content["images"]:
        annotations = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        triples = [list(zip(*[iter(entry["keypoints"])] * 3, strict=True)) for entry in annotations]
        animals = [
            animal_of({name: (x, y) for name, (x, y, v) in zip(PERSON.unified, points, strict=True) if v})
            for points in triples
        ]
        outlines = [
            [
                {"segment": [list(pair) for pair in zip(*[iter(polygon)] * 2, strict=True)]}
                for polygon in e["segmentation"]
            ]
            for e in annotations
        ]
        rows.append((image["file_name"], animals, outlines))
        told[f"v1/images/{image['file_name']}"] = annotations
        link(sample / image["file_name"], root / "v1/images" / image["file_name"])
    write_text(root / FILE, csv_text(rows))
    records = records_of(prepare("macaquepose", root, tmp_path).folder)
    assert set(records) == set(told)
    for name, annotations in told.items():
        for instance, entry in zip(records[name].instances, annotations, strict=True):
            assert instance.box == pytest.approx(entry["bbox"], abs=1.01), "MMPose's boxes are one pixel larger"
            assert instance.area == pytest.approx(entry["area"], rel=0.01)


def test_the_area_of_an_outline() -> None:
    assert _area([(0, 0), (4, 0), (4, 3), (0, 3)]) == 12
    assert _area([]) == 0
