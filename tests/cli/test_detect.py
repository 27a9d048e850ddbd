"""`xpose detect`: what goes in, what comes out, and what stays as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import full_disk, make_picture, write_json
from tests.inference.conftest import own_detector, saved

import xpose
from xpose import cli
from xpose.cli._inputs import InputPicture, list_pictures, printable
from xpose.cli._options import FileOptions
from xpose.cli._output_folder import drawing_paths
from xpose.inference import Detector
from xpose.model.checkpoints.categories import LearnedCategory, Quality
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.results.formats.table import FORMATS, encoded
from xpose.results.formats.yolo import Layout, shared

Run = Callable[..., tuple[int, str, str]]
ALL = ["--threshold", "0", "--max-instances", "3", "--nms", "1"]


def strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def coco(path: Path) -> dict[str, Any]:
    content = strict_json(path.read_text("utf-8"))
    assert isinstance(content, dict)
    return content


# What comes out


def test_a_drawing_a_file_and_a_table(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "one.jpg")
    code, out, err = run("detect", "one.jpg", "-t", "wren", "-p", weights, "-o", "out", *ALL)
    assert code == 0, err
    assert re.search(r"one\.jpg +wren +3 +0\.\d\d +\d+ of 17", out)
    assert "Drawings are in out, all results in out/poses.json." in err
    assert sorted(path.name for path in (here / "out").iterdir()) == ["one_xpose.jpg", "poses.json"]
    drawn, plain = (np.asarray(Image.open(path), dtype=int) for path in ("out/one_xpose.jpg", "one.jpg"))
    assert drawn.shape != plain.shape or abs(drawn - plain).mean() > 1


def test_the_file_holds_what_the_library_finds(here: Path, run: Run, weights: str) -> None:
    """Several classes with skeletons of their own, in words, by example and by both, over several pictures."""
    for number in range(3):
        make_picture(here / "in" / f"{number}.png", seed=number)
    make_picture(here / "ref.png", seed=9)
    write_json(here / "leaf.json", {"name": "leaf", "keypoints": {"tip": [20, 20], "stalk": [40, 30, 1]}})
    write_json(here / "dog.json", {"name": "dog", "keypoints": {"nose": [10, 12]}, "box": [5, 5, 60, 40]})
    examples = ["--like", "ref.png", "--points", "leaf.json", "--like", "ref.png", "--points", "dog.json"]
    words = ["-t", "face,dog", "-k", "68_face_points,animal"]
    code, _, err = run("detect", "in", *words, *examples, "-p", weights, "-o", "out", *ALL)
    assert code == 0, err

    nose = xpose.VisualPrompt("ref.png", {"nose": (10, 12)}, box=(5, 5, 60, 40), name="dog")
    prompts = [
        xpose.TextPrompt("face", skeleton="face"),
        xpose.TextPrompt("dog", skeleton="animal") + nose,
        xpose.VisualPrompt("ref.png", {"tip": (20, 20), "stalk": (40, 30)}, name="leaf"),
    ]
    pictures = [f"in/{number}.png" for number in range(3)]
    found = xpose.load(weights).detect(pictures, prompts, threshold=0.0, max_instances=3, nms=1.0)
    written = coco(here / "out" / "poses.json")
    names = {category["id"]: category["name"] for category in written["categories"]}
    assert [image["file_name"] for image in written["images"]] == pictures
    for image, poses in zip(written["images"], found, strict=True):
        rows = [one for one in written["annotations"] if one["image_id"] == image["id"]]
        assert [names[row["category_id"]] for row in rows] == list(poses.categories)
        assert [row["score"] for row in rows] == pytest.approx(poses.scores.tolist(), abs=1e-4)
        for row, pose in zip(rows, poses, strict=True):
            assert len(row["keypoints"]) == 3 * len(pose.names)
            flat = [v for x, y, _, seen in pose.points.values() for v in ((x, y, seen) if seen else (0, 0, 0))]
            assert row["keypoints"] == pytest.approx(flat, abs=0.006)


def test_pycocotools_reads_the_file(here: Path, run: Run, weights: str) -> None:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    make_picture(here / "a.png")
    assert run("detect", "a.png", "-t", "face,dog", "-p", weights, "-o", "out", *ALL)[0] == 0
    loaded = coco_module.COCO(str(here / "out" / "poses.json"))
    assert len(loaded.getAnnIds()) == 3


def test_json_is_alone_on_standard_output(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    (here / "bad.png").write_text("no picture")
    code, out, err = run(
        "detect", "a.png", "bad.png", "-t", "flurb", "--keypoints", "none", "-p", weights, "--json", *ALL
    )
    content = strict_json(out)
    assert code == 1
    assert len(content["pictures"][0]["poses"]) == 3
    assert content["pictures"][0]["image"]["path"] == "a.png"
    assert content["counts"] == {"flurb": 3}
    assert [fault["picture"] for fault in content["failed"]] == ["bad.png"]
    assert "bad.png" in err
    assert not (here / "xpose-out").exists()
    again = xpose.Poses.from_dict(content["pictures"][0])
    assert len(again) == 3


def test_json_and_files_where_a_folder_is_named(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    code, out, _ = run("detect", "a.png", "-t", "dog", "-p", weights, "--json", "-o", "out", *ALL)
    assert code == 0
    assert strict_json(out)["pictures"][0]["drawing"] == os.path.join("out", "a_xpose.png")
    assert (here / "out" / "a_xpose.png").exists()


def test_nothing_found_is_a_result(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    code, out, err = run("detect", "a.png", "-t", "dog", "-p", weights, "-o", "out", "--threshold", "1")
    assert code == 0
    assert re.search(r"a\.png +dog +0", out)
    assert "No detection passed the threshold of 1." in re.sub(r"\s+", " ", err)
    assert "--threshold" not in err, "half of it would not show anything either"
    assert "add --best. An example picture often helps" in re.sub(r"\s+", " ", err)
    assert coco(here / "out" / "poses.json")["annotations"] == []
    assert Image.open(here / "out" / "a_xpose.png").size == (64, 48)


def test_the_best_candidate_below_the_threshold_is_named(here: Path, run: Run, tmp_path: Path) -> None:
    """In the table and in JSON; only --best draws and keeps it."""
    make_picture(here / "a.png")
    weights = str(saved(own_detector(thresholds={"dog": 0.9, "": 0.0}), tmp_path / "strict"))
    asked = ["detect", "a.png", "-t", "dog", "-p", weights]
    best = xpose.load(weights).detect("a.png", "dog", best=True)[0]
    code, out, err = run(*asked, "-o", "out")
    assert code == 0
    assert f" 0   {best.score:.2g} < 0.9 " in out
    assert "To see the best candidates, add --best." in re.sub(r"\s+", " ", err)
    assert coco(here / "out" / "poses.json")["annotations"] == []
    plain = np.asarray(Image.open("a.png"))
    assert np.array_equal(Image.open(here / "out" / "a_xpose.png"), plain)
    for extra in ([], ["--best"]):
        content = strict_json(run(*asked, "--json", *extra)[1])
        (picture,) = content["pictures"]
        candidate = picture["best_candidates"]["dog"]
        assert (candidate["score"], candidate["threshold"]) == (pytest.approx(best.score, abs=1e-4), 0.9)
        assert candidate["box"] == pytest.approx(best.box.tolist(), abs=0.01)
        assert [row["tentative"] for row in picture["poses"]] == [True] * len(extra)
        assert content["counts"] == {"dog": 0}

    code, out, err = run(*asked, "-o", "out", "--best")
    assert f" 0   {best.score:.2g} < 0.9 " in out
    assert "add --best" not in err
    (annotation,) = coco(here / "out" / "poses.json")["annotations"]
    assert annotation["tentative"]
    assert not np.array_equal(np.asarray(Image.open(here / "out" / "a_xpose.png"))[: len(plain)], plain)


def test_a_detected_class_has_no_candidate_and_a_suppressed_one_says_so(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    words = ["detect", "a.png", "-t", "dog,cat", "-p", weights, "--threshold", "0", "--max-instances", "1"]
    content = strict_json(run(*words, "--json")[1])
    (found,) = (label for label, count in content["counts"].items() if count)
    (other,) = {"dog", "cat"} - {found}
    assert list(content["pictures"][0]["best_candidates"]) == [other]
    assert re.search(rf"{other} +0 +0\.\d\d, suppressed", run(*words, "-o", "out")[1])


def test_a_region_is_searched_in_every_picture(here: Path, run: Run, weights: str) -> None:
    for number in range(2):
        make_picture(here / "in" / f"{number}.png", seed=number)
    make_picture(here / "in" / "small.png", size=(30, 30))
    words = ["in", "-t", "dog", "-p", weights, "--region", "20,8,40,32", *ALL]
    code, out, err = run("detect", *words, "--json")
    assert code == 1
    assert "beyond the picture of 30 x 30 pixels" in err
    detector = xpose.load(weights)
    for picture in json.loads(out)["pictures"]:
        poses = detector.detect(picture["image"]["path"], "dog", region=(20, 8, 40, 32), threshold=0.0, nms=1.0)
        assert len(picture["poses"]) == 3
        for row, pose in zip(picture["poses"], poses, strict=False):
            assert row["box"] == pytest.approx(pose.box.tolist(), abs=0.01)
    assert json.loads(run("count", *words, "--json")[1])["total"] == {"dog": 6}


def test_the_advice_helps(here: Path, run: Run, tmp_path: Path) -> None:
    """It knows the thresholds of the weights, proposes one that shows something, and nothing that is done already."""
    picture = make_picture(here / "a.png")
    best = own_detector().detect(picture, ["dog", "cat"], best=True, threshold=1.0)
    near = {pose.category: min(1.0, round(1.5 * pose.score, 3)) for pose in best}
    for name, limits in (("near", near), ("far", {"dog": 0.99, "cat": 0.98})):
        saved(own_detector(thresholds=limits), tmp_path / name)
    asked = ["detect", "a.png", "-t", "dog,cat", "-o", "out", "-p"]
    code, _, err = run(*asked, tmp_path / "far")
    said = re.sub(r"\s+", " ", err)
    assert code == 0
    assert "(dog 0.99, cat 0.98). Classes compete with each other; try one at a time. To see the best" in said
    assert "Earlier results" not in err
    _, _, err = run(*asked, tmp_path / "near")
    assert "Earlier results there were replaced." in err
    (proposed,) = re.findall(r"\(--threshold\s+([0-9.]+)\)", err)
    assert len(coco(here / "out" / "poses.json")["annotations"]) == 0
    run(*asked, tmp_path / "near", "--threshold", proposed)
    assert coco(here / "out" / "poses.json")["annotations"]
    write_json(here / "dog.json", {"name": "dog", "keypoints": {"nose": [10, 12]}})
    shown = ["--like", "a.png", "--points", "dog.json"]
    assert "(--like)" not in run(*asked, tmp_path / "far", *shown, "--best")[2]
    assert run("prompt", "save", "dogs.safetensors", "-t", "dog", "-p", tmp_path / "far")[0] == 0
    _, _, err = run("detect", "a.png", "--bank", "dogs.safetensors", "-p", tmp_path / "far", "-o", "out")
    assert "No detection passed" in err
    assert "(--like)" not in err


def test_quiet(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    code, out, err = run("detect", "a.png", "-t", "person", "--style", "cartoon", "-p", weights, "-o", "out", "--quiet")
    assert (code, err) == (0, "")
    assert "a.png" in out


def test_points_under_their_threshold_are_not_there(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    call = ["detect", "a.png", "-t", "dog", "-p", weights, "--json", *ALL, "--keypoint-threshold"]
    seen = [json.loads(run(*call, str(least))[1])["pictures"][0]["poses"][0]["keypoints"] for least in (0, 1)]
    assert all(point["v"] == 2 for point in seen[0].values())
    assert all((point["v"], point["x"]) == (0, None) for point in seen[1].values())


def test_drawings_are_those_of_the_library(here: Path, run: Run, weights: str) -> None:
    """With the same options; in several, the size depends on the picture and the prompts, not on what was detected."""
    for number in range(2):
        make_picture(here / "in" / f"{number}.png", seed=number, size=(640, 480))
    command = ["detect", "in", "-t", "dog", "-p", weights, "--max-instances", "1"]
    thin = ["--legend", "inside", "--no-boxes", "--no-labels", "--line-width", "0.5"]
    assert run(*command, "-o", "thin", *thin, "--threshold", "0")[0] == 0
    assert run(*command, "-o", "found", "--threshold", "0")[0] == 0
    assert run(*command, "-o", "none", "--threshold", "1")[0] == 0
    sizes = {Image.open(path).size for folder in ("found", "none") for path in (here / folder).glob("*.png")}
    assert len(sizes) == 1
    assert sizes.pop()[1] > 480, "a legend, whether something was detected or not"
    assert run(*command[:1], "in/1.png", *command[2:], "-o", "one", "--threshold", "1")[0] == 0
    assert Image.open(here / "one" / "1_xpose.png").size == (640, 480), "a single picture without detections has none"
    poses = xpose.load(weights).detect("in/1.png", "dog", threshold=0.0, max_instances=1)
    drawn = poses.draw(prompts="dog", legend="inside", boxes=False, labels=False, line_width=0.5)
    np.testing.assert_array_equal(Image.open(here / "thin" / "1_xpose.png"), drawn)


def test_crops_and_files_for_other_programs(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "in" / "a.png", seed=1)
    make_picture(here / "in" / "sub" / "b.jpg", seed=2)
    command = ["detect", "in", "-t", "a/b,dog", "-k", "animal,animal", "-p", weights, "-o", "in", "--json", *ALL]
    formats = ["--csv", "--yolo", "--openpose", "--coco-results"]
    code, out, err = run(*command, "--crops", "--pose-map", *formats)
    assert code == 0, err
    assert (
        "Drawings, pose maps and crops are in in, all results in in/poses.json, in/poses-results.json, in/poses.csv"
        in err
    )
    assert "in/*_keypoints.json, in/labels/*.txt, in/data.yaml." in err
    pictures = strict_json(out)["pictures"]
    labels = [pose["category"] for picture in pictures for pose in picture["poses"]]
    for picture in pictures:
        for number, (pose, crop) in enumerate(zip(picture["poses"], picture["crops"], strict=True), start=1):
            stem, ending = os.path.splitext(picture["drawing"])
            assert crop == f"{stem}_{number}_{pose['category'].replace('/', '-')}{ending}"
            assert Image.open(picture["pose_map"]).size == (64, 48)
            x1, y1, x2, y2 = np.clip(pose["box"], 0, [64, 48, 64, 48])
            assert Image.open(crop).size == pytest.approx((x2 - x1, y2 - y1), abs=2)
    found = [xpose.Poses.from_dict(picture) for picture in pictures]
    assert (here / "in" / "poses.csv").read_bytes() == encoded(found, "csv")
    layout = Layout(("a/b", "dog"), found[0].keypoint_names[0])
    assert (here / "in" / "data.yaml").read_text() == shared(found, layout)["data.yaml"]
    lines = [line.split() for name in ("a", "sub/b") for line in (here / f"in/labels/{name}.txt").open()]
    assert [(layout.classes[int(line[0])], len(line)) for line in lines] == [(label, 5 + 3 * 17) for label in labels]
    assert len(strict_json((here / "in" / "sub" / "b_keypoints.json").read_text())["animals"]) == 3
    rows = strict_json((here / "in" / "poses-results.json").read_text())
    assert [row["category_id"] for row in rows] == [("a/b", "dog").index(label) + 1 for label in labels]
    again = run(*command)
    assert [picture["image"]["path"] for picture in strict_json(again[1])["pictures"]] == ["in/a.png", "in/sub/b.jpg"]
    assert "Skipped 10 drawings" in again[2]


def test_options_for_files_have_the_names_of_their_formats() -> None:
    options = {field.name.replace("_", "-") for field in dataclasses.fields(FileOptions)}
    assert options - {"crops", "pose-map"} < {*FORMATS} - {"json", "coco"}


# What is looked for


@pytest.mark.parametrize(
    ("why", "words", "expected"),
    [
        ("a known category", ["-t", "wren"], 'Looking for: wren (skeleton "animal", 17 points)'),
        ("its reason", ["-t", "wren"], 'default of the category "wren"'),
        ("how to choose", ["-t", "wren"], "-k NAME (list them: xpose skeletons)"),
        ("only boxes", ["-t", "flurb", "--keypoints", "none"], "Looking for: flurb (box only)"),
        ("a part", ["-t", "person", "--part", "hand"], "Looking for: person's hand (box only)"),
        ("points in free words", ["-t", "leaf", "--keypoints", "tip,stalk"], "Looking for: leaf (2 points)"),
        ("points of any object", ["--keypoints", "left eye"], "Looking for: object (1 point)"),
        ("some of a set", ["-t", "dog", "-k", "animal", "--keypoints", "nose"], 'dog (skeleton "animal", 1 point)'),
        ("flags that repeat", ["-t", "a", "-t", "b", "-k", "face", "-k", "hand"], 'b (skeleton "hand", 21 points)'),
        ("an example", ["--like", "ref.png", "--points", "tip.json"], "object (2 points, 1 example picture)"),
        (
            "two shots",
            ["--like", "ref.png", "--points", "tip.json", "--like", "ref.png", "--points", "tip.json"],
            "object (2 points, 2 example pictures)",
        ),
        (
            "words and the points of the example",
            ["-t", "leaf", "--like", "ref.png", "--points", "tip.json"],
            "leaf (2 points, 1 example picture)",
        ),
        (
            "words and an example of something else",
            ["-t", "wren", "--like", "ref.png", "--points", "leaf.json"],
            "Looking for: leaf (2 points, 1 example picture)",
        ),
        ("a box alone", ["--like", "ref.png", "--points", "box.json"], "nut (box only, 1 example picture)"),
    ],
    ids=lambda value: value if isinstance(value, str) and "(" not in value else "",
)
def test_what_is_looked_for_is_said(
    here: Path, run: Run, weights: str, why: str, words: list[str], expected: str
) -> None:
    make_picture(here / "a.png")
    make_picture(here / "ref.png", seed=3)
    write_json(here / "tip.json", {"tip": [20, 20], "stalk": [40, 30]})
    write_json(here / "leaf.json", {"name": "leaf", "keypoints": {"tip": [20, 20], "stalk": [40, 30]}})
    write_json(here / "box.json", {"name": "nut", "keypoints": {}, "box": [10, 10, 30, 40]})
    code, _, err = run("detect", "a.png", *words, "-p", weights, "-o", "out", *ALL)
    assert code == 0, err
    assert expected in err, why


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that state what they have learned."""
    ears = LearnedCategory(
        "rabbit", "rabbit of ours", ("left ear tip", "right ear tip", "nose"), (("nose", "left ear tip"),)
    )
    bird = LearnedCategory(
        "bird", "cub_bird", ("beak tip", "left eye"), objects=7, quality=Quality({"text PCK@0.2": 0.5}, 3)
    )
    folder = tmp_path_factory.mktemp("knowing")
    save_pretrained(own_detector().model, folder, categories=[bird, ears, LearnedCategory("hem", "hem", ())])
    return str(folder)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-t", "rabbit"], 'Looking for: rabbit (skeleton "rabbit of ours", 3 points)'),
        (["-t", "wren"], 'learned for "bird" by these weights, the most similar animal to "wren"'),
        (["-t", "hem"], 'hem (box only)\n  Keypoints: these weights have learned only boxes of "hem".'),
        (["-t", "joystick", "--keypoints", "tip"], "Warning: never learned: joystick. Results may be wrong."),
        (["-t", "brid", "--keypoints", "beak tip"], 'Warning: never learned: brid. Did you mean "bird"?'),
        (["-t", "rabbit", "--keypoints", "nosee,left ear tip"], 'keypoint "nosee" of "rabbit". Did you mean "nose"?'),
    ],
)
@pytest.mark.filterwarnings("default::xpose.errors.WordWarning")
def test_what_the_weights_have_learned_decides(
    words: list[str], expected: str, here: Path, run: Run, knowing: str
) -> None:
    make_picture(here / "a.png")
    code, _, err = run("detect", "a.png", *words, "-p", knowing, "-o", "out", *ALL)
    assert code == 0, err
    assert expected in err


