"""Animal-Pose as XML: a drawn original of both parts, hostile XML, and damage. No original was ever seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import box_round
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_text

from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.converters.animalpose import ANIMAL
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError, UnmappedKeypointError

# How the two parts spell the points, in the order of the json form's.
SPELLINGS = (
    ("L_Eye", "L_eye"),
    ("R_Eye", "R_eye"),
    ("Nose", "Nose"),
    ("L_EarBase", "L_ear"),
    ("R_EarBase", "R_ear"),
    ("L_F_Elbow", "L_F_elbow"),
    ("R_F_Elbow", "R_F_elbow"),
    ("L_B_Elbow", "L_B_elbow"),
    ("R_B_Elbow", "R_B_elbow"),
    ("L_F_Knee", "L_F_knee"),
    ("R_F_Knee", "R_F_knee"),
    ("L_B_Knee", "L_B_knee"),
    ("R_B_Knee", "R_B_knee"),
    ("L_F_Paw", "L_F_paw"),
    ("R_F_Paw", "R_F_paw"),
    ("L_B_Paw", "L_B_paw"),
    ("R_B_Paw", "R_B_paw"),
    ("Throat", "Throat"),
    ("Withers", "withers"),
    ("TailBase", "Tail"),
)
PART1 = {unified: one for unified, (one, _) in zip(ANIMAL.unified, SPELLINGS, strict=True)}
PART2 = {unified: other for unified, (_, other) in zip(ANIMAL.unified, SPELLINGS, strict=True)}


def xml_text(names: dict[str, str], points: dict, species: str, *, top: str) -> str:
    x, y, width, height = box_round(points)
    lines = ["<annotation>", "  <image>picture</image>", f"  <category>{species}</category>"]
    lines.append(f'  <visible_bounds height="{height}" width="{width}" xmin="{x}" {top}="{y}"/>')
    lines.append("  <keypoints>")
    for unified, name in names.items():
        px, py = points.get(unified, (0.0, 0.0))
        visible = int(unified in points)
        lines.append(f'    <keypoint name="{name}" visible="{visible}" x="{px}" y="{py}" z="0.0"/>')
    return "\n".join([*lines, "  </keypoints>", "</annotation>"]) + "\n"


def write_part1(root: Path, picture: str, animals: list[tuple[str, dict]]) -> None:
    """A picture of PASCAL VOC and one file per animal, in the folder of its species."""
    draw(root / picture, (120, 90), [points for _, points in animals])
    for number, (species, points) in enumerate(animals, start=1):
        file = f"PASCAL2011_animal_annotation/{species}/{Path(picture).stem}_{number}.xml"
        write_text(root / file, xml_text(PART1, points, species, top="ymin"))


def write_tree(root: Path) -> Tree:
    truth = {}
    both = [spread(ANIMAL.unified, 12, 12), spread(ANIMAL.unified[:7], 70, 40)]
    for number, species in enumerate(("cat", "horse")):
        name = f"keypoint_image_part1/{species}/2007_{number:06}.jpg"
        animals = [("cat", both[0]), ("dog", both[1])][: 1 + number]
        write_part1(root, name, animals)
        truth[name] = Truth([points for _, points in animals], "part1")
    for name in ("cow/co1.jpeg", "sheep/sh65.png"):
        species, stem = name.split("/")[0], Path(name).stem
        draw(root / "animalpose_image_part2" / name, (120, 90), both[:1])
        file = f"animalpose_anno2/{species}/{stem}.xml"
        write_text(root / file, xml_text(PART2, both[0], species, top="xmax"))
        truth[f"animalpose_image_part2/{name}"] = Truth(both[:1], "part2")
    return Tree(root, truth, ["PASCAL2011_animal_annotation/dog/2007_000001_2.xml", "animalpose_anno2/cow/co1.xml"])


test_fuzz = fuzz_test("animalpose-xml", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("animalpose-xml", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    pair = records["keypoint_image_part1/horse/2007_000001.jpg"].instances
    assert [(i.category.name, i.source_id) for i in pair] == [("cat", "2007_000001_1"), ("dog", "2007_000001_2")]
    assert pair[1].box == (66, 36, 40, 16)
    cow = records["animalpose_image_part2/cow/co1.jpeg"].instances[0]
    assert cow.box == (8, 8, 40, 32), "xmax is where ymin is meant"
    assert cow.category.keypoints == pair[0].category.keypoints == ANIMAL.unified, "the parts and the json agree"


@pytest.mark.parametrize("folder", ["VOC2012/JPEGImages", "VOCdevkit/VOC2011/JPEGImages"])
def test_part_1_takes_its_pictures_from_voc_too(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "original"
    write_part1(root, f"{folder}/2008_000123.jpg", [("sheep", spread(ANIMAL.unified, 12, 12))])
    draw(root / folder / "2008_000124.jpg", (120, 90), [])
    done = prepare("animalpose-xml", root, tmp_path)
    assert list(records_of(done.folder)) == [f"{folder}/2008_000123.jpg"]
    assert done.skipped == {}, "VOC has pictures without animals"
    assert [need.path for need in done.missing["part2"]] == ["animalpose_anno2", "animalpose_image_part2"]


def test_without_pictures_part_1_asks_for_them(tmp_path: Path) -> None:
    converter = load_converter("animalpose-xml")
    (tmp_path / "PASCAL2011_animal_annotation").mkdir()
    assert [need.path for need in converter.missing(SourceFolder(tmp_path), "part1")] == ["keypoint_image_part1"]


def test_what_has_no_partner_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "animalpose_anno2/cow/co1.xml").unlink()
    (tree.root / "animalpose_image_part2/sheep/sh65.png").unlink()
    link(
        tree.root / "keypoint_image_part1/horse/2007_000001.jpg",
        tree.root / "keypoint_image_part1/dog/2007_000001.jpg",
    )
    entries = read_report(prepare("animalpose-xml", tree.root, tmp_path).folder / "report.json")
    copied = "the same picture as keypoint_image_part1/dog/2007_000001.jpg, whose record has all of its animals"
    assert {entry["file"]: entry["reason"] for entry in entries} == {
        "animalpose_image_part2/cow/co1.jpeg": "no annotation names this picture",
        "animalpose_anno2/sheep/sh65.xml": 'there is no picture "sheep/sh65"',
        "keypoint_image_part1/horse/2007_000001.jpg": copied,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('visible="1"', 'visible="2"'), "not 0 or 1"),
        (('name="Throat"', 'name="Nose"'), "occurs twice"),
        (('name="Throat" ', ""), '"name" is missing'),
        (("visible_bounds", "invisible_bounds"), "holds no visible_bounds"),
        (("<keypoint ", "<point "), "holds no keypoints"),
        (('xmin="8"', 'xmin="nan"'), "not a finite number"),
        (('width="40"', 'width="0"'), "no area"),
    ],
)
def test_wrong_files_are_reported(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "PASCAL2011_animal_annotation/cat/2007_000001_1.xml"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    done = prepare("animalpose-xml", tree.root, tmp_path, splits=["part1"])
    (entry,) = read_report(done.folder / "report.json")
    assert (entry["what"], reason in entry["reason"]) == ("object", True)
    assert [len(record.instances) for record in records_of(done.folder).values()] == [1, 1]


def test_points_outside_the_picture_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "animalpose_anno2/cow/co1.xml"
    path.write_text(path.read_text().replace('x="12"', 'x="5000"', 1))
    done = prepare("animalpose-xml", tree.root, tmp_path)
    assert done.skipped == {"part2": {"point": 1}}
    cow = records_of(done.folder)["animalpose_image_part2/cow/co1.jpeg"].instances[0]
    assert set(ANIMAL.unified) - set(cow.keypoints) == {"left eye"}


def test_a_keypoint_without_unified_name_stops_the_build(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "animalpose_anno2/cow/co1.xml"
    path.write_text(path.read_text().replace('"L_eye"', '"L_horn"'))
    with pytest.raises(UnmappedKeypointError, match='"l_horn"'):
        prepare("animalpose-xml", tree.root, tmp_path)


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 2 if i else "ha"}">' for i in range(40))


@pytest.mark.parametrize(
    "hostile",
    [
        f"<!DOCTYPE a [{LAUGHS}]><a>&l39;</a>",
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><a/>',
    ],
    ids=["billion laughs", "outside file", "outside document type"],
)
def test_hostile_xml_is_refused(tmp_path: Path, hostile: str) -> None:
    write_text(tmp_path / "a.xml", hostile)
    with pytest.raises(DataError, match=r"declares a document type or entities, which are refused"):
        SourceFolder(tmp_path).xml("a.xml")


def test_numbers_of_the_real_sample_of_another_tool(tmp_path: Path) -> None:
    """The original is not among the samples: write its files from MMPose's numbers, and compare what comes out."""
    sample = shared("format_samples/animalpose")
    content = json.loads((sample / "test_animalpose.json").read_text())
    order = content["categories"][0]["keypoints"]
    unified = {name.casefold(): point for point, name in PART1.items()}
    root = tmp_path / "original"
    (root / "animalpose_anno2").mkdir(parents=True)
    told = {}
    for image in content["images"]:
        stem = Path(image["file_name"]).stem
        species = {"ca": "cat", "ho": "horse"}[stem[:2]]
        (entry,) = (entry for entry in content["annotations"] if entry["image_id"] == image["id"])
        triples = zip(order, *[iter(entry["keypoints"])] * 3, strict=True)
        points = {unified[name.casefold()]: (x, y) for name, x, y, v in triples if v}
        link(sample / image["file_name"], root / "animalpose_image_part2" / species / image["file_name"])
        text = xml_text(PART2, points, species, top="xmax")
        write_text(root / f"animalpose_anno2/{species}/{stem}.xml", text)
        told[f"animalpose_image_part2/{species}/{image['file_name']}"] = (species, points)
    records = records_of(prepare("animalpose-xml", root, tmp_path, splits=["part2"]).folder)
    assert records.keys() == told.keys()
    for name, (species, points) in told.items():
        (animal,) = records[name].instances
        assert animal.category.name == species
        assert {point: (x, y) for point, (x, y, _) in animal.keypoints.items()} == points
        assert animal.point("left ear")[1] < animal.point("left front paw")[1], "it stands upright"
