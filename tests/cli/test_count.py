"""`xpose count`: the numbers of `xpose detect`, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import make_picture

Run = Callable[..., tuple[int, str, str]]
ALL = ["--threshold", "0", "--nms", "1"]


@pytest.fixture
def three(here: Path) -> Path:
    for number in range(3):
        make_picture(here / "in" / f"{number}.png", seed=number)
    return here


def test_all_forms_say_what_detect_finds(three: Path, run: Run, weights: str) -> None:
    asked = ["in", "-t", "dog,face", "-p", weights, *ALL]
    found = json.loads(run("detect", *asked, "--json")[1])["pictures"]
    expected = [Counter({"dog": 0, "face": 0}) + Counter(pose["category"] for pose in one["poses"]) for one in found]
    total = sum(expected, Counter())
    assert total

    content = json.loads(run("count", *asked, "--json")[1])
    assert [Counter(row["counts"]) for row in content["pictures"]] == expected
    assert Counter(content["total"]) == total
    assert content["failed"] == []

    rows = list(csv.DictReader(io.StringIO(run("count", *asked, "--csv")[1])))
    assert [row["picture"] for row in rows] == ["in/0.png", "in/1.png", "in/2.png"]
    assert [{k: int(row[k]) for k in ("dog", "face")} for row in rows] == [
        {k: one[k] for k in ("dog", "face")} for one in expected
    ]

    table = run("count", *asked)[1]
    assert re.search(rf"all 3 pictures +{total['dog']} +{total['face']}", table)


def test_spreadsheets_get_no_formulas(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "in" / "=1+1.png")
    make_picture(here / "=2.png")
    code, out, _ = run("count", "in", "=2.png", "-t", "=cmd()", "--keypoints", "tip", "-p", weights, "--csv")
    assert code == 0
    assert out.splitlines()[0] == "picture,'=cmd()"
    assert out.splitlines()[2].startswith("'=2.png,")


def test_bad_files_are_named_and_the_rest_is_counted(three: Path, run: Run, weights: str) -> None:
    (three / "in" / "bad.png").write_text("no picture")
    code, out, err = run("count", "in", "-t", "dog", "-p", weights, "--json")
    assert code == 1
    content = json.loads(out)
    assert len(content["pictures"]) == 3
    assert [fault["picture"] for fault in content["failed"]] == ["in/bad.png"]
    assert "Skipped" in err
    assert sorted(path.name for path in three.iterdir()) == ["in"]  # nothing is written
