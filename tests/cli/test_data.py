"""`xpose data` as people meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.datasets.converters.test_onehand10k import write_tree

from xpose.cli import main
from xpose.data.datasets.converters import CONVERTERS


def test_list_names_every_set_and_says_what_is_unverified(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in CONVERTERS)
    assert "format unverified" in shown
    assert main(["data", "list", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(CONVERTERS)
    assert listed["coco"]["expected"]["unikpt_images"] == 58_945


@pytest.mark.parametrize("name", sorted(CONVERTERS))
def test_info_says_what_to_fetch(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", name]) == 0
    shown = capsys.readouterr().out
    assert "licence" in shown
    assert "download " in shown


def test_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "root")
    (tree.root / "Train/source/1.jpg").unlink()
    call = ["data", "prepare", "onehand10k", "--root", str(tree.root), "--out", str(tmp_path / "out")]
    assert main(call) == 0
    shown = capsys.readouterr()
    assert "1 picture" in shown.out
    assert "report.json" in shown.err
    assert (tmp_path / "out/onehand10k/train.json").is_file()
    assert main([*call, "--split", "test"]) == 0


def test_what_was_not_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "root")
    (tree.root / "Test/label_joint.txt").unlink()
    call = ["data", "prepare", "onehand10k", "--root", str(tree.root), "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert "Split test was skipped" in capsys.readouterr().err
    assert main([*call, "--split", "test"]) == 1
    assert "Test/label_joint.txt" in capsys.readouterr().err


def test_mistakes_get_a_message_and_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", "cocoo"]) == 1
    assert 'Did you mean "coco"' in capsys.readouterr().err
    assert main(["data", "prepare", "coco", "--root", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert "is not a folder" in shown
    assert "Traceback" not in shown
