"""CarFusion: a drawn original, the real sample turned back into the authors' lines, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.data.fuzz import DAMAGES, cut_short, fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, records_of, shared, spread, write_text

from xpose.data.datasets.converters.carfusion import CAR, POINTS, read_cars
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError

NUMBERS = {CAR.names[name]: number for number, name in POINTS.items()}
RAW = {2: 1, 1: 2}  # our visibility -> the file's


def gt_text(cars: dict[int, dict], visibility: int = 2) -> str:
    """Points by unified name as (x, y) or (x, y, v), car after car; a point that is not there has zeros."""
    lines = []
    for car, points in cars.items():
        for name, number in NUMBERS.items():
            x, y, v = (*points.get(name, (0, 0)), visibility)[:3]
            lines.append(f"{float(x)},{float(y)},{number},{car},{RAW.get(v, 1)}")
    return "\n".join(lines) + "\n"


def write_tree(root: Path) -> Tree:
    truth, files = {}, []
    for number, (place, split) in enumerate(
        {
            "train/car_butler1/images_jpg/16_06401": "train",
            "train/car_butler1/images_jpg/16_06402": "train",
            "train/car_craig1/images/12_35273": "train",
            "test/car_fifth1/images_jpg/16_06401": "test",
        }.items()
    ):
        names = CAR.unified
        objects = [spread(names[number % 2 :], 12, 20), spread(names, 80, 30 + number)][: 1 + number % 2]
        draw(root / f"{place}.jpg", (160, 100), objects)
        sequence, _, name = place.replace("images_jpg", "gt").replace("images", "gt").rpartition("/")
        files.append(f"{sequence}/{name}.txt")
        write_text(root / files[-1], gt_text(dict(enumerate(objects, start=7))))
        truth[f"{place}.jpg"] = Truth(objects, split)
    return Tree(root, truth, files[1:3])


# A file cut between two lines looks like a whole one: there is no count in it. The next test is about all cuts.
test_fuzz = fuzz_test("carfusion", write_tree, tuple(damage for damage in DAMAGES if damage is not cut_short))


def test_a_cut_file_is_an_error_or_has_fewer_points_but_never_others(tmp_path: Path) -> None:
    text = gt_text({0: spread(CAR.unified, 12, 20), 1: spread(CAR.unified, 80, 30)})
    write_text(tmp_path / "whole.txt", text)
    whole = read_cars(SourceFolder(tmp_path), "whole.txt")
    errors = 0
    for end in range(len(text)):
        write_text(tmp_path / "cut.txt", text[:end])
        try:
            cars = read_cars(SourceFolder(tmp_path), "cut.txt")
        except DataError:
            errors += 1
            continue
        assert all(points.items() <= whole[car].items() for car, points in cars.items())
    assert errors > 0.8 * len(text)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("carfusion", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    first, second = records["train/car_butler1/images_jpg/16_06402.jpg"].instances
    assert (first.source_id, second.source_id) == ("7", "8")
    assert second.box == (76, 29, 40, 20), "a tenth further out, 5/4 as large, in whole pixels"
    groups = {record.group for record in records.values()}
    assert groups == {"train/car_butler1", "train/car_craig1", "test/car_fifth1"}


def test_visibility_is_the_authors_and_points_outside_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    lines = [
        "20,20,1,0,1",
        "60.5,50,2,0,2",
        "30,30,3,0,3",
        "-5,40,4,0,1",
        "300,40,5,0,1",
        "0,0,6,0,1",
        "-1,-1,7,0,1",
        "",
        "50,50,1,3,1",
    ]
    write_text(tree.root / "train/car_butler1/gt/16_06401.txt", "\r\n".join(lines))
    done = prepare("carfusion", tree.root, tmp_path)
    (car,) = records_of(done.folder)["train/car_butler1/images_jpg/16_06401.jpg"].instances
    assert car.keypoints == {
        "right front wheel": (20, 20, 2),
        "left front wheel": (60.5, 50, 1),
        "right back wheel": (30, 30, 2),
    }
    assert car.box == (15, 17, 50, 37), "round the points in the picture"
    assert [entry["reason"] for entry in read_report(done.folder / "report.json")] == [
        '"left back wheel" of car 0 at (-5, 40) counts as not labelled, as by the authors',
        '"right headlight" at (300, 40) lies outside the 160x100 picture and counts as not labelled',
        "object 3: the box [50.0, 50.0, 0.0, 0.0] has no area",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3,4", "is not 5 numbers"),
        ("1,2,15,0,1", "point 15 of car 0"),
        ("1,2,2.5,0,1", "point 2.5 of car 0"),
        ("1,2,3,0.5,1", "car 0.5"),
        ("1,2,3,0,0", "visibility 0"),
        ("1,2,3,0,4", "visibility 4"),
        ("1,nan,3,0,1", "not a finite number"),
        ("5,5,1,0,1", "already has point 1"),
    ],
)
def test_damaged_lines(tmp_path: Path, line: str, reason: str) -> None:
    write_text(tmp_path / "a.txt", f"1,2,1,0,1\n{line}\n")
    with pytest.raises(DataError, match=reason):
        read_cars(SourceFolder(tmp_path), "a.txt")


def test_pictures_and_files_without_their_partner_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "train/car_butler1/gt/16_06401.txt").rename(tree.root / "train/car_butler1/gt/17_06401.txt")
    write_text(tree.root / "train/car_craig1/gt/12_35273.txt", "")
    done = prepare("carfusion", tree.root, tmp_path)
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert reasons == {
        "train/car_butler1/images_jpg/16_06401.jpg": "no annotation file belongs to it",
        "train/car_butler1/gt/17_06401.txt": "no picture belongs to it",
        "train/car_craig1/images/12_35273.jpg": '"train/car_craig1/gt/12_35273.txt" holds no car',
    }


def write_sample(sample: Path, root: Path) -> dict[str, list[dict]]:
    """The real sample as the authors' tree: picture -> its annotations. The sample's pictures are half as large."""
    content = json.loads((sample / "annotations.json").read_text())
    told = {}
    for image in content["images"]:
        sequence, _, name = image["file_name"].replace("\\", "/").split("/")
        place = f"{sequence}/images_jpg/{name}"
        annotations = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.open(sample / f"images/{sequence}__{name}").resize((image["width"], image["height"])).save(root / place)
        cars = {}
        for car, annotation in enumerate(annotations):
            flat = annotation["keypoints"]
            triples = zip(NUMBERS, flat[0::3], flat[1::3], flat[2::3], strict=True)
            cars[car] = {point: (x, y, v) for point, x, y, v in triples}  # also those that lie outside, with v = 0
        write_text(root / sequence / "gt" / f"{name.removesuffix('.jpg')}.txt", gt_text(cars))
        told[place] = annotations
    return told


def test_the_real_sample_keeps_every_number_and_box(tmp_path: Path) -> None:
    sample = shared("format_samples/carfusion")
    names = json.loads((sample / "annotations.json").read_text())["categories"][0]["keypoints"]
    assert names == list(CAR.names)
    told = write_sample(sample, tmp_path / "original/train")
    done = prepare("carfusion", tmp_path / "original", tmp_path, splits=["train"])
    assert all(
        "lies outside" in entry["reason"] or "counts as not labelled" in entry["reason"]
        for entry in read_report(done.folder / "report.json")
    )
    records = records_of(done.folder)
    assert sum(map(len, told.values())) == sum(len(record.instances) for record in records.values()) == 11
    for place, entries in told.items():
        for annotation, car in zip(entries, records[f"train/{place}"].instances, strict=True):
            flat = annotation["keypoints"]
            triples = zip(flat[0::3], flat[1::3], flat[2::3], strict=True)
            assert [car.point(name) for name in CAR.unified] == [(x, y, v) if v else (0, 0, 0) for x, y, v in triples]
            assert car.box == tuple(annotation["bbox"])
            tops = [y for name, (_, y, _) in car.keypoints.items() if "roof" in name]
            wheels = [y for name, (_, y, _) in car.keypoints.items() if "wheel" in name]
            assert not (tops and wheels) or max(tops) < max(wheels)
