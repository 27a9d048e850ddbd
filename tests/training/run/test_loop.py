"""The loop: it learns, it keeps to its time, and nothing that goes wrong beside it ends it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.model.conftest import tiny_config
from tests.training.small_runs import curve, draw, learn, loader_of, network, one_name, rows, run_of

from xpose.data.loading.batches import Batch
from xpose.data.synthetic.toys import KINDS
from xpose.errors import CheckpointError, ConfigError, TrainingError, XPoseError, XPoseWarning
from xpose.model import Predictions, XPose
from xpose.model.backbones import build_backbone
from xpose.training.objective.losses import Criterion
from xpose.training.run import loop
from xpose.training.run import state as states_on_disk
from xpose.training.run.log import Progress
from xpose.training.run.prompt_batches import PromptMaker
from xpose.training.run.settings import RunSettings, Schedule
from xpose.training.run.state import load_state
from xpose.training.run.step import StepOutcome, TrainStep, gradients


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


def test_the_loss_falls(tmp_path: Path, pictures: Path) -> None:
    schedule = Schedule(rate=1e-3, reference_batch=0, backbone=1.0)
    run = run_of(24, log_steps=4, schedule=schedule, clip=10.0)
    learn(tmp_path, loader_of(pictures, batch=4), run, network(keypoint_layers=4))
    for name in ("total", "keypoint_l1"):
        assert curve(tmp_path, name)[3:].mean() < 0.8 * curve(tmp_path, name)[0]


def test_a_report_says_where_the_run_is(tmp_path: Path, pictures: Path) -> None:
    reports: list[Progress] = []
    learn(tmp_path, loader_of(pictures), run_of(3, log_steps=2), report=reports.append)
    assert [(r.step, r.steps, r.faulty) for r in reports] == [(2, 3, 0), (3, 3, 0)]
    assert all(r.memory > 0 and r.images_per_second > 0 and math.isfinite(r.terms["total"]) for r in reports)
    assert reports[0].remaining > 0 == reports[1].remaining
    assert [row["step"] for row in rows(tmp_path)] == [2, 3]


def test_time_is_kept(tmp_path: Path, pictures: Path) -> None:
    learn(tmp_path, loader_of(pictures), run_of(1000), stop=lambda: True)
    state = load_state(tmp_path / "state")
    assert state is not None
    assert state["step"] == 1


def test_a_wish_to_stop_ends_the_run_after_its_step(tmp_path: Path, pictures: Path) -> None:
    wishes = iter((False, False, True))
    seen: list[tuple[int, bool]] = []
    learn(
        tmp_path,
        loader_of(pictures),
        run_of(1000),
        stop=lambda: next(wishes),
        watch=lambda step, average: seen.append((step, average.training)),
    )
    assert seen == [(1, False), (2, False), (3, False)]
    assert load_state(tmp_path / "state")["step"] == 3  # type: ignore[index]


@pytest.mark.parametrize("first", [True, False])
def test_only_the_process_that_writes_wants_to(
    first: bool, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others never write, so that for their clocks it would be time in every step."""
    wishes: list[bool] = []

    def noted(*arguments: Any) -> StepOutcome:
        wishes.append(arguments[-1]())
        return gradients(*arguments)

    monkeypatch.setattr(loop, "gradients", noted)
    monkeypatch.setattr(loop, "is_first", lambda: first)
    learn(tmp_path, loader_of(pictures), run_of(3, save_minutes=1e-9))
    assert wishes == [first] * 3


