"""CUB-200-2011: a drawn original, the real samples, and damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_text

from xpose.data.datasets.converters.cub200 import (
    BOXES,
    CLASSES,
    IMAGES,
    LABELS,
    PARTS,
    PLACES,
    ROOT,
    SPLIT,
    Cub200,
)
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import DataError, UnmappedKeypointError

FILES = (IMAGES, SPLIT, BOXES, CLASSES, LABELS, PARTS, PLACES)
NAMES = list(Cub200.tables["bird"].unified)
SPECIES = {"1": "001.Black_footed_Albatross", "50": "050.Eared_Grebe"}


def write_tree(root: Path) -> Tree:
    truth = {}
    lines: dict[str, list[str]] = {file: [] for file in FILES}
    lines[CLASSES] = [f"{number} {name}" for number, name in SPECIES.items()]
    lines[PARTS] = [f"{number} {name}" for number, name in enumerate(NAMES, start=1)]
    for number in range(1, 7):
        kind = "50" if number % 3 == 0 else "1"
        name = f"{SPECIES[kind]}/Bird_{number:04}_7.jpg"
        points = spread(NAMES, 12, 12 + number, 10)
        del points[NAMES[2 * number]]
        draw(root / ROOT / "images" / name, (100, 80), [points])
        lines[IMAGES].append(f"{number} {name}")
        lines[LABELS].append(f"{number} {kind}")
        lines[SPLIT].append(f"{number} {number % 2}")
        lines[BOXES].append(f"{number} 8.0 9.0 50.0 41.0")
        for part, known in enumerate(NAMES, start=1):
            x, y = points.get(known, (0, 0))
            lines[PLACES].append(f"{number} {part} {x:.1f} {y:.1f} {int(known in points)}")
        truth[f"{ROOT}/images/{name}"] = Truth([points], "train" if number % 2 else "test")
    for file, content in lines.items():
        write_text(root / file, "\n".join(content) + "\n")
    return Tree(root, truth, list(FILES))


test_fuzz = fuzz_test("cub-200-2011", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("cub-200-2011", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    (bird,) = records[f"{ROOT}/images/001.Black_footed_Albatross/Bird_0001_7.jpg"].instances
    assert bird.box == (8, 9, 50, 41)
    assert bird.category.name == "Black footed Albatross"
    assert bird.category.taxonomy.class_ == "Aves"
    assert bird.point(NAMES[2]) == (0, 0, 0)


def test_what_has_no_partner_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")

    def edit(file: str, old: str, new: str) -> None:
        text = (tree.root / file).read_text()
        assert old in text
        write_text(tree.root / file, text.replace(old, new, 1))

    edit(BOXES, "1 8.0", "71 8.0")
    edit(SPLIT, "2 0", "2 x")
    edit(LABELS, "3 50", "3 51")
    edit(PLACES, "4 15 ", "4 16 ")
    edit(PLACES, "5 2 ", "72 2 ")
    draw(tree.root / ROOT / "images/other.jpg", (9, 9), [])
    done = prepare("cub-200-2011", tree.root, tmp_path)
    assert (done.counts["train"].images, done.counts["test"].images) == (0, 1)
    reasons = [
        f"{entry['file'].removeprefix(ROOT + '/')}: {entry['reason'].replace(ROOT + '/', '')}"
        for entry in read_report(done.folder / "report.json")
    ]
    pictures = "images/001.Black_footed_Albatross/Bird_000"
    assert sorted(reasons) == [
        "bounding_boxes.txt: there is no picture 71",
        f"{pictures}1_7.jpg: bounding_boxes.txt has no box for it",
        f"{pictures}2_7.jpg: train_test_split.txt does not say whether it is for training or for testing",
        f'{pictures}4_7.jpg: parts/part_locs.txt says nothing about "throat"',
        f'{pictures}5_7.jpg: parts/part_locs.txt says nothing about "beak"',
        "images/050.Eared_Grebe/Bird_0003_7.jpg: image_class_labels.txt and classes.txt do not say what bird it is",
        "images/other.jpg: no annotation names this picture",
        "parts/part_locs.txt: line 60 names no part, or one that the picture already has",
        "parts/part_locs.txt: there is no picture 72",
    ]


def test_parts_are_read_by_name_and_all_must_be_there(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    text = (tree.root / PARTS).read_text()
    write_text(tree.root / PARTS, text.replace("1 back\n2 beak", "2 back\n1 beak"))
    done = prepare("cub-200-2011", tree.root, tmp_path)
    name = f"{ROOT}/images/001.Black_footed_Albatross/Bird_0001_7.jpg"
    (bird,) = records_of(done.folder)[name].instances
    assert bird.point("beak")[:2] == tree.truth[name].objects[0]["back"]
    write_text(tree.root / PARTS, text.replace("15 throat\n", ""))
    with pytest.raises(DataError, match="names 14 parts"):
        prepare("cub-200-2011", tree.root, tmp_path)
    write_text(tree.root / PARTS, text.replace("left eye", "left eyebrow"))
    with pytest.raises(UnmappedKeypointError, match="left eyebrow"):
        prepare("cub-200-2011", tree.root, tmp_path)


def test_the_real_samples_keep_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/cub_200_2011")
    root = tmp_path / "original"
    for file in sample.rglob("*.*"):
        if file.is_file():
            link(file, root / ROOT / file.relative_to(sample))
    done = prepare("cub-200-2011", root, tmp_path)
    assert not any(kinds.get("object") or kinds.get("point") for kinds in done.skipped.values())
    records = {record.source_id: record for record in records_of(done.folder).values()}
    assert {key: record.split for key, record in records.items()} == {"1": "test", "2": "train", "3": "test"}
    assert records["1"].instances[0].box == (60, 27, 325, 304)
    names = dict(line.split(" ", 1) for line in (sample / "parts/parts.txt").read_text().splitlines())
    seen = 0
    for line in (sample / "parts/part_locs.txt").read_text().splitlines():
        picture, part, x, y, visible = line.split()
        point = records[picture].instances[0].point(names[part])
        assert point == ((float(x), float(y), 2) if visible == "1" else (0, 0, 0))
        seen += visible == "1"
    assert seen == sum(len(record.instances[0].keypoints) for record in records.values()) > 20
    for record in records.values():
        (bird,) = record.instances
        x0, y0, width, height = bird.box
        assert all(
            x0 - 3 <= x <= x0 + width + 3 and y0 - 3 <= y <= y0 + height + 3 for x, y, _ in bird.keypoints.values()
        )
        assert bird.category.name == "Black footed Albatross"
