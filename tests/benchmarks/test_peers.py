"""The benchmark beside other systems: one small measurement, failures, and the page."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.peers.comparisons import Comparison, Contestant, all_comparisons
from benchmarks.peers.environments import create
from benchmarks.peers.measuring import Result, Row, definition, measure
from benchmarks.peers.page import write_page
from PIL import Image

PEOPLE = {"prompts": [{"object": "person", "keypoints": ["nose"]}], "options": {"side": 64, "threshold": 0.0}}


def result(name: str, axis: str, rows: list[Row], title: str = "A title") -> Result:
    comparison = Comparison(name, title, (), note="A note.", axis=axis)
    return Result(name, 2, "2026-01-02 03:04 UTC", 0.0, definition(comparison), rows)


def row(name: str, *seconds: float, found: int | None = None) -> Row:
    return Row(name, [[value] for value in seconds], [1.5], [found] * len(seconds), 300.0, {"torch": "2.9"})


def test_one_contestant_is_measured_and_failures_become_rows(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.effect_noise((64, 48), 60).convert("RGB").save(picture)
    contestants = (
        Contestant("ours", "detector", PEOPLE | {"batch": 2}),
        Contestant("wrong settings", "grounding_dino", {"size": "none", "colour": 1}),
        Contestant("not installed", "mediapipe", {"solution": "pose"}, "nowhere"),
    )
    comparison = Comparison("tiny", "Tiny", contestants, rounds=2, calls=2, pictures=(str(picture),))
    python = {"": Path(sys.executable), "nowhere": "this package cannot be installed"}
    measured = measure(comparison, python, 1, tmp_path / "logs")
    ours, wrong, missing = measured.rows
    assert ours.error is None
    assert [len(values) for values in ours.seconds] == [2, 2]
    assert 0 < ours.median < ours.starts[0]
    assert ours.found[0] == ours.found[1] > 0
    assert wrong.error is not None
    assert "unexpected keyword argument 'colour'" in wrong.error
    assert missing.error == python["nowhere"]
    stored = tmp_path / "results" / "tiny.json"
    measured.write(stored)
    assert Result.read(stored) == measured
    assert not measured.finished(comparison, 1)  # because of the failures
    good = replace(measured, rows=[ours])
    assert good.finished(comparison, 1)
    assert not good.finished(comparison, 2)
    assert not good.finished(replace(comparison, rounds=3), 1)


def test_the_page_holds_ratios_failures_goals_and_plots(tmp_path: Path) -> None:
    failed = Row("GroundingDINO", error="no | wheel")
    family = [row("xpose, float32", 1.0, 2.0, 1.0), row("padded", 6.5, 12.0, 7.0), failed]
    growth = [row("1", 0.1, 0.1, 0.1, found=1), row("20", 0.12, 0.11, 0.2, found=20)]
    results = [result("swin-t", "", family), result("growth-objects", "objects", growth)]
    page = tmp_path / "docs" / "page.md"
    write_page(results, page, tmp_path / "docs" / "images", "python -m benchmarks.peers")
    text = page.read_text("utf-8")
    assert "| padded | 7.00 | 6.50–12.00 | 6.50 | 300 | 1.5 |  |" in text  # ratios of rounds: 6.5, 6, 7
    assert "| GroundingDINO | not measured: no / wheel |" in text
    assert "| 20 | 0.120 | 1.20 | 300 | 20 |" in text
    goals = text.partition("## Goals")[2].partition("## Other systems")[0]
    assert re.findall(r"\. \| ([\d.]+|not measured) \| (yes|no|)", goals) == [
        ("6.50", "yes"),
        ("not measured", ""),
        ("not measured", ""),
        ("1.20", "no"),
    ]
    for link in re.findall(r"!\[.*\]\((.*)\)", text):
        with Image.open(page.parent / link) as image:
            assert image.width > 300


def test_environments_are_created_once_and_failures_say_why(tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> None:
        commands.append(command)
        (tmp_path / "some").mkdir(exist_ok=True)

    def failing(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="WARNING: slow\nERROR: No matching distribution\n")

    python = create(tmp_path, "some", ["package==1"], run)
    assert python == create(tmp_path, "some", ["package==1"], run)
    assert [command[-1] for command in commands] == [str(tmp_path / "some"), "package==1"]
    create(tmp_path, "some", ["package==2"], run)
    assert len(commands) == 4
    assert create(tmp_path, "other", ["package==1"], failing) == (
        "package==1 cannot be installed: ERROR: No matching distribution"
    )


def test_the_comparisons_differ_in_name_and_their_pictures_exist(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    small, full = (all_comparisons(tmp_path, [], quick) for quick in (True, False))
    assert [comparison.name for comparison in small] == [comparison.name for comparison in full]
    assert len({comparison.name for comparison in full}) == len(full)
    for comparison in small + full:
        names = [contestant.name for contestant in comparison.contestants]
        assert len(set(names)) == len(names) > 1
        own = [contestant.settings.get("picture") for contestant in comparison.contestants]
        assert all(Path(picture).is_file() for picture in (*comparison.pictures, *filter(None, own)))
        assert [int(name) for name in names] == sorted(map(int, names)) if comparison.axis else True