class Parts:
    """A loader of given batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches


def halves(batch: Batch) -> list[Batch]:
    """The two halves of a batch without examples."""
    half = len(batch) // 2
    parts = (slice(0, half), slice(half, None))
    return [replace(batch, images=batch.images[p], sizes=batch.sizes[p], targets=batch.targets[p]) for p in parts]


@pytest.mark.parametrize("balanced", [True, False])
def test_accumulated_halves_are_the_whole_where_they_hold_as_much(tmp_path: Path, balanced: bool) -> None:
    """Every term is a mean over the objects of its batch: halves with unequal numbers weigh their objects unequally.

    One kind alone, as many groups as queries: every object finds one in every layer.
    """
    loader = loader_of(draw(tmp_path / "set", kinds=tuple(KINDS)[:1]), batch=4, absent=(0, 0))
    batch = next(b for b in loader.steps() if fits(b, balanced))
    found = []
    for batches in ([batch], halves(batch)):
        model = network(instances=40)
        run = run_of(1, accumulate=len(batches))
        with one_name():
            outcome = gradients(
                TrainStep(model, CountingText(), run), iter(batches), run, no_scaler(), torch.device("cpu")
            )
        assert outcome.terms is not None
        found.append((outcome.terms, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (terms, grads), (terms_of_halves, grads_of_halves) = found
    if not balanced:
        assert terms["box_l1"] != pytest.approx(terms_of_halves["box_l1"], rel=1e-4)
        return
    assert terms_of_halves == pytest.approx(terms, rel=1e-4)
    assert set(grads) == set(grads_of_halves)
    length = torch.stack([g.norm() for g in grads.values()]).norm()
    for name, value in grads.items():
        assert (value - grads_of_halves[name]).norm() < 1e-4 * length


def no_scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=False)


def fits(batch: Batch, balanced: bool) -> bool:
    """Whether every object has labelled points, and both halves of the batch hold as many objects, or not."""
    first, second = (sum(len(target.labels) for target in half.targets) for half in halves(batch))
    whole = all(bool((target.points[..., 2] > 0).any(-1).all()) for target in batch.targets)
    return whole and first > 0 < second and (first == second) == balanced


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, pictures: Path) -> None:
    model = network()
    with torch.no_grad():
        model.heads.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"20 steps in a row.*Lower the rate.*bf16"):
        learn(tmp_path, loader_of(pictures), run_of(50, amp="bf16"), model=model)
    assert load_state(tmp_path / "state") is None


def test_faulty_steps_change_nothing_and_keep_the_order(tmp_path: Path, pictures: Path) -> None:
    """The first two steps are faulty; no warning about the order of scheduler and optimiser either."""
    model = network()
    calls = 0

    def spoil(module: object, args: object, tokens: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += module.training  # type: ignore[attr-defined]
        return tokens * float("nan") if calls in (1, 3) else tokens

    model.encoder.layers[-1].image.register_forward_hook(spoil)  # type: ignore[union-attr]
    seen: list[int] = []
    loader = loader_of(pictures)
    make = loader.batch
    loader.batch = lambda number: (seen.append(number), make(number))[1]  # type: ignore[method-assign]
    weights: list[torch.Tensor] = []
    learn(
        tmp_path,
        loader,
        run_of(3, accumulate=2),
        model=model,
        watch=lambda step, _: weights.append(model.heads.norm.weight.detach().clone()),
    )
    assert [row["faulty"] for row in rows(tmp_path)] == [1, 1, 0]
    assert seen == [0, 1, 2, 3, 4, 5]  # also what was skipped
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_gradients_reach_the_example_encoder(pictures: Path) -> None:
    model = network()
    loader = loader_of(pictures, visual=1.0)
    batch = next(b for b in loader.steps() if len(b.crops))
    question = PromptMaker(model, CountingText())(batch)
    question.prompts.objects.sum().backward()
    assert model.visual_prompts is not None
    assert model.visual_prompts.object_token.grad is not None


def test_words_are_the_same_every_time(pictures: Path) -> None:
    model, text = network(), CountingText()
    batch = loader_of(pictures).batch(3)
    first, again = (PromptMaker(model, text)(batch, seed=1).prompts for _ in range(2))
    torch.testing.assert_close(first.objects, again.objects)


def full_disk(*args: object, **kwargs: object) -> None:
    raise RuntimeError("PytorchStreamWriter failed writing file: file write failed")


def test_a_full_disk_on_the_way_is_told_and_training_goes_on(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full at step 2 of 3, with space again at the end."""
    save = torch.save

    def sometimes(state: dict, path: Path) -> None:
        full_disk() if state["step"] == 2 else save(state, path)

    monkeypatch.setattr(states_on_disk.torch, "save", sometimes)
    with pytest.warns(XPoseWarning, match=r"Step 2 was not saved; training continues.*untouched"):
        learn(tmp_path, loader_of(pictures), run_of(3, save_minutes=1e-9))
    assert [p.name for p in states_on_disk.states(tmp_path / "state")] == ["step-00000001.pt", "step-00000003.pt"]


