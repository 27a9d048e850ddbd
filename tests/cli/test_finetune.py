"""`xpose finetune`: from a user's labels to tuned weights, two real steps each; resumed, refused, shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.datasets.importers import test_deeplabcut as test_import_deeplabcut
from tests.data.datasets.importers import test_yolo as test_import_yolo
from tests.data.datasets.importers.test_coco import FREE, SOURCE, annotation
from tests.data.small_sets import category, record, write_prepared
from tests.data.trees import draw, snapshot, spread, write_json, write_text

from xpose.cli.finetune import detect_command
from xpose.model.checkpoints.categories import read_categories
from xpose.records import Category
from xpose.training.finetuning.finetune_data import survey
from xpose.training.recipes.recipe import load_recipe
from xpose.training.recipes.validation import Measures, PoseValidator
from xpose.training.run.log import read_log
from xpose.training.run.state import states

Run = Callable[..., tuple[int, str, str]]
SMALL = [
    *("augmentation.size=64", "loading.batch=2", "loading.threads=0", "validation.limit=2", "validation.pictures=0"),
    *("prompting.examples.side=64", "prompting.examples.least_side=8", "validation.prompts=['text']"),
    *("prompting.visual=0.5", "prompting.combined=0.0", "output.report_minutes=0"),
]
SETTINGS = [word for text in SMALL for word in ("--set", text)]
QUICK = ["--steps", 2, "--device", "cpu", *SETTINGS]


def coco(root: Path, count: int = 6) -> Path:
    """A json and the pictures beside it, with names that no skeleton of the vocabulary has."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 120, "height": 90} for n in range(1, count + 1)]
    points = {n: spread(FREE, 12 + 4 * n, 12, step=12) for n in range(1, count + 1)}
    for number, each in points.items():
        draw(root / f"{number}.png", (120, 90), [each])
    labels = [annotation(n, n, points[n]) for n in points]
    kind = {"id": 7, "name": "heron", "keypoints": list(SOURCE), "skeleton": [[1, 3], [2, 3], [3, 4]]}
    write_json(root / "my.coco.json", {"images": images, "annotations": labels, "categories": [kind]})
    return root / "my.coco.json"


def yolo(root: Path) -> Path:
    pytest.importorskip("yaml", reason="needs pyyaml, which the extra `data` brings")
    test_import_yolo.write_tree(root)
    return root


def deeplabcut(root: Path) -> Path:
    pytest.importorskip("yaml", reason="needs pyyaml, which the extra `data` brings")
    test_import_deeplabcut.write_tree(root)
    return root


