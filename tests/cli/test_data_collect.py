"""`xpose data unify`, `look`, `synthetic` and `shapes` as people meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.collection.test_unify import leaky, simple

from xpose.cli import main
from xpose.data.collection.manifest import read_manifest


def test_the_whole_way_without_a_download(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn, collection = str(tmp_path / "sets/synthetic"), str(tmp_path / "collection")
    size = ["--width", "120", "--height", "90"]
    assert main(["data", "synthetic", "--out", drawn, "--count", "10", *size, "--kind", "fish", "--kind", "car"]) == 0
    assert "train: 9 pictures" in capsys.readouterr().out
    call = ["data", "unify", str(tmp_path / "sets"), "--out", collection, "--seed", "7", "--sample", "synthetic=5"]
    assert main(call) == 0
    shown = capsys.readouterr()
    for text in ("226,547 images", "239,490 images", "12,943 images more", "missing: COCO, 300W", "anatomical"):
        assert text in shown.out
    assert "sampled 5 of 9 training pictures" in shown.err
    assert read_manifest(collection)["sampling_seed"] == 7
    assert main(["data", "look", collection, "--out", str(tmp_path / "pages"), "--pictures", "3"]) == 0
    assert "Wrote 2 pages; start with" in capsys.readouterr().out


def test_leaks_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaky(tmp_path / "sets")
    assert main(["data", "unify", str(tmp_path / "sets"), "--out", str(tmp_path / "out")]) == 0
    assert "2 training pictures are also evaluation pictures" in capsys.readouterr().err
    call = ["data", "unify", str(tmp_path / "sets"), "--out", str(tmp_path / "out"), "--leaks", "report"]
    assert main([*call, "--use", "first:val=none"]) == 0
    assert read_manifest(tmp_path / "out")["splits"]["train"]["counts"]["images"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--leaks", "maybe"], "drop, report or off"),
        (["--sample", "first"], "NAME=COUNT"),
        (["--sample", "first=many"], "whole number"),
        (["--use", "first:val"], "NAME:SPLIT=ROLE"),
        (["--only", "frist"], 'Did you mean "first"'),
    ],
)
def test_mistakes_get_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    simple(tmp_path / "sets")
    assert main(["data", "unify", str(tmp_path / "sets"), "--out", str(tmp_path / "out"), *options]) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("command", ["unify", "look"])
def test_a_folder_without_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(["data", command, str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "holds neither prepared sets" in capsys.readouterr().err
