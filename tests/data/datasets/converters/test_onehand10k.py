"""OneHand10K: a drawn original and damage; the original text file is not among the samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, records_of, spread, write_text

from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report

NAMES = load_converter("onehand10k").tables["hand"].unified


def line_of(name: str, points: dict[str, tuple[float, float]]) -> str:
    places = [points.get(point, (-1, -1)) for point in NAMES]
    return ",".join([name, "100", "80", "1", *(str(int(value)) for place in places for value in place)])


def write_tree(root: Path) -> Tree:
    truth = {}
    for folder, split in (("Train", "train"), ("Test", "test")):
        lines = []
        for number in range(3):
            points = spread(NAMES[number:], 12, 12)
            draw(root / f"{folder}/source/{number}.jpg", (100, 80), [points])
            lines.append(line_of(f"{number}.jpg", points))
            truth[f"{folder}/source/{number}.jpg"] = Truth([points], split)
        write_text(root / folder / "label_joint.txt", "\n".join(lines) + "\n")
    return Tree(root, truth, ["Train/label_joint.txt", "Test/label_joint.txt"])


test_fuzz = fuzz_test("onehand10k", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("onehand10k", write_tree(tmp_path / "original"), tmp_path)
    (hand,) = records_of(done.folder)["Test/source/2.jpg"].instances
    assert hand.category.name == "hand"
    assert hand.category.keypoints == NAMES
    assert hand.point(NAMES[0]) == hand.point(NAMES[1]) == (0, 0, 0), "-1,-1 is no point"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0.jpg,100,80,1,5,5", "6 cells, but must have 46"),
        ("0.jpg,100,81,1" + ",5,5" * 21, "100x81"),
        ("0.jpg,100,80,1" + ",-1,-1" * 21, "neither a box nor a labelled point"),
        ("0.jpg,100,80,1" + ",7,7" * 21, "no area"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_stay(tmp_path: Path, line: str, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "Train/label_joint.txt"
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))
    done = prepare("onehand10k", tree.root, tmp_path)
    (entry,) = read_report(done.folder / "report.json")
    assert entry["file"] == "Train/source/0.jpg"
    assert reason in entry["reason"]
    assert done.counts["train"].images == 2
