"""Label Studio's json export: points held together by rectangles, addresses of every kind, damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.imports import check_imported, fuzz_import
from tests.data.trees import Tree, Truth, draw, records_of, spread, write_json

from xpose.data.datasets.importers import import_set
from xpose.data.datasets.report import read_report
from xpose.errors import DataError

NAMES = ("left eye", "right eye", "nose")
SIZE = (120, 90)


def shape(kind: str, label: str, number: str, more: dict | None = None, **value: float) -> dict:
    fixed = {"id": number, "type": kind, "from_name": "a", "to_name": "image", "image_rotation": 0}
    size = {"original_width": SIZE[0], "original_height": SIZE[1]}
    return {**fixed, **size, "value": {**value, kind: [label]}, **(more or {})}


def point(label: str, x: float, y: float, number: str = "p", **more: object) -> dict:
    return shape("keypointlabels", label, number, more, x=100 * x / SIZE[0], y=100 * y / SIZE[1], width=0.5)


def rectangle(label: str, number: str, x: float, y: float, width: float, height: float, **more: float) -> dict:
    share = {"x": x / SIZE[0], "y": y / SIZE[1], "width": width / SIZE[0], "height": height / SIZE[1]}
    return shape("rectanglelabels", label, number, None, **{key: 100 * value for key, value in share.items()}, **more)


def task(number: int, image: str, results: list[dict], **more: object) -> dict:
    annotation = {"id": 100 + number, "result": results, "was_cancelled": False}
    return {"id": number, "data": {"image": image}, "annotations": [annotation], "predictions": [], **more}


def write_tree(root: Path) -> Tree:
    truth, tasks = {}, []
    for number in range(3):
        objects = [spread(NAMES, 12, 12, row=2), spread(NAMES[:2], 70, 40, row=2)][: number + 1]
        truth[f"images/cat {number}.png"] = Truth(objects, "all")
        draw(root / f"images/cat {number}.png", SIZE, objects)
        results = []
        for i, points in enumerate(objects):
            xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
            box = (min(xs) - 4, min(ys) - 4, max(xs) - min(xs) + 8, max(ys) - min(ys) + 8)
            results.append(rectangle("cat", f"r{i}", *box))
            results += [point(name, *place, f"{i}{name}", parentID=f"r{i}") for name, place in points.items()]
        tasks.append(task(number, f"images/cat {number}.png", results))
    write_json(root / "export.json", tasks)
    return Tree(root, truth, ["export.json"])


test_fuzz = fuzz_import("label-studio", write_tree, "export.json")


def test_imported(tmp_path: Path) -> None:
    done = check_imported("label-studio", write_tree(tmp_path / "original"), "export.json", tmp_path)
    record = records_of(done.prepared.folder)["images/cat 1.png"]
    assert record.source_id == "1"
    assert [cat.category.name for cat in record.instances] == ["cat", "cat"]
    assert record.instances[0].category.keypoints == NAMES
    assert record.instances[0].box == pytest.approx((8, 8, 16, 16), abs=0.001)


def one(tmp_path: Path, results: list[dict], image: str = "a.png", **more: object):
    draw(tmp_path / "original/photos/a.png", SIZE, [])
    write_json(tmp_path / "original/export.json", [task(1, image, results, **more)])
    done = import_set("label-studio", tmp_path / "original", tmp_path / "out", name="mine")
    return records_of(done.prepared.folder).get("photos/a.png"), read_report(done.prepared.folder / "report.json")


TWO = [point("nose", 10, 20, "n"), point("tail", 50, 40, "t")]


@pytest.mark.parametrize(
    "address",
    [
        "a.png",
        "photos/a.png",
        "/data/upload/3/1a2b3c4d-a.png",
        "/data/local-files/?d=photos/a.png",
        "https://example.com/files/a.png?token=1",
        "s3://bucket/photos/a.png",
        "C:\\Users\\me\\photos\\a.png",
        "photos%2Fa.png",
    ],
)
def test_pictures_are_found_by_what_the_address_ends_in(address: str, tmp_path: Path) -> None:
    record, report = one(tmp_path, TWO, address)
    (thing,) = record.instances
    assert thing.point("nose") == pytest.approx((10, 20, 2))
    assert thing.point("tail") == pytest.approx((50, 40, 2))
    assert report == []


@pytest.mark.parametrize(
    "address", ["../../../etc/passwd", "/etc/passwd", "", "..", "a.png/../../b.png", "http://[x/a.png", "y" * 300]
)
def test_addresses_never_lead_out(address: str, tmp_path: Path) -> None:
    record, report = one(tmp_path, TWO, address)
    assert record is None
    assert len(report) == 1


def test_two_pictures_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    draw(tmp_path / "original/b/a.png", SIZE, [])
    record, report = one(tmp_path, TWO, "a.png")
    assert record is None
    assert "--pictures" in report[0]["reason"]
    record, report = one(tmp_path, TWO, "/data/local-files/?d=photos/a.png")
    assert len(record.instances) == 1


def test_points_belong_to_the_rectangle_that_alone_holds_them(tmp_path: Path) -> None:
    results = [rectangle("cat", "r1", 5, 5, 50, 50), rectangle("cat", "r2", 60, 5, 50, 50)]
    record, _ = one(tmp_path, [*results, point("nose", 10, 20), point("tail", 70, 40)])
    assert [list(cat.keypoints) for cat in record.instances] == [["nose"], ["tail"]]


def test_relations_join_points_to_rectangles(tmp_path: Path) -> None:
    results = [rectangle("cat", "r1", 5, 5, 60, 60), rectangle("cat", "r2", 5, 5, 90, 70), *TWO]
    relation = {"type": "relation", "from_id": "{}", "to_id": "r2", "direction": "right"}
    joined = [{**relation, "from_id": each} for each in "nt"]
    record, report = one(tmp_path, [*results, *joined])
    assert [len(cat.keypoints) for cat in record.instances] == [0, 2]
    assert report == []
    with pytest.raises(DataError, match="2 of 2 rectangles hold the point"):
        one(tmp_path, results)


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([*TWO, point("nose", 60, 20)], "more than once"),
        ([*TWO, {"type": "brushlabels", "value": {}}], "neither a point nor a rectangle"),
        ([*TWO, rectangle("cat", "r", 5, 5, 60, 60, rotation=30)], "turned by"),
        ([*TWO, {**point("ear", 5, 5), "original_width": 640}], "(640, 90), but the picture is 120x90"),
        ([*TWO, {**point("ear", 5, 5), "image_rotation": 90}], "a rotation by 90 degrees"),
        ([*TWO, shape("keypointlabels", "ear", "e", x=float("nan"), y=5)], "in per cent"),
    ],
)
def test_what_cannot_be_used_is_reported(results: list[dict], reason: str, tmp_path: Path) -> None:
    _, report = one(tmp_path, results)
    assert any(reason in entry["reason"] for entry in report)


def test_what_nobody_labelled_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    tasks = json.loads((tree.root / "export.json").read_text())
    tasks[0]["annotations"] = []
    tasks[1]["annotations"][0]["was_cancelled"] = True
    tasks[2]["annotations"].append(tasks[2]["annotations"][0])
    write_json(tree.root / "export.json", tasks)
    done = import_set("label-studio", tree.root, tmp_path / "out", name="mine")
    reasons = [entry["reason"] for entry in read_report(done.prepared.folder / "report.json")]
    assert sum("nobody has labelled it" in reason for reason in reasons) == 2
    assert sum("only the first counts" in reason for reason in reasons) == 1


def test_the_short_export_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "export.json", [{"image": "a.png", "label": []}])
    with pytest.raises(DataError, match=r'Export the project again as "JSON"'):
        import_set("label-studio", tmp_path, tmp_path.parent / "out")