def test_coco_from_labels_to_detected_objects(
    run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way; the commands that are printed at the end are run as they stand."""
    labels, out = coco(tmp_path / "herons"), tmp_path / "run"
    before = snapshot(labels.parent)
    code, text, err = run("finetune", "--data", labels, "--weights", weights, "--out", out, *QUICK)
    assert code == 0, err
    assert snapshot(labels.parent) == before, "the folder of the labels was changed"
    assert "Found: coco, 6 pictures (split all) with 6 objects" in err
    assert f"prepared set: {out / 'data' / 'heron'}" in err, "the set has the name of the objects"
    assert "heron: 6 objects with 4 keypoints: Left Eye, Right Eye, beak tip, tail" in err
    assert "skeleton: heron, 3 edges" in err
    assert "mirror partners: Left Eye and Right Eye" in err
    assert "Recipe for few-shot data: 2 steps of 2 pictures" in err
    rate = load_recipe(out / "recipe.toml").run.schedule.rate
    assert f"learning rate up to {rate * 2 / 16:.2g}, the backbone frozen" in err, "the rate for so small a batch"
    assert "No pictures are kept back" in err
    lines = text.splitlines()
    head = next(line for line in lines if "the training pictures" in line)
    assert "before" in head
    assert "after 2 steps" in head
    assert any(line.split()[:2] == ["text", "PCK@0.1"] for line in lines)
    assert set(read_log(out).validations) == {0, 2}
    assert f"Report: {out / 'report.html'}" in lines
    command = shlex.split(lines[-1])
    assert command[:4] == ["xpose", "detect", "-p", str(out)]
    assert command[command.index("-t") + 1] == "heron"
    code, _, err = run(*command[1:], "-o", tmp_path / "found", "--threshold", 0)
    assert code == 0, err
    assert 'heron (skeleton "heron", 4 points)' in err
    assert 'learned for "heron" by these weights' in err
    (heron,) = read_categories(out / "weights")
    assert (heron.keypoints, len(heron.edges), heron.objects) == (FREE, 3, 6)
    assert heron.quality is not None
    assert heron.quality.measures == pytest.approx(read_log(out).validations[2], abs=1e-4)
    found = json.loads((tmp_path / "found" / "poses.json").read_text("utf-8"))
    assert found["categories"][0]["keypoints"] == list(FREE)
    monkeypatch.chdir(tmp_path)
    said = (shlex.split(line)[1:] for line in lines if line.startswith(("  xpose data", "  xpose calibrate")))
    importing, calibrating = said
    importing[importing.index("LABELS")] = str(labels)
    assert run(*importing)[0] == 0
    code, _, err = run(*calibrating, "--false-alarms", 9, "--force")  # so that wrong poses are enough
    assert code == 0, err
    assert f"Written into {out / 'weights' / 'calibration.json'}" in err


@pytest.mark.parametrize(
    ("make", "found"),
    [(yolo, "yolo-pose, 2 pictures (split train)"), (deeplabcut, "deeplabcut, 6 pictures (split all)")],
)
def test_projects_of_other_tools(
    make: Callable[[Path], Path], found: str, run: Run, weights: str, tmp_path: Path
) -> None:
    data, out = make(tmp_path / "project"), tmp_path / "run"
    before = snapshot(data)
    words = [
        "--data",
        data,
        "-p",
        weights,
        "--out",
        out,
        "--force",
        *(["--name", "mouse"] if make is deeplabcut else []),
    ]
    code, text, err = run("finetune", *words, *QUICK)
    assert code == 0, err
    assert snapshot(data) == before, "the project was changed"
    assert f"Found: {found}" in err
    assert (out / "weights" / "model.safetensors").is_file()
    assert "xpose detect -p" in text
    if make is deeplabcut:
        assert "mouse: 6 objects" in err
        assert "frames of the same videos" in err
        assert "left ear and right ear" in err, "the names are those of a skeleton with just these points"
    else:
        assert "Tested on 2 pictures (a split of its own)" in err
        assert "PCK@0.1 is the share of keypoints" in err


def test_stopped_it_shows_the_best_weights_and_goes_on_with_the_labels_it_began_with(
    run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, out = coco(tmp_path / "herons"), tmp_path / "run"
    words = ["finetune", "--data", labels, "-p", weights, "--out", out, *QUICK, "--steps", 5]
    words += ["--set", "validation.every=2"]
    measured = iter([0.1, 0.4, 0.3, 0.2])

    def measure(*_: object) -> Measures:
        value = next(measured)
        if value == 0.4:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C during the validation of step 2: stops after step 3
        return Measures({"text PCK@0.1": value}, {})

    monkeypatch.setattr("xpose.training.recipes.validation.PoseValidator.__call__", measure)
    monkeypatch.setattr("xpose.training.recipes.session.write_report", lambda folder: folder)  # plots are slow
    code, text, err = run(*words)
    assert code == 130
    assert "Before: text PCK@0.1 10.0" in err
    assert "step 3 of 5 is saved" in err
    first, second = text.splitlines()[:2]
    assert first == "Not finished: step 3 of 5 (60 %). The same command continues the run."
    assert second == "The last tested step is 2; later ones are saved, but not tested yet."
    assert re.search(r"training pictures\) +before +after 2 steps *\n", text)
    assert re.search(r"text PCK@0.1 +10.0 +40.0", text)
    assert f"Best weights: {out / 'best'} (step 2)" in text
    assert "still those of the starting weights: heron 0.1 (others: --threshold NUMBER)" in text
    assert "xpose calibrate" not in text, "the weights will change"
    assert f"xpose detect -p {out} -t heron" in text
    assert "2 of 5 steps" in (out / "best" / "README.md").read_text("utf-8"), "the card states its own step"
    coco(labels.parent, 5)  # somebody goes on labelling meanwhile
    code, text, err = run(*words)
    assert code == 0, err
    assert "from step 3" in err
    assert "Found: coco, 6 pictures" in err
    assert "Before:" not in err, "the starting weights are measured once"
    assert text.startswith("Done: 5 steps.")
    assert "Not finished" not in text
    assert re.search(r"training pictures\) +before +after 5 steps +best \(step 2\)", text)
    assert re.search(r"text PCK@0.1 +10.0 +20.0 +40.0", text)
    assert f"Best weights: {out / 'best'} (step 2)" in text
    assert [path.stem for path in states(out / "state")][-1] == "step-00000005"
    code, _, err = run("finetune", "--data", coco(tmp_path / "other"), "-p", weights, "--out", out, *QUICK)
    assert code == 1
    assert "holds a run on other data" in err


def test_the_time_limit_includes_the_test_at_the_end(
    run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test of the starting weights says how long it takes; a run that was tested needs no time for it."""
    measured = iter([0.5, 0.6, 0.7])

    def measure(validator: PoseValidator, _: object) -> Measures:
        validator.seconds = 60.0
        return Measures({"text PCK@0.1": next(measured)}, {})

    monkeypatch.setattr(PoseValidator, "__call__", measure)
    monkeypatch.setattr("xpose.training.recipes.session.write_report", lambda folder: folder)  # plots are slow
    words = ["finetune", "--data", coco(tmp_path / "herons"), "-p", weights, "--out", tmp_path / "run", *QUICK]
    code, text, err = run(*words, "--steps", 3, "--minutes", 1)
    assert code == 0, err
    assert "Not finished: step 1 of 3 (33 %)." in text
    assert "after 1 step" in text
    assert "Done: 3 steps." in run(*words, "--steps", 3, "--minutes", 1)[1]


def test_show_prints_a_recipe_that_train_takes(run: Run, weights: str, tmp_path: Path) -> None:
    words = ["--data", coco(tmp_path / "herons"), "-p", weights, "--out", tmp_path / "run", "--set", "run.seed=5"]
    code, text, _ = run("finetune", *words, "--show")
    assert code == 0
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    recipe = load_recipe(tmp_path / "mine.toml")
    assert (recipe.run.seed, recipe.network.start, recipe.augmentation.size) == (5, weights, 96)
    assert not states(tmp_path / "run" / "state")


def test_labels_in_the_folder_it_runs_in(
    run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual runs/finetune would lie among the labels, so the run goes to a folder beside them."""
    labels = coco(tmp_path / "herons")
    monkeypatch.chdir(labels.parent)
    code, _, err = run("finetune", "--data", labels.name, "-p", weights, "--show")
    assert code == 0, err
    assert (tmp_path / "herons-finetune" / "data").is_dir()
    assert not (labels.parent / "runs").exists()
    code, _, err = run("finetune", "--data", labels.name, "-p", weights, "--out", "here", "--show")
    assert (code, "where nothing is ever written" in err) == (1, True)


def test_pictures_elsewhere(run: Run, weights: str, tmp_path: Path) -> None:
    labels = coco(tmp_path / "herons")
    moved = labels.rename(tmp_path / "labels.json")
    words = ["--data", moved, "-p", weights, "--show"]
    code, _, err = run("finetune", *words, "--images", tmp_path / "herons", "--out", tmp_path / "run")
    assert (code, "6 pictures" in err) == (0, True)


def few(root: Path) -> list[object]:
    return ["--data", coco(root, 2)]


def no_pictures(root: Path) -> list[object]:
    labels = coco(root)
    for path in root.glob("*.png"):
        path.unlink()
    return ["--data", labels]


def no_keypoints(root: Path) -> list[object]:
    content = json.loads(coco(root).read_text("utf-8"))
    for one in content["annotations"]:
        del one["keypoints"]
    write_json(root / "my.coco.json", content)
    return ["--data", root / "my.coco.json"]


def mixed_up(root: Path) -> list[object]:
    labels = coco(root / "labels")
    (root / "pictures").mkdir()
    for path in labels.parent.glob("*.png"):
        path.rename(root / "pictures" / path.name)
    return ["--data", root / "pictures", "--images", labels]


def broken(root: Path) -> list[object]:
    write_text(root / "labels.json", '{"annotations": [{')
    return ["--data", root / "labels.json"]


WRONG: list[tuple[Callable[[Path], list[object]], str]] = [
    (few, "only 2 pictures with labelled keypoints"),
    (no_pictures, "shows an object with keypoints"),
    (no_keypoints, 'no annotation has "keypoints"'),
    (mixed_up, "the folder of the pictures is given with --images"),
    (broken, "is not JSON"),
    (lambda root: ["--data", root / "nowhere.json"], "does not exist"),
    (lambda root: ["--data", coco(root), "--set", "run.stesp=1"], 'Did you mean "run.steps"?'),
    (lambda root: ["--data", coco(root), "--from-scratch"], "exclude each other"),
    (lambda root: ["--data", coco(root), "--images", root / "gone"], 'gone" is not a folder'),
    (lambda root: ["--data", coco(root), "--images", root / "gone"], "--images "),
    (lambda root: ["--data", coco(root), "--format", "cocoo"], 'Did you mean "coco"?'),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said(
    make: Callable[[Path], list[object]], message: str, run: Run, weights: str, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    code, _, err = run("finetune", *make(root), "-p", weights, "--out", tmp_path / "run")
    assert code == 1
    assert message in err


@pytest.mark.parametrize("wrong", [["--set", "run.stepz=0"], ["--device", "abacus"], ["--show"]])
def test_what_failed_before_any_training_locks_no_folder(
    wrong: list[str], run: Run, weights: str, tmp_path: Path
) -> None:
    """The labels may be other ones then, even under the same name; once it trains, they may not."""
    one, other, out = coco(tmp_path / "a"), coco(tmp_path / "b", 7), tmp_path / "run"
    words = ["-p", weights, "--out", out, *QUICK, "--minutes", "1e-9"]
    assert run("finetune", "--data", one, *words, *wrong)[0] == (0 if wrong == ["--show"] else 1)
    code, text, err = run("finetune", "--data", other, *words)
    assert code == 0, err
    assert "7 pictures" in err
    assert "after 1 step" in text, "a run that stops before its first test is tested then"
    code, _, err = run("finetune", "--data", one, *words)
    assert (code, "holds a run on other data" in err) == (1, True)


def test_labels_that_cannot_be_read_are_the_first_thing_to_be_said(
    run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the folder that holds another run, and before weights that were not named."""
    out = tmp_path / "run"
    words = ["-p", weights, "--out", out, *QUICK, "--minutes", "1e-9"]
    assert run("finetune", "--data", coco(tmp_path / "herons"), *words)[0] == 0
    write_text(tmp_path / "broken.json", '{"annotations": [{')
    monkeypatch.setattr("xpose.model.checkpoints.known.bundled_weights", dict)
    for given in (words, ["--out", tmp_path / "other"]):
        for labels, message in (("nowhere.json", "does not exist"), ("broken.json", "is not JSON")):
            code, _, err = run("finetune", "--data", tmp_path / labels, *given)
            assert (code, message in err) == (1, True), err
    assert not (tmp_path / "other").exists()


def test_a_recipe_that_was_shown_can_be_used_from_everywhere(
    run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = coco(tmp_path / "here" / "herons")
    monkeypatch.chdir(tmp_path / "here")
    words = ["--data", labels, "-p", os.path.relpath(weights), "--out", "run", "--show", *QUICK]
    code, text, err = run("finetune", *words)
    assert code == 0, err
    write_text(tmp_path / "there" / "mine.toml", text)
    monkeypatch.chdir(tmp_path / "there")
    code, _, err = run("train", "mine.toml", "--minutes", "1e-9", "--device", "cpu")
    assert code == 0, err
    assert "6 pictures of 1 set to train on" in err


def test_without_weights_it_says_what_to_give(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpose.model.checkpoints.known.bundled_weights", dict)
    code, _, err = run("finetune", "--data", coco(tmp_path / "a"), "--out", tmp_path / "run")
    assert (code, "--from-scratch" in err, "--weights" in err) == (1, True, True)
    code, _, err = run(
        "finetune", "--data", coco(tmp_path / "a"), "--out", tmp_path / "run", "--from-scratch", "--show"
    )
    assert code == 0


def test_torchrun_is_sent_to_train(run: Run, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("finetune", "--data", coco(tmp_path / "a"), "-p", weights)
    assert (code, "-m xpose train mine.toml" in err) == (1, True)


def test_the_command_names_the_objects_whose_keypoints_the_weights_know(tmp_path: Path) -> None:
    kinds = [category("person"), Category("dog", "ap10k", ("left eye", "right eye"))]
    (tmp_path / "mine-original").mkdir()
    place = write_prepared(tmp_path, "mine", [record("mine", "train", "a.png", kinds)], {})
    words = shlex.split(detect_command(survey(place, "prepared"), Path("w"), "clip"))
    picture = str(tmp_path / "mine-original" / "a.png")
    assert words == ["xpose", "detect", "-p", "w", "-t", "person,dog", "--clip", "clip", picture]
