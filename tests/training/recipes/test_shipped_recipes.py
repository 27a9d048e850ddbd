"""Every shipped recipe runs: two real steps, an evaluation, weights that can be loaded; on trees the tests draw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.small_trees import small, write_trees

from xpose.model.checkpoints.pretrained import from_pretrained
from xpose.training.recipes import session
from xpose.training.recipes.assembly import Setup, build, placed, training_pool
from xpose.training.recipes.recipe import shipped_recipes
from xpose.training.run.log import Progress
from xpose.training.run.prompt_batches import PromptMaker


class Listener:
    """Hears what a run tells."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.notes: list[str] = []

    def report(self, progress: Progress) -> None:
        self.reports.append(progress)

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    write_trees(folder)
    return folder


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take longer than two steps; test_train_command.py looks at them."""
    monkeypatch.setattr(session, "write_report", lambda folder: folder)


def run(setup: Setup) -> tuple[session.RunOutcome, Listener]:
    listener = Listener()
    return session.run(setup, listener), listener


# Recipes that differ from another one in their data alone: they learn as it does.
OTHER_DATA = {
    **{f"mp100-split{number}": "mp100-split1" for number in range(2, 6)},
    **{f"ablation-sets-{number}": "unikpt-swin-t" for number in (4, 9, 13)},
    "clamp-canidae-felidae": "clamp-bovidae-canidae",
    "nano-real-open": "nano-real",
}


@pytest.mark.parametrize(("name", "base"), OTHER_DATA.items())
def test_recipes_that_differ_in_their_data_alone(name: str, base: str, root: Path, tmp_path: Path) -> None:
    recipe, other = small(name, root), small(base, root)
    validation = replace(
        recipe.validation,
        split=other.validation.split,
        every=other.validation.every,
        families=other.validation.families,
    )
    assert replace(recipe, about=other.about, data=other.data, validation=validation) == other
    assert len(training_pool(placed(recipe.data, tmp_path))) > 0


@pytest.mark.parametrize("name", sorted(shipped_recipes().keys() - OTHER_DATA))
def test_two_steps_and_an_evaluation(name: str, root: Path, tmp_path: Path, no_report: None) -> None:
    recipe = small(name, root)
    setup = build(recipe, tmp_path / "run", device="cpu")
    outcome, listener = run(setup)
    assert outcome.finished
    assert [one.step for one in listener.reports] == [1, 2]
    for one in listener.reports:
        assert one.faulty == 0
        weights = recipe.run.weights
        assert ("closed_set" in one.terms) == (weights.closed_set > 0)
        assert ("object_alignment" in one.terms) == (weights.object_alignment > 0)
        assert ("keypoint_alignment" in one.terms) == (weights.keypoint_alignment > 0)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    tested = rows[-1]["validation"]
    assert set(tested) == {f"{asking} PCK@{t}" for asking in recipe.validation.prompts for t in (0.1, 0.2)}
    assert all(0 <= value <= 1 for value in tested.values())
    assert outcome.weights is not None
    if not recipe.closed_set:  # a closed-set network is not one of the family, and serves the comparison alone
        model = from_pretrained(outcome.weights).model
        assert model.config == setup.model.config
        assert (tmp_path / "run" / "best" / "model.safetensors").is_file()


def test_families_are_kept_apart(root: Path, tmp_path: Path) -> None:
    setup = build(small("clamp-canidae-felidae", root), tmp_path, device="cpu")
    assert [kind.category for kind in setup.loader.pool.kinds] == ["dog"]
    assert setup.validator is not None
    shown = {one.category.name for record, _ in setup.validator.records for one in record.instances}
    assert shown == {"cat"}


def test_what_is_held_out_is_not_trained_on(root: Path, tmp_path: Path) -> None:
    setup = build(small("nano-real", root), tmp_path, device="cpu")
    pool = setup.loader.pool
    trained = {pool.file(number) for number in range(len(pool))}
    assert setup.validator is not None
    tested = {record.picture.file for record, _ in setup.validator.records}
    assert tested
    assert trained
    assert not trained & tested


def test_only_the_chosen_sets_are_trained_on(root: Path, tmp_path: Path) -> None:
    chosen = {"coco", "humanart", "ap10k", "apt36k"}
    assert set(build(small("ablation-sets-4", root), tmp_path, device="cpu").loader.pool.sets) == chosen
    assert len(build(small("ablation-sets-9", root), tmp_path, device="cpu").loader.pool.sets) == 9
    assert len(build(small("ablation-sets-13", root), tmp_path, device="cpu").loader.pool.sets) == 13


def test_shares_of_prompts_are_those_of_the_recipe(root: Path, tmp_path: Path) -> None:
    for name, modes in (("ablation-visual-only", {"visual"}), ("ablation-text-only", {"text"})):
        loader = build(small(name, root), tmp_path, device="cpu").loader
        assert {loader.mode(step) for step in range(50)} == modes


def test_the_closed_set_asks_for_all_classes_in_one_order(root: Path, tmp_path: Path) -> None:
    loader = build(small("ablation-no-object-alignment", root), tmp_path, device="cpu").loader
    batch = next(iter(loader.steps()))
    orders = {tuple(entry.kind.category for entry in target.asked) for target in batch.targets}
    assert orders == {("cat", "cow", "dog", "person")}
    for target in batch.targets:
        for label in target.labels.tolist():
            assert target.asked[label].present
        known = {entry.kind.category for entry in target.asked if entry.present or entry.complete}
        assert known == ({"cow", "dog", "cat"} if target.source == "ap10k" else {"person"})


def test_the_closed_set_is_not_taught_that_classes_of_other_sets_are_absent(root: Path, tmp_path: Path) -> None:
    setup = build(small("ablation-no-object-alignment", root), tmp_path, device="cpu")
    batch = next(iter(setup.loader.steps()))
    found = PromptMaker(setup.model, setup.text)(batch).targets.incomplete
    assert found is not None
    for row, target in zip(found.tolist(), batch.targets, strict=True):
        assert row == [not entry.complete for entry in target.asked]
        assert any(row), "each set labels some of the classes only"
        assert not all(row)


def test_the_start_does_not_depend_on_the_number_of_processes(root: Path, tmp_path: Path) -> None:
    recipe = small("nano-real", root, "loading.batch=4", "network.overrides.backbone=mobilenetv2")  # it has norms
    alone = build(recipe, tmp_path, device="cpu").model.state_dict()
    for rank in (0, 1):
        setup = build(recipe, tmp_path, device="cpu", rank=rank, ranks=2)
        assert setup.loader.batch_size == 2
        found = setup.model.state_dict()
        assert {name for name in alone if not torch.equal(alone[name], found[name])} == set()
    norms = [name for name in alone if name.endswith("running_var")]
    assert norms
    assert all((alone[name] != 1).any() for name in norms), "they were set by pictures"
