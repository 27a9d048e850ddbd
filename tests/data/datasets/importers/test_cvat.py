"""CVAT for images 1.1: skeletons, loose points in groups, several points in one element, subsets, damage."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from tests.data.imports import check_imported, fuzz_import
from tests.data.trees import Tree, Truth, draw, records_of, spread, write_text

from xpose.data.datasets.importers import import_set, imported_skeletons
from xpose.data.datasets.report import read_report
from xpose.errors import DataError

pytest.importorskip("defusedxml", reason="needs defusedxml, which the extra `data` brings")

NAMES = ("left eye", "right eye", "nose")
SVG = (
    '<line x1="1" y1="1" x2="2" y2="2" data-type="edge" data-node-from="1" data-node-to="3"></line>'
    '<circle cx="1" cy="1" data-type="element node" data-node-id="1" data-label-name="left eye"></circle>'
    '<circle cx="2" cy="2" data-type="element node" data-node-id="2" data-label-name="right eye"></circle>'
    '<circle cx="3" cy="3" data-type="element node" data-node-id="3" data-label-name="nose"></circle>'
)
LABELS = "".join(
    f"<label><name>{name}</name><type>points</type><attributes></attributes><parent>cat</parent></label>"
    for name in NAMES
)
META = (
    f"<meta><task><labels><label><name>cat</name><type>skeleton</type><svg>{html.escape(SVG)}</svg></label>{LABELS}"
    "</labels></task></meta>"
)


def skeleton_of(points: dict, more: str = "") -> str:
    inner = "".join(
        f'<points label="{name}" occluded="0" outside="{int(name not in points)}" '
        f'points="{points.get(name, (0, 0))[0]:.2f},{points.get(name, (0, 0))[1]:.2f}"></points>'
        for name in NAMES
    )
    return f'<skeleton label="cat" source="manual" z_order="0"{more}>{inner}</skeleton>'


def image_of(number: int, name: str, inner: str, more: str = "") -> str:
    return f'<image id="{number}" name="{name}" width="120" height="90"{more}>{inner}</image>\n'


def document(images: str, meta: str = META) -> str:
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return f"{head}<annotations><version>1.1</version>{meta}\n{images}</annotations>\n"


def write_tree(root: Path) -> Tree:
    truth, images = {}, ""
    for number in range(3):
        objects = [spread(NAMES, 12, 12, row=2), spread(NAMES[:2], 70, 40, row=1)][: number + 1]
        name = f"images/day 1/{number}.jpg" if number else "images/0.jpg"
        truth[name] = Truth(objects, "all")
        draw(root / name, (120, 90), objects)
        images += image_of(number, name.removeprefix("images/"), "".join(map(skeleton_of, objects)))
    write_text(root / "annotations.xml", document(images))
    return Tree(root, truth, ["annotations.xml"])


test_fuzz = fuzz_import("cvat", write_tree, "")


def test_imported(tmp_path: Path) -> None:
    done = check_imported("cvat", write_tree(tmp_path / "original"), "", tmp_path)
    cat = records_of(done.prepared.folder)["images/0.jpg"].instances[0]
    assert cat.category.name == "cat"
    assert cat.category.keypoints == NAMES
    (skeleton,) = imported_skeletons(done.prepared.folder).values()
    assert skeleton.edges == (("left eye", "nose"),)
    assert skeleton.flips["left eye"] == "right eye"


def one_image(tmp_path: Path, inner: str, more: str = "", **choices: object):
    draw(tmp_path / "original/a.png", (120, 90), [])
    write_text(tmp_path / "original/annotations.xml", document(image_of(0, "a.png", inner, more), "<meta></meta>"))
    done = import_set("cvat", tmp_path / "original", tmp_path / "out", name="mine", **choices)  # type: ignore[arg-type]
    records = records_of(done.prepared.folder)
    return records.get("a.png"), read_report(done.prepared.folder / "report.json"), done


def point(label: str, x: float, y: float, more: str = "") -> str:
    return f'<points label="{label}" source="manual" occluded="0" points="{x},{y}" z_order="0"{more}></points>'


BOX = '<box label="{}" source="manual" occluded="0" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"{}></box>'


def test_loose_points_of_a_picture_are_one_object(tmp_path: Path) -> None:
    record, report, _ = one_image(tmp_path, point("nose", 10, 20) + point("tail", 50, 40), category="cat")
    (cat,) = record.instances
    assert cat.category.name == "cat"
    assert cat.keypoints == {"nose": (10, 20, 2), "tail": (50, 40, 2)}
    assert cat.box == (6, 16, 48, 28), "10 % of the longer side all round"
    assert report == []


def test_a_single_box_belongs_to_the_loose_points(tmp_path: Path) -> None:
    inner = point("nose", 10, 20) + point("tail", 50, 40) + BOX.format("cat", 5, 5, 60, 50, "")
    record, _, _ = one_image(tmp_path, inner)
    (cat,) = record.instances
    assert cat.category.name == "cat"
    assert cat.box == (5, 5, 55, 45)


def test_groups_hold_points_and_boxes_together(tmp_path: Path) -> None:
    inner = "".join(
        point("nose", x, 20, f' group_id="{group}"')
        + point("tail", x + 20, 30, f' group_id="{group}"')
        + BOX.format("cat", x - 5, 10, x + 30, 40, f' group_id="{group}"')
        for group, x in ((3, 10), (4, 60))
    )
    record, report, _ = one_image(tmp_path, inner)
    assert [cat.point("nose") for cat in record.instances] == [(10, 20, 2), (60, 20, 2)]
    assert [cat.box for cat in record.instances] == [(5, 10, 35, 30), (55, 10, 35, 30)]
    assert report == []


def test_a_label_twice_in_one_object_is_reported(tmp_path: Path) -> None:
    record, report, _ = one_image(tmp_path, point("nose", 10, 20) + point("nose", 60, 20) + point("tail", 1, 1))
    assert record is None
    assert '"nose" occur more than once; group the points' in report[0]["reason"]


def test_several_points_of_one_element_are_numbered(tmp_path: Path) -> None:
    inner = '<points label="mouse" occluded="1" points="10,20;30,40;50,20;60,30"></points>'
    record, _, _ = one_image(tmp_path, inner, skeleton="mouse_openfield")
    (mouse,) = record.instances
    assert mouse.category.name == "mouse"
    assert mouse.category.skeleton == "mouse_openfield"
    assert list(mouse.keypoints.values()) == [(10, 20, 1), (30, 40, 1), (50, 20, 1), (60, 30, 1)]


def test_another_number_of_points_than_others_is_reported(tmp_path: Path) -> None:
    inner = "".join(
        f'<points label="m" occluded="0" points="{places}"></points>' for places in ("1,2;9,4;5,6", "1,2;9,9")
    )
    record, report, _ = one_image(tmp_path, inner)
    assert len(record.instances) == 1
    assert "has 2 points, others have 3" in report[0]["reason"]


def test_hidden_and_outside_points(tmp_path: Path) -> None:
    inner = (
        '<skeleton label="cat"><points label="a" occluded="1" outside="0" points="10,10"></points>'
        '<points label="b" occluded="0" outside="1" points="20,20"></points>'
        '<points label="c" occluded="0" outside="0" points="30,40"></points></skeleton>'
    )
    record, _, _ = one_image(tmp_path, inner)
    assert record.instances[0].keypoints == {"a": (10, 10, 1), "c": (30, 40, 2)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('<points label="b" occluded="0" outside="x" points="9,9"></points>', "is not 0 or 1"),
        ('<points label="b" occluded="0" outside="0" points="9"></points>', "is not 2 numbers"),
        ('<points label="b" occluded="0" outside="0" points="9,nan"></points>', "not a finite number"),
    ],
)
def test_a_bad_point_is_reported_with_its_object(bad: str, reason: str, tmp_path: Path) -> None:
    good = '<points label="a" points="1,1"></points><points label="b" points="9,9"></points>'
    record, report, _ = one_image(tmp_path, "".join(f'<skeleton label="cat">{each}</skeleton>' for each in (good, bad)))
    assert len(record.instances) == 1
    assert "object 2 (cat)" in report[0]["reason"]
    assert reason in report[0]["reason"]


def test_a_point_outside_the_picture_is_reported(tmp_path: Path) -> None:
    inner = point("nose", 10, 20) + point("tail", 50, 40) + point("ear", 5000, 40)
    record, report, _ = one_image(tmp_path, inner)
    assert set(record.instances[0].keypoints) == {"nose", "tail"}
    assert record.instances[0].box == (6, 16, 48, 28), "what lies outside does not count for the box"
    assert '"ear" at (5000, 40) lies outside' in report[0]["reason"]


def test_a_box_of_something_else_is_reported(tmp_path: Path) -> None:
    inner = point("nose", 10, 20) + point("tail", 50, 40) + BOX.format("tree", 5, 5, 60, 50, ' group_id="9"')
    record, report, _ = one_image(tmp_path, inner)
    assert len(record.instances) == 1
    assert '"tree" is not a kind of object with keypoints' in report[0]["reason"]


def test_subsets_are_splits(tmp_path: Path) -> None:
    _, _, done = one_image(tmp_path, point("nose", 10, 20) + point("tail", 50, 40), ' subset="Validation"')
    assert set(done.prepared.counts) == {"Validation"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations>&x;</annotations>', "declares a document type"),
        ("<annotations><track id='0'/><image/></annotations>", "a video export holds tracks"),
        ("<svg/>", "no annotated images"),
        ("<annotations>", "is not XML"),
        (document(image_of(0, "a.png", ""), ""), "names no keypoints"),
        (document(image_of(0, "a.png", point("n", 1, 1), ' subset="../up"'), ""), "subset"),
    ],
)
def test_other_xml_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    write_text(tmp_path / "annotations.xml", text)
    with pytest.raises(DataError, match=reason):
        import_set("cvat", tmp_path, tmp_path.parent / "out")