def test_a_bank_finds_what_its_words_find(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    assert run("prompt", "save", "birds.safetensors", "-t", "wren,nest", "-k", "animal,hand", "-p", weights)[0] == 0
    by_bank = run("detect", "a.png", "--bank", "birds.safetensors", "-p", weights, "--json", *ALL)
    by_words = run("detect", "a.png", "-t", "wren,nest", "-k", "animal,hand", "-p", weights, "--json", *ALL)
    assert by_bank[0] == by_words[0] == 0
    assert json.loads(by_bank[1]) == json.loads(by_words[1])


# What goes in


def test_folders_patterns_and_frames_in_natural_order(here: Path, run: Run, weights: str) -> None:
    for number in (10, 9, 1, 2):
        make_picture(here / "frames" / f"clip_{number}.png", seed=number)
    make_picture(here / "frames" / ".hidden.png")
    make_picture(here / "frames" / ".thumbnails" / "a.png")
    (here / "frames" / "notes.txt").write_text("no picture")
    order = [f"frames/clip_{number}.png" for number in (1, 2, 9, 10)]
    for named in ("frames", "frames/*.png", "**/*.png"):
        code, out, _ = run("count", named, "-t", "mouse", "-p", weights, "--json")
        assert code == 0
        assert [row["picture"] for row in json.loads(out)["pictures"]] == order, named


def test_a_picture_named_twice_is_seen_once(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "in" / "a.png")
    code, out, _ = run("count", "in/a.png", "-i", "in", "-i", "in/../in/a.png", "-t", "dog", "-p", weights, "--json")
    assert code == 0
    assert len(json.loads(out)["pictures"]) == 1


@pytest.mark.parametrize("out", [".", "out", "sub"])
def test_drawings_of_the_last_run_are_no_pictures(here: Path, run: Run, weights: str, out: str) -> None:
    make_picture(here / "a.jpg")
    make_picture(here / "sub" / "my_xpose.jpg")  # the user's own name
    for turn in range(3):
        code, text, err = run("detect", ".", "-t", "dog", "-p", weights, "-o", out, "--json", *ALL)
        assert code == 0
        assert [row["image"]["path"] for row in json.loads(text)["pictures"]] == ["a.jpg", "sub/my_xpose.jpg"]
        assert ("Skipped 2 drawings" in err) == (turn > 0)
    assert len(list(here.rglob("*.jpg"))) == 4


def test_the_frames_of_an_animation_are_pictures(here: Path, run: Run, weights: str) -> None:
    pictures = [Image.open(make_picture(here / "png" / f"{number}.png", seed=number)) for number in range(10)]
    (here / "in").mkdir()
    pictures[0].save(here / "in" / "clip.tif", save_all=True, append_images=pictures[1:])
    for _ in range(2):  # its drawings are no pictures of the second run
        code, out, err = run("detect", "in", "-t", "dog", "-p", weights, "--json", "-o", "in", *ALL)
        assert code == 0, err
        frames = strict_json(out)["pictures"]
        assert [row["image"]["path"] for row in frames] == [f"in/clip.tif#{number}" for number in range(1, 11)]
        assert [row["drawing"] for row in frames] == [f"in/clip-{number:02}_xpose.png" for number in range(1, 11)]
    found = strict_json(run("detect", "png/9.png", "-t", "dog", "-p", weights, "--json", *ALL)[1])
    assert found["pictures"][0]["poses"] == frames[9]["poses"]


def test_the_frames_before_the_damage_are_used(here: Path, run: Run, weights: str) -> None:
    frames = [Image.open(make_picture(here / f"{number}.png", seed=number)) for number in range(4)]
    frames[0].save(here / "clip.tif", save_all=True, append_images=frames[1:])
    content = (here / "clip.tif").read_bytes()
    (here / "clip.tif").write_bytes(content[: int(0.9 * len(content))])
    code, out, err = run("count", "clip.tif", "0.png", "-t", "dog", "-p", weights, "--json")
    assert code == 1
    assert 'Frame 4 of "clip.tif" is damaged' in err
    seen = strict_json(out)
    assert [row["picture"] for row in seen["pictures"]] == ["clip.tif#1", "clip.tif#2", "clip.tif#3", "0.png"]
    assert [fault["picture"] for fault in seen["failed"]] == ["clip.tif#4"]


# Nothing gets lost


def test_equal_names_never_clash(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a" / "1.png", seed=1)
    make_picture(here / "b" / "1.png", seed=2)
    make_picture(here / "b" / "1.PNG", seed=3)
    make_picture(here / "c" / "deep" / "1.png", seed=4)
    pictures = ["a/1.png", "b/1.png", "b/1.PNG", "c"]
    code, out, _ = run("detect", *pictures, "-t", "dog", "-p", weights, "-o", "out", "--json", *ALL)
    assert code == 0
    drawings = [row["drawing"] for row in json.loads(out)["pictures"]]
    assert [Path(name).as_posix() for name in drawings] == [
        "out/1_xpose.png",
        "out/1_xpose-2.png",
        "out/1_xpose-3.png",
        "out/deep/1_xpose.png",
    ]
    assert all(Path(name).exists() for name in drawings)


def test_inputs_are_never_written_to(here: Path, run: Run, weights: str) -> None:
    """A picture that is called like a drawing of another, and points that are called like our file."""
    make_picture(here / "a.png", seed=1)
    make_picture(here / "b" / "a_xpose.png", seed=2)
    write_json(here / "b" / "poses.json", {"tip": [20, 20]})
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    shown = ["--like", "b/a_xpose.png", "--points", "b/poses.json"]
    code, out, err = run("detect", "a.png", *shown, "-p", weights, "-o", "b", "--json", *ALL)
    assert code == 0, err
    assert {path: path.read_bytes() for path in before} == before
    assert Path(json.loads(out)["pictures"][0]["drawing"]).name == "a_xpose-2.png"
    assert (here / "b" / "poses-2.json").exists()


def test_names_that_only_differ_in_case_and_endless_names(tmp_path: Path) -> None:
    names = ["A.jpg", "a.jpg", "a.jpeg", "é" * 120 + ".gif", "a.png"]
    pictures = [InputPicture(Path(str(i)) / name, name, Path(name)) for i, name in enumerate(names)]
    targets = list(drawing_paths(pictures, tmp_path, []).values())
    assert len({str(target).casefold() for target in targets}) == len(names)
    for target in targets:
        target.write_text("fits")


def test_a_bad_file_is_skipped_and_the_rest_is_done(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "in" / "1.png")
    (here / "in" / "2.png").write_bytes(b"broken")
    make_picture(here / "in" / "3.png")
    code, out, err = run("detect", "in", "gone.png", "-t", "dog", "-p", weights, "-o", "out", *ALL)
    assert code == 1
    assert err.count("Error:") == 2
    assert '"in/2.png" is not a picture' in err
    assert 'no picture "gone.png"' in err
    assert [image["file_name"] for image in coco(here / "out" / "poses.json")["images"]] == ["in/1.png", "in/3.png"]
    assert "all 2 pictures" in out


def test_a_full_disk_leaves_what_was_there(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png", size=(400, 300))
    (here / "out").mkdir()
    (here / "out" / "poses.json").write_text("of yesterday")
    with full_disk(2_000):
        code, _, err = run("detect", "a.png", "-t", "dog", "-p", weights, "-o", "out", *ALL)
    assert code == 1
    assert "could not be written" in err
    assert [path.name for path in (here / "out").iterdir()] == ["poses.json"]
    assert (here / "out" / "poses.json").read_text() == "of yesterday"


def test_ctrl_c_between_two_pictures(here: Path, run: Run, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        make_picture(here / "in" / f"{number}.png", seed=number)
    detect, calls = Detector.detect, []

    def until_the_third(self: Detector, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return detect(self, *arguments, **options)

    monkeypatch.setattr(Detector, "detect", until_the_third)
    code, out, err = run("detect", "in", "-t", "dog", "-p", weights, "-o", "out", "--json", *ALL)
    assert code == 130
    assert err.endswith(
        "Drawings are in out, all results in out/poses.json.\nStopped after 2 of 4 pictures.\nInterrupted.\n"
    )
    assert len(strict_json(out)["pictures"]) == 2
    assert [image["file_name"] for image in coco(here / "out" / "poses.json")["images"]] == ["in/0.png", "in/1.png"]


def test_a_ctrl_c_that_gets_lost_still_ends_the_run(
    here: Path, run: Run, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python drops an exception that a signal raises while an object is finalised."""
    for number in range(3):
        make_picture(here / "in" / f"{number}.png")

    class Dropped:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = Detector.detect
    monkeypatch.setattr(Detector, "detect", lambda *given, **options: (Dropped(), before(*given, **options))[1])
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    code, _, err = run("detect", "in", "-t", "dog", "-p", weights, "-o", "out", *ALL)
    assert (code, err.endswith("Interrupted.\n")) == (130, True)
    assert [image["file_name"] for image in coco(here / "out" / "poses.json")["images"]] == ["in/0.png"]


def test_a_real_ctrl_c(here: Path, weights: str) -> None:
    interrupt_once(here, weights)


def interrupt_once(here: Path, weights: str) -> None:
    for number in range(400):
        shutil.copy(make_picture(here / "one.png"), here / f"{number}.png")
    command = [sys.executable, "-m", "xpose", "detect", ".", "-t", "dog", "-p", weights, "-o", "out", *ALL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here)
    deadline = time.monotonic() + 120
    while not list(here.glob("out/*_xpose.png")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Interrupted." in err
    assert "Traceback" not in err
    finished = coco(here / "out" / "poses.json")["images"]
    drawings = list(here.glob("out/*_xpose.png"))
    assert 0 < len(finished) < 401
    assert len(drawings) - len(finished) in (0, 1)  # the one that was being drawn
    assert not list(here.glob("out/.*"))
    assert "0.png" in out


# What the terminal and other programs see

NAMES = ["[red]x[b].png", "a\nb.png", "\x1b[31mred.png", ":smile:.png", "ünïcødé 鳥.png", "'quo\"te.png", "-t.png"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_file_name(here: Path, run: Run, weights: str, name: str) -> None:
    make_picture(here / "in" / "plain.png").rename(here / "in" / name)
    code, out, err = run("detect", "in", "-t", "dog", "-p", weights, "-o", "out", *ALL)
    assert code == 0, err
    shown = printable(name)
    assert "\x1b" not in out + err
    assert shown in out
    stem = name.removesuffix(".png")
    assert (here / "out" / f"{stem}_xpose.png").exists()
    assert coco(here / "out" / "poses.json")["images"][0]["file_name"].endswith(shown)


def test_a_name_of_broken_bytes(here: Path, run: Run, weights: str) -> None:
    picture = make_picture(here / "a.png")
    try:
        os.rename(picture, os.fsencode(here) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system refuses such names")
    code, out, err = run("detect", ".", "-t", "dog", "-p", weights, "-o", "out", "--json", *ALL)
    assert code == 0, err
    assert strict_json(out)["pictures"][0]["image"]["path"] == r"caf\udce9.png"
    assert len(list((here / "out").glob("caf*_xpose.png"))) == 1


def four_pictures_one_of_them_broken(here: Path) -> list[str]:
    for number in range(3):
        make_picture(here / "in" / f"{number}.png")
    (here / "in" / "1b.png").write_text("no picture")
    return ["detect", "in", "-t", "dog", "--json", *ALL]


def before_the_error(err: str) -> str:
    """What is on the line of the message before it."""
    before = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", err[: err.index("Error:")])
    return re.split(r"[\r\n]", before)[-1].strip()


def test_no_progress_and_no_colours_off_a_terminal(here: Path, run: Run, weights: str) -> None:
    code, out, err = run(*four_pictures_one_of_them_broken(here), "-p", weights)
    assert code == 1
    assert len(strict_json(out)["pictures"]) == 3
    assert "/4" not in err
    assert "\x1b" not in err
    assert before_the_error(err) == ""


def test_progress_and_colours_on_a_terminal(
    here: Path, weights: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals exist on Unix only")
    words = four_pictures_one_of_them_broken(here)
    ours, theirs = pty.openpty()
    seen = bytearray()

    def watch() -> None:
        with contextlib.suppress(OSError):  # how a terminal ends
            while piece := os.read(ours, 4096):
                seen.extend(piece)

    watcher = threading.Thread(target=watch, daemon=True)  # a full terminal would stop the program
    watcher.start()
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        code = cli.main([*words, "-p", weights])
    watcher.join(10)
    os.close(ours)
    err = seen.decode()
    assert code == 1, err
    assert len(strict_json(capsys.readouterr().out)["pictures"]) == 3
    assert "/4" in err
    assert "\x1b" in err
    assert before_the_error(err) == "", "the message begins a line of its own, also under a bar"


def test_what_cannot_be_a_picture_is_kept_apart(tmp_path: Path) -> None:
    make_picture(tmp_path / "a.png")
    pictures, faults = list_pictures([str(tmp_path), str(tmp_path / "b.png"), "http://example.org/c.png"])
    assert [picture.path.name for picture in pictures] == ["a.png"]
    assert [fault.name for fault in faults] == [str(tmp_path / "b.png"), "http://example.org/c.png"]


def test_a_trace_of_the_run(here: Path, run: Run, weights: str) -> None:
    make_picture(here / "a.png")
    code, _, err = run("detect", "a.png", "-t", "dog", "-p", weights, "--profile", "trace.json")
    assert code == 0, err
    names = {event.get("name") for event in json.loads((here / "trace.json").read_text())["traceEvents"]}
    assert "aten::conv2d" in names
