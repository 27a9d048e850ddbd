"""The card of weights: its numbers are those of the runs it was made of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from benchmarks.model_card import FAILURES, HEIGHT, draw_failures, write_card
from PIL import Image
from tests.inference.conftest import own_detector, saved

from xpose.evaluation.run_file import EvaluationRun, write_run
from xpose.training.recipes.recipe import load_recipe

SUMMARY = {
    "PCK@0.2": 0.5,
    "PCK@0.1": 0.25,
    "PCK@0.2/set/pets": 0.625,
    "PCK@0.1/set/pets": 0.375,
    "PCK@0.2/set/easy": 0.9,
    "easy/set/easy": 1.0,
    "baseline/PCK@0.2/set/pets": 0.125,
    "box AP/set/pets": 0.0625,
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    weights = saved(own_detector(thresholds={"": 0.3, "dog": 0.2}), tmp_path / "mine")
    run = tmp_path / "run"
    run.mkdir()
    recipe = load_recipe("nano-real", ["data.without=['cattle']", "loading.batch=8"], data=[tmp_path])
    (run / "recipe.toml").write_text(recipe.to_toml())
    (run / "log.jsonl").write_text('{"step": 20, "total": 3.0}\n{"step": 40, "total": 2.0}\n')
    entry = {"train": 10, "source": "example.org", "redistributable": "yes"}
    pets = {**entry, "name": "pets", "categories": ["dog", "cat"], "licence": "CC BY 4.0"}
    cattle = {**entry, "name": "cattle", "categories": ["cow"], "licence": "research only", "redistributable": "no"}
    (tmp_path / "index.json").write_text(json.dumps([pets, cattle]))
    write_run(
        tmp_path / "text.json",
        EvaluationRun(protocol="nano-real", settings={"prompts": "the name; text"}, weights="w", summary=SUMMARY),
    )
    shown = {**SUMMARY, "PCK@0.2/set/pets": 0.75}
    write_run(
        tmp_path / "shown.json",
        EvaluationRun(
            protocol="nano-real", settings={"prompts": "the name; visual, 1-shot, seed 0"}, weights="w", summary=shown
        ),
    )
    return {"weights": weights, "run": run, "data": tmp_path}


def test_the_card_says_what_the_runs_said(folders: dict[str, Path]) -> None:
    weights, run, data = folders.values()
    (data / "notes.md").write_text("## What it is good for\n\nFaces.\n")
    results = [data / "text.json", data / "shown.json"]
    text = write_card(weights, [run, run], data, results, data / "notes.md").read_text("utf-8")
    assert 0 < text.index("## What it is good for") < text.index("## Training"), "first what a user asks first"
    assert "640 pictures seen" in text  # twice 40 steps of 8
    assert "| pets | 12.5 | 62.5 | 37.5 | 75.0 | 37.5 | 6.2 | – |" in text
    assert "| easy (not in the means) |" in text
    assert "| set | mean pose @0.2 | words @0.2 | words @0.1 | one example @0.2 |" in text
    assert "| dog | 0.200 |" in text
    assert "(all others)" in text
    content = (weights / "model.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in text
    assert "cow" not in text  # left out of training
    assert (weights / "recipe.toml").read_text() == (run / "recipe.toml").read_text()


@pytest.mark.parametrize("free", [True, False])
def test_the_licence_is_that_of_the_strictest_set(folders: dict[str, Path], free: bool) -> None:
    weights, run, data = folders.values()
    if not free:
        recipe = load_recipe("nano-real", ["loading.batch=8"], data=[data])
        (run / "recipe.toml").write_text(recipe.to_toml())
    text = write_card(weights, [run], data, []).read_text("utf-8")
    (licence,) = (line for line in text.splitlines() if line.startswith("license: "))
    assert ("research only" in licence) is not free
    assert ("any use" in licence) is free


def test_what_goes_wrong_is_drawn_side_by_side(folders: dict[str, Path]) -> None:
    weights, run, data = folders.values()
    assert FAILURES not in write_card(weights, [run], data, []).read_text("utf-8")
    draw_failures(weights, [("cat", "dog"), ("astronaut", "person")])
    with Image.open(weights / FAILURES) as drawn:
        assert drawn.height == HEIGHT
        assert drawn.width > HEIGHT
    assert f"({FAILURES})" in write_card(weights, [run], data, []).read_text("utf-8")
