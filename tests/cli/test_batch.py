"""`xpose batch` on a tiny network: the same poses as `xpose detect`, its messages, and the COCO file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import make_picture

from xpose.cli import batch as command

parquet = pytest.importorskip("pyarrow.parquet", reason="batch runs need the extra batch")
Run = Callable[..., tuple[int, str, str]]
ALL = ("-t", "mouse", "--keypoints", "nose,tail", "--threshold", 0, "--rivals", "none", "--max-instances", 2)


@pytest.fixture
def photos(here: Path) -> Path:
    for number in range(5):
        make_picture(here / "photos" / f"{number}.png", number)
    return here / "photos"


def test_the_poses_are_those_of_detect(here: Path, photos: Path, run: Run, weights: str) -> None:
    code, _, err = run("batch", "photos", *ALL, "-p", weights, "-o", "out", "--coco")
    assert code == 0, err
    assert "5 pictures with 10 objects in out/shards (Parquet)." in err
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        "manifest.json",
        "plan.parquet",
        "poses.json",
        "shards",
    ]
    assert run("detect", "photos", *ALL, "-p", weights, "-o", "detected")[0] == 0
    batch, detect = (json.loads((here / name / "poses.json").read_text()) for name in ("out", "detected"))
    for of_batch, of_detect in zip(batch["annotations"], detect["annotations"], strict=True):
        for name in ("bbox", "area"):  # of corners that are rounded to 0.01
            assert of_batch.pop(name) == pytest.approx(of_detect.pop(name), abs=2 if name == "area" else 0.011)
        assert of_batch == of_detect
    assert {**batch, "annotations": 0} == {**detect, "annotations": 0}
    assert run("convert-labels", "out/shards/00000.parquet", "poses.csv", "--to", "csv")[0] == 0
    assert len((here / "poses.csv").read_text().splitlines()) == 1 + 5 * 2 * 2
    code, _, err = run("batch", "photos", *ALL, "-p", weights, "-o", "out")
    assert code == 0
    assert "All pictures were finished before." in err


def test_regions_failed_pictures_and_pictures_without_objects(here: Path, photos: Path, run: Run, weights: str) -> None:
    (photos / "1.png").write_bytes(b"no picture")
    make_picture(photos / "2.png", 2, (20, 20))  # smaller than the region
    code, _, err = run("batch", photos, *ALL, "-p", weights, "--region", "8,4,40,20", "-o", "out", "--coco")
    assert code == 1
    assert "2 pictures could not be processed: see out/failed.jsonl." in err
    rows = [json.loads(line) for line in (here / "out" / "failed.jsonl").read_text().splitlines()]
    assert ["1.png" in rows[0]["picture"], "reaches beyond the picture" in rows[1]["error"]] == [True, True]
    coco = json.loads((here / "out" / "poses.json").read_text())
    assert [image["id"] for image in coco["images"]] == [1, 4, 5]
    assert min(annotation["bbox"][0] for annotation in coco["annotations"]) >= 8
    code, _, err = run("batch", photos, "-t", "mouse", "--threshold", 1, "-p", weights, "-o", "none", "--coco")
    table = parquet.read_table(here / "none" / "shards").to_pylist()
    assert [(row["object"], row["width"], row["error"] is None) for row in table] == [
        (None, 64, True),
        (None, None, False),
        (None, 20, True),
        (None, 64, True),
        (None, 64, True),
    ]
    assert len(json.loads((here / "none" / "poses.json").read_text())["images"]) == 4


def test_a_run_goes_on_after_an_interruption(
    here: Path, photos: Path, run: Run, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("batch", photos, *ALL, "-p", weights, "-o", "out", "--shard-size", 2)

    def interrupted(self: object, pictures: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command._Progress, "add", interrupted)
        code, _, err = run(*words)
    assert code == 130
    assert "Stopped after 2 of 5 pictures. Repeat the command to go on." in err
    code, _, err = run(*words)
    assert code == 0
    assert "Going on after 2 of 5 pictures of an interrupted run." in err
    code, _, err = run(*words, "--every", 2)
    assert code == 1
    assert "other settings (every: 1 is now 2)" in err
    code, _, err = run(*words, "--every", 2, "--fresh")
    assert code == 0


def test_progress_is_told_without_a_terminal(
    here: Path, photos: Path, run: Run, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_SILENCE", -1)
    _, _, err = run("batch", photos, *ALL, "-p", weights, "-o", "out", "--shard-size", 2)
    assert "2 of 5 pictures, " in err
    assert " min left" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("photos",), 1, "No prompt was given"),
        (("photo", "-t", "mouse"), 1, 'Did you mean "photos"?'),
        (("photos", "-t", "mouse", "--workers", "2"), 2, "only for --engine ray"),
        (("photos", "-t", "mouse", "--engine", "ray", "--workers", "4:2"), 2, "no number or MIN:MAX"),
        (("photos", "-t", "mouse", "-o", "photos/1.png"), 1, "is a file"),
        (("photos", "-t", "mouse", "--engine", "ray"), 1, 'pip install "xpose[ray]"'),
    ],
)
def test_mistakes_end_in_clear_errors(
    photos: Path,
    run: Run,
    weights: str,
    words: tuple[str, ...],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result, _, err = run("batch", *words, "-p", weights)
    assert result == code
    assert message in err
