"""The released script's command line, with a file in the official layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.cli.conftest import make_picture, write_json

import xpose
from xpose.vocabulary import load_skeleton

Run = Callable[..., tuple[int, str, str]]
FACE = list(load_skeleton("face").keypoints)


@pytest.mark.slow
def test_the_command_of_the_released_script(here: Path, run: Run, official: Path) -> None:
    make_picture(here / "face.jpg", size=(240, 32))  # its longer side is enlarged to 1333, which is less than a square
    trap = here / "UniPose_SwinT.py"
    trap.write_text("open('obeyed', 'w').write('')\nraise SystemExit(7)\n")
    command = ["-c", trap, "-p", official, "-i", "face.jpg", "-o", "out", "-t", "face", "-k", "68_face_points"]
    code, out, err = run("detect", *command, "--threshold", "0", "--max-instances", "2", "--nms", "1")
    assert code == 0, err
    assert "selects xpose-swin-t by its name; the file is never opened" in err
    assert 'face (skeleton "face", 68 points)' in err
    assert not (here / "obeyed").exists()
    assert "face.jpg" in out
    content = json.loads((here / "out" / "poses.json").read_text("utf-8"))
    assert [category["name"] for category in content["categories"]] == ["face"]
    assert content["categories"][0]["keypoints"] == FACE
    assert len(content["annotations"]) == 2
    assert all(len(one["keypoints"]) == 3 * 68 for one in content["annotations"])
    assert Image.open(here / "out" / "face_xpose.jpg").width >= 240


@pytest.mark.slow
def test_words_examples_and_both_in_one_call(here: Path, run: Run, clip_weights: Path) -> None:
    """Several classes with skeletons of their own; what the command writes is what the library finds."""
    make_picture(here / "photo.png", seed=1)
    make_picture(here / "leaf.png", seed=2)
    write_json(here / "leaf.json", {"name": "leaf", "keypoints": {"tip": [20, 20], "stalk": [40, 30]}})
    write_json(here / "dog.json", {"name": "dog", "keypoints": {"nose": [10, 12], "tail base": [50, 30]}})
    words = ["-t", "face,dog", "-k", "68_face_points,animal"]
    shown = ["--like", "leaf.png", "--points", "leaf.json", "--like", "leaf.png", "--points", "dog.json"]
    code, _, err = run(
        "detect", "photo.png", *words, *shown, "-p", clip_weights, "-o", "out", "--threshold", "0", "--nms", "1"
    )
    assert code == 0, err
    assert "leaf (2 points, 1 example picture)" in err
    assert 'dog (skeleton "animal", 17 points, 1 example picture)' in err
    written = json.loads((here / "out" / "poses.json").read_text("utf-8"))
    dog = xpose.TextPrompt("dog", skeleton="animal") + xpose.VisualPrompt(
        "leaf.png", {"nose": (10, 12), "tail base": (50, 30)}, name="dog"
    )
    leaf = xpose.VisualPrompt("leaf.png", {"tip": (20, 20), "stalk": (40, 30)}, name="leaf")
    prompts = [xpose.TextPrompt("face", skeleton="face"), dog, leaf]
    found = xpose.load(clip_weights).detect("photo.png", prompts, threshold=0.0, nms=1.0)
    names = {category["id"]: category["name"] for category in written["categories"]}
    assert [names[one["category_id"]] for one in written["annotations"]] == list(found.categories)
    assert [one["score"] for one in written["annotations"]] == pytest.approx(found.scores.tolist(), abs=1e-4)
    kept = {category["name"]: len(category["keypoints"]) for category in written["categories"]}
    assert kept.items() <= {"face": 68, "dog": 17, "leaf": 2}.items()
