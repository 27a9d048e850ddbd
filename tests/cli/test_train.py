"""`xpose train`: show, set, resume, minutes, Ctrl-C, reports, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.data.datasets.test_folder_sets import write_set
from tests.inference.conftest import Sentences
from tests.training.small_trees import small
from torch import Tensor

from xpose import cli
from xpose.data.collection.held_out import is_held_out
from xpose.model.checkpoints.pretrained import from_pretrained
from xpose.model.prompting import nano
from xpose.training.recipes import session
from xpose.training.recipes.recipe import load_recipe
from xpose.training.run.log import read_log
from xpose.training.run.state import states

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def no_minilm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nano, "MiniLMEncoder", Sentences)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no curves, which takes longer than their steps."""
    monkeypatch.setattr(session, "write_report", lambda folder: folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program: exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "Internal error" not in err, err
        return code, out, err

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small run of three steps as a user's own file."""
    changes = ["run.steps=3", "validation.every=2", "validation.prompts=['text']", "prompting.visual=0.0"]
    path = tmp_path / "mine.toml"
    path.write_text(small("tiny-overfit", tmp_path, *changes, "prompting.combined=0.0").to_toml(), encoding="utf-8")
    return path


def steps_of(folder: Path) -> list[int]:
    return [int(path.stem.partition("-")[2]) for path in states(folder / "state")]


def test_show_prints_what_can_be_read_again(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("train", "nano-real", "--show", "--set", "run.steps=7", "--data", tmp_path)
    assert code == 0
    path = tmp_path / "shown.toml"
    path.write_text(out, encoding="utf-8")
    shown = load_recipe(path)
    assert shown == load_recipe("nano-real", ["run.steps=7"], data=[tmp_path])


def test_list_names_every_recipe_with_a_line(run: Run) -> None:
    code, out, _ = run("train", "--list")
    assert code == 0
    assert len([line for line in out.splitlines() if line.strip()]) >= 19
    assert "zero-shot" in out


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights" / "model.safetensors")


def test_a_run_writes_what_it_should_and_goes_on_where_it_stopped(
    run: Run, recipe: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In pieces (each time the minutes are over at once) the weights are those of a run in one piece, to the bit."""
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    code, out, err = run("train", recipe, "--out", whole, "--device", "cpu")
    assert (code, "Done: 3 steps" in out) == (0, True)
    assert "step 2: text PCK@0.1" in err
    files = ("recipe.toml", "log.jsonl", "report.html", "losses.png", "weights/config.json", "best/config.json")
    assert all((whole / file).is_file() for file in files)
    page = (whole / "report.html").read_text("utf-8")
    assert page.count("data:image/") == 2  # the curves, and the picture of the last validation
    assert Image.open(whole / "losses.png").size[0] > 500
    request.getfixturevalue("no_report")
    code, _, err = run("train", recipe, "--out", pieces, "--device", "cpu", "--minutes", "1e-9")
    assert code == 0
    assert "Time limit reached; step 1 of 3 is saved. Continue with the same command." in err
    assert not (pieces / "weights").exists()
    code, out, err = run("train", recipe, "--out", pieces, "--device", "cpu")
    assert (code, "from step 1" in err, "Done: 3 steps" in out) == (0, True, True)
    one, other = weights_of(whole), weights_of(pieces)
    assert {tensor.dtype for tensor in one.values() if tensor.is_floating_point()} == {torch.float16}
    assert {name for name in one if not torch.equal(one[name], other[name])} == set()
    logs = [read_log(folder) for folder in (whole, pieces)]
    assert list(logs[0].steps) == list(logs[1].steps) == [1, 2, 3]
    assert logs[0].validations == logs[1].validations
    assert set(logs[0].validations) == {2, 3}
    before = (whole / "log.jsonl").read_bytes()
    assert run("train", recipe, "--out", whole, "--device", "cpu")[0] == 0, "a run that is done stays done"
    assert (whole / "log.jsonl").read_bytes() == before


@pytest.mark.usefixtures("no_report")
def test_weights_in_full_and_without_a_test(run: Run, recipe: Path, tmp_path: Path) -> None:
    changes = ("run.steps=1", "validation.split=none", "output.weights=float32")
    assert run("train", recipe, "--out", tmp_path, *(word for text in changes for word in ("--set", text)))[0] == 0
    assert {one.dtype for one in weights_of(tmp_path).values() if one.is_floating_point()} == {torch.float32}
    assert not (tmp_path / "best").exists(), "nothing was tested"
    from_pretrained(tmp_path / "weights")
    card = (tmp_path / "weights" / "README.md").read_text("utf-8")
    assert "trained on: synthetic (8 pictures)\n- trained for: 1 of 1 steps, 2 pictures each" in card
    assert "not tested" in card


@pytest.mark.usefixtures("no_report")
def test_a_trace_of_a_few_steps(run: Run, recipe: Path, tmp_path: Path) -> None:
    changes = ("--set", "run.steps=5", "--set", "validation.split=none")
    trace = tmp_path / "trace.json"
    assert run("train", recipe, "--out", tmp_path / "run", "--device", "cpu", "--profile", trace, *changes)[0] == 0
    names = {event.get("name") for event in json.loads(trace.read_text("utf-8"))["traceEvents"]}
    assert {"ProfilerStep#2", "ProfilerStep#4", "aten::addmm"} <= names


@pytest.mark.usefixtures("no_report")
def test_a_run_does_not_go_on_with_other_settings(run: Run, recipe: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    assert run("train", recipe, *out, "--minutes", "1e-9")[0] == 0
    code, _, err = run("train", recipe, *out, "--set", "run.seed=4", "--set", "loading.batch=4")
    assert code == 1
    assert "run.seed was 0, now 4" in err
    assert "loading.batch was 2, now 4" in err
    assert "--out FOLDER" in err
    assert steps_of(tmp_path / "run") == [1]


def test_the_report_is_drawn_from_the_log_alone(run: Run, tmp_path: Path) -> None:
    rows = [{"step": n, "rate": 1e-3, "total": 9.0 / n, "box_l1": 1 / n, "seconds": n} for n in range(1, 800)]
    rows += [{"step": 400, "validation": {"text PCK@0.1": 0.25}}, {"step": 400, "total": 3.0, "rate": 1e-3}]
    text = "\n".join(json.dumps(row) for row in rows) + '\n{"step": 5'  # the last line was cut off
    (tmp_path / "log.jsonl").write_text(text)
    code, out, _ = run("train", "--report", tmp_path)
    assert (code, "report.html" in out) == (0, True)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<td>400</td><td>25.0</td>" in page
    log = read_log(tmp_path)
    assert (log.last, log.steps[400]["total"], log.terms, log.measures) == (
        799,
        3.0,
        ["total", "box_l1"],
        ["text PCK@0.1"],
    )
    assert run("train", "--report", tmp_path / "nothing")[0] == 1


@pytest.mark.usefixtures("no_report")
def test_pictures_that_cannot_be_used_are_named_and_those_held_out_counted(
    run: Run, recipe: Path, tmp_path: Path
) -> None:
    names = [f"{letter}.png" for letter in "abcdefghijkl"]
    write_set(tmp_path / "sets" / "birds", "bird", ["head", "tail"], {"train": names})
    pictures, folder = tmp_path / "sets" / "birds" / "images", tmp_path / "run"
    for name in names[:2]:
        content = (pictures / name).read_bytes()
        (pictures / name).write_bytes(content[: len(content) // 2])
    (pictures / names[2]).unlink()
    held_out = sum(is_held_out("birds", f"images/{name}", 0.4) for name in names[3:])
    assert 0 < held_out < 9
    words = ("train", recipe, "--data", tmp_path / "sets", "--out", folder, "--set", "data.held_out=0.4")
    code, _, err = run(*words, "--look")
    assert (code, "3 pictures" in err, (folder / "left-out.txt").is_file()) == (0, True, True)
    (folder / "left-out.txt").unlink()
    code, _, err = run(*words, "--device", "cpu", "--minutes", "1e-9")
    assert code == 0, err
    assert f"{9 - held_out} pictures of 1 set to train on" in err
    assert f"Held out for testing: {held_out} picture" in err
    assert f"Left out because they cannot be used: 3 pictures. Full list: {folder / 'left-out.txt'}" in err
    told = (folder / "left-out.txt").read_text("utf-8").splitlines()
    assert [line.partition(":")[0] for line in told] == [f"birds/images/{name}" for name in names[:3]]
    assert all(f"  {line}" in err.splitlines() for line in told)
    for name in names:
        (pictures / name).unlink(missing_ok=True)
    code, _, err = run(*words)
    assert code == 1
    assert "12 pictures cannot be used: birds/images/a.png: " in err


WRONG = [
    (("tiny-overfti",), 'Did you mean "tiny-overfit"?'),
    (("tiny-overfit", "--set", "run.stesp=3"), 'run.stesp is unknown. Did you mean "run.steps"?'),
    (("tiny-overfit", "--set", "run.steps=0", "--set", "loading.batch=x"), "2 faults"),
    (("tiny-overfit", "--device", "abacus"), 'The device "abacus" cannot be used'),
    (("nano-real",), "--data FOLDER"),
    (("clamp-bovidae-canidae",), "xpose data prepare ap10k"),
    (("nano-real", "--data", "nowhere"), 'There is no folder "nowhere"'),
    (("nano-real", "--data", "."), "holds no labelled pictures"),
    (("tiny-overfit", "--set", "network.start=nothing.pth"), "nothing.pth"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_is_wrong_is_said(
    run: Run, words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", *words)
    assert code == 1
    assert message in err


def test_no_recipe_is_wrong_usage(run: Run) -> None:
    assert run("train")[0] == 2


def test_a_folder_that_cannot_be_made(run: Run, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("train", recipe, "--out", tmp_path / "file" / "run")
    assert code == 1
    assert "file" in err


@contextmanager
def ctrl_c(log: Path, steps: int) -> Iterator[None]:
    """Interrupt this process, as the terminal does, once a run has logged so many steps."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if log.is_file() and len(log.read_bytes().splitlines()) >= steps:
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.mark.usefixtures("no_report")
def test_ctrl_c_saves_and_says_how_to_go_on(run: Run, recipe: Path, tmp_path: Path) -> None:
    """The first steps, an interruption, exit code 130, and the same command goes on."""
    folder = tmp_path / "run"
    command = ["train", recipe, "--out", folder, "--device", "cpu"]
    command += ["--set", "run.steps=100000", "--set", "validation.split=none", "--set", "output.report_minutes=0"]
    with ctrl_c(folder / "log.jsonl", steps=2):
        code, _, err = run(*command)
    assert code == 130
    saved = steps_of(folder)[-1]
    assert f"Stopped; step {saved:,} of 100,000 is saved. Continue with the same command." in err
    assert saved >= 2
    assert not list((folder / "state").glob(".*")), "nothing half-written is left"
    code, _, err = run(*command, "--minutes", "1e-9")
    assert (code, f"from step {saved:,}" in err) == (0, True)
    assert steps_of(folder)[-1] == saved + 1
