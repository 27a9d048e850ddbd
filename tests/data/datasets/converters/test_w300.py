"""300W: a drawn original, the real .pts samples, and damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_text

from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.converters.faces_and_hands import read_pts
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError

NAMES = load_converter("300w").tables["face"].unified
PLACES = {
    "afw/134212_1.jpg": "train",
    "afw/134212_2.jpg": "train",
    "helen/trainset/232194_1.jpg": "train",
    "lfpw/trainset/image_0001.png": "train",
    "helen/testset/30844800_1.jpg": "common",
    "ibug/image 003_1.jpg": "challenge",
    "300W/01_Indoor/indoor_020.png": "test",
}
FOLDERS = ("lfpw/testset", "300W/02_Outdoor")  # also needed, and empty here


def pts_text(points: dict[str, tuple[float, float]]) -> str:
    lines = [f"{x + 1:.6f} {y + 1:.6f}" for x, y in points.values()]  # the original starts from 1
    return "\n".join(["version: 1", f"n_points:  {len(points)}", "{", *lines, "}"]) + "\n"


def write_tree(root: Path) -> Tree:
    truth = {}
    for place, split in PLACES.items():
        points = spread(NAMES, 10, 10, row=10)
        draw(root / place, (120, 110), [points])
        write_text((root / place).with_suffix(".pts"), pts_text(points))
        truth[place] = Truth([points], split)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    return Tree(root, truth, ["afw/134212_1.pts", "ibug/image 003_1.pts"])


test_fuzz = fuzz_test("300w", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("300w", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    assert records["afw/134212_1.jpg"].group == records["afw/134212_2.jpg"].group, "one photo, two faces"
    assert records["lfpw/trainset/image_0001.png"].group == "lfpw/trainset/image_0001"
    (face,) = records["afw/134212_1.jpg"].instances
    assert face.category.name == "face"
    assert face.box == pytest.approx((10 - 7.2, 10 - 4.8, 72 * 1.2, 48 * 1.2)), "the points' extent and a tenth"


def test_pictures_and_points_without_their_partner_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "afw/134212_1.pts").unlink()
    (tree.root / "afw/134212_2.jpg").unlink()
    done = prepare("300w", tree.root, tmp_path)
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert reasons == {
        "afw/134212_1.jpg": "no annotation file belongs to it",
        "afw/134212_2.pts": "no picture belongs to it",
    }


def test_names_match_with_and_without_blanks(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "ibug/image 003_1.jpg").rename(tree.root / "ibug/image003_1.jpg")
    done = prepare("300w", tree.root, tmp_path)
    assert "ibug/image003_1.jpg" in records_of(done.folder)
    assert done.skipped == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 1\nn_points: 2\n{\n1 2\n3 4\n", "between braces"),
        ("version: 1\nn_points: 3\n{\n1 2\n3 4\n}\n", "n_points: 3"),
        ("version: 1\nn_points: 2\n{\n1 2\n}\n", "holds 1 points"),
        ("n_points: 2\n{\n1 2\n3 4 5\n}\n", "is not 2 numbers"),
        ("n_points: 2\n{\n1 2\n3 nan\n}\n", "not a finite number"),
    ],
)
def test_damaged_point_files(tmp_path: Path, text: str, reason: str) -> None:
    write_text(tmp_path / "a.pts", text)
    with pytest.raises(DataError, match=reason):
        read_pts(SourceFolder(tmp_path), "a.pts", count=2, origin=1)


def test_point_files_of_other_lengths_and_windows_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.pts", "version: 1\r\nn_points: 2\r\n{\r\n1 2\r\n3.5 4\r\n}\r\n")
    assert read_pts(SourceFolder(tmp_path), "a.pts", count=2, origin=1) == [(0, 1, 2), (2.5, 3, 2)]


def test_the_real_samples_keep_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/300w_pts")
    root = tmp_path / "original"
    for file in sample.iterdir():
        link(file, root / "afw" / file.name)
    for folder in ("helen/trainset", "lfpw/trainset"):
        (root / folder).mkdir(parents=True)
    done = prepare("300w", root, tmp_path, splits=["train"])
    assert done.skipped == {}
    records = records_of(done.folder)
    assert len(records) == 3
    for name, record in records.items():
        lines = (sample / Path(name).with_suffix(".pts").name).read_text().split("{")[1].split("}")[0].split("\n")
        told = [tuple(map(float, line.split())) for line in lines if line.strip()]
        (face,) = record.instances
        assert [face.point(point)[:2] for point in NAMES] == [pytest.approx((x - 1, y - 1), abs=5e-4) for x, y in told]
        x_of = {point: face.point(point)[0] for point in NAMES}
        y_of = {point: face.point(point)[1] for point in NAMES}
        assert x_of["right eye outer corner"] < x_of["right eye inner corner"] < x_of["left eye inner corner"]
        assert y_of["left eye outer corner"] < y_of["nose tip"] < y_of["upper lip outer centre"] < y_of["chin centre"]