def test_a_full_disk_at_the_end_is_an_error_that_keeps_the_state_before(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(tmp_path, loader_of(pictures), run_of(3), stop=lambda: True)
    monkeypatch.setattr(states_on_disk.torch, "save", full_disk)
    with pytest.raises(XPoseError, match="untouched"):
        learn(tmp_path, loader_of(pictures), run_of(3))
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["step-00000001.pt"]
    learn(tmp_path, loader_of(pictures), run_of(3))
    assert load_state(tmp_path / "state")["step"] == 3  # type: ignore[index]


def test_what_fails_in_looking_at_the_network_does_not_end_the_run(tmp_path: Path, pictures: Path) -> None:
    def watch(step: int, average: XPose) -> None:
        if step == 1:
            raise CheckpointError("No plot today. Free some space.")

    with pytest.warns(XPoseWarning, match=r"After step 1: No plot today.*continues"):
        learn(tmp_path, loader_of(pictures), run_of(2), watch=watch)
    assert load_state(tmp_path / "state")["step"] == 2  # type: ignore[index]


def test_a_mistake_of_a_program_ends_the_run_with_its_work_saved(tmp_path: Path, pictures: Path) -> None:
    def watch(step: int, average: XPose) -> None:
        if step == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        learn(tmp_path, loader_of(pictures), run_of(4), watch=watch)
    assert load_state(tmp_path / "state")["step"] == 2  # type: ignore[index]


def test_a_log_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.warns(XPoseWarning, match="training continues"):
        learn(tmp_path, loader_of(pictures), run_of(1))
    assert load_state(tmp_path / "state")["step"] == 1  # type: ignore[index]


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"amp": "fp8"},
        {"clip": 0},
        {"accumulate": 0},
        {"keep": 0},
        {"shard": True, "amp": "fp16"},
        {"shard": True, "compile": True},
        {"frozen_stages": -1},
        {"groups": 0},
    ],
)
def test_faulty_runs(changes: dict) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        RunSettings(**({"steps": 5} | changes))


def test_all_faults_of_a_run_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        RunSettings(steps=0, amp="fp8", clip=math.nan)
    assert all(word in str(error.value) for word in ("steps is 0", "fp8", "clip is nan"))


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_frozen_stages_stay_as_they_were(tmp_path: Path, pictures: Path, stages: int) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.named_parameters()}
    frozen = ("backbone.patch", *(f"backbone.stages.{i}." for i in range(stages))) if stages else ()
    learn(tmp_path, loader_of(pictures), run_of(2, frozen_stages=stages), model)
    changed = {name: not torch.equal(value, before[name]) for name, value in model.named_parameters()}
    assert not any(changed[name] for name in changed if frozen and name.startswith(frozen))
    assert changed["backbone.stages.2.blocks.0.attention.qkv.weight"]


@pytest.mark.parametrize("kind", ["mobilenetv2", "resnet50", "swin"])
def test_first_stages_of_every_backbone_begin_at_the_picture(kind: str) -> None:
    """With all but the last stage frozen the map of the stage before is out of what is frozen alone."""
    backbone = build_backbone(tiny_config(backbone=kind))
    for stage in backbone.first_stages(5 if kind == "mobilenetv2" else 3):  # type: ignore[operator]
        stage.requires_grad_(False)
    for norm in getattr(backbone, "norms", ()):  # Swin's maps go through a norm of their own
        norm.requires_grad_(False)
    maps = backbone(torch.zeros(1, 3, 64, 64))
    assert [value.requires_grad for value in maps] == [False, False, True]


class Judged(Criterion):
    """Remembers what it judged."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Predictions] = []

    def __call__(self, predictions: Predictions, *rest: object) -> dict[str, torch.Tensor]:
        self.answers.append(predictions)
        return super().__call__(predictions, *rest)  # type: ignore[arg-type]


def test_groups_are_limited_in_training_alone(pictures: Path) -> None:
    model = network()
    batch = loader_of(pictures).batch(0)
    counts = []
    for groups in (None, 2):
        step = TrainStep(model, CountingText(), run_of(1, groups=groups))
        judged = Judged()
        step.criterion = judged  # type: ignore[assignment]
        step(batch)
        counts.append(judged.answers[0].reports[-1].boxes.shape[1])
    assert counts == [model.config.instances, 2]


def test_rows_of_the_log_are_plain_numbers(tmp_path: Path, pictures: Path) -> None:
    learn(tmp_path, loader_of(pictures), run_of(1))
    (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in row.values())
    assert {"step", "rate", "images_per_second", "seconds", "memory", "faulty", "gradient", "total", "oks"} <= set(row)
