"""The loop: it learns, it stops and goes on as if it had not, and it never loses a state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText, own_detector

from xpose.data.examples import Examples
from xpose.data.loader import Loader, Prompting
from xpose.data.pool import open_pool
from xpose.data.synthetic import write_synthetic
from xpose.data.transforms import Augmentation
from xpose.errors import CheckpointError, ConfigError, TrainingError
from xpose.model import XPose
from xpose.training.asking import Asker
from xpose.training.denoising import DenoisingSettings
from xpose.training.loop import Progress, Run, train
from xpose.training.schedule import Schedule
from xpose.training.state import load_state, save_state, states


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    write_synthetic(folder, 12, seed=3, size=(128, 96), objects=(1, 2))
    return folder


def loader_of(folder: Path, visual: float = 0.0, combined: float = 0.0) -> Loader:
    return Loader(
        open_pool([folder], "train"),
        batch=2,
        augmentation=Augmentation(size=64),
        prompting=Prompting(visual, combined, absent=(0, 2), examples=Examples(side=64, least_side=8)),
    )


def network() -> XPose:
    return own_detector().model.requires_grad_(True)


def run_of(steps: int, **changes: object) -> Run:
    values: dict = {"schedule": Schedule(rate=1e-3, reference_batch=0), "log_steps": 1}
    return Run(steps=steps, **(values | changes))


def weights_after(folder: Path, pictures: Path, pieces: list[int], **changes: object) -> dict:
    """The weights of a run of `pieces[-1]` steps that was stopped at each of the other numbers."""
    run = run_of(pieces[-1], **changes)
    model = network()
    for stop in pieces:
        model = network()
        reports: list[Progress] = []

        def note(progress: Progress, stop: int = stop, reports: list = reports) -> None:
            reports.append(progress)
            if progress.step == stop != pieces[-1]:
                raise KeyboardInterrupt

        try:
            train(model, CountingText(), loader_of(pictures, 0.3, 0.3), run, folder, report=note)
        except KeyboardInterrupt:
            assert reports[-1].step == stop
    return model.state_dict()


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, pictures: Path) -> None:
    """Same pictures, same prompts, same weights to the last bit, with every kind of prompt and with denoising."""
    changes = {"denoising": DenoisingSettings(queries=4, keypoint_runs=1)}
    whole = weights_after(tmp_path / "whole", pictures, [6], **changes)
    pieces = weights_after(tmp_path / "pieces", pictures, [2, 5, 6], **changes)
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "pieces" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_the_loss_falls(tmp_path: Path, pictures: Path) -> None:
    totals: list[float] = []
    train(
        network(),
        CountingText(),
        loader_of(pictures),
        run_of(40, log_steps=5, schedule=Schedule(rate=3e-3, reference_batch=0, backbone=1.0)),
        tmp_path,
        report=lambda progress: totals.append(progress.terms["total"]),
    )
    assert sum(totals[-2:]) < 0.8 * sum(totals[:2])


def test_time_is_kept(tmp_path: Path, pictures: Path) -> None:
    train(network(), CountingText(), loader_of(pictures), run_of(1000), tmp_path, minutes=1e-6)
    state = load_state(tmp_path / "state")
    assert state is not None
    assert state["step"] == 1


def test_accumulated_batches_are_one_step(tmp_path: Path, pictures: Path) -> None:
    reports: list[Progress] = []
    train(network(), CountingText(), loader_of(pictures), run_of(2, accumulate=3), tmp_path, report=reports.append)
    assert [r.step for r in reports] == [1, 2]


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, pictures: Path) -> None:
    model = network()
    with torch.no_grad():
        model.heads.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="Lower the rate"):
        train(model, CountingText(), loader_of(pictures), run_of(50), tmp_path)


def test_gradients_reach_the_example_encoder(pictures: Path) -> None:
    model = network()
    loader = loader_of(pictures, visual=1.0)
    batch = next(b for b in loader.steps() if len(b.crops))
    question = Asker(model, CountingText())(batch)
    question.prompts.objects.sum().backward()
    assert model.visual_prompts is not None
    assert model.visual_prompts.object_token.grad is not None


def test_words_are_the_same_every_time(pictures: Path) -> None:
    model, text = network(), CountingText()
    batch = loader_of(pictures).batch(3)
    first, again = (Asker(model, text)(batch, seed=1).prompts for _ in range(2))
    torch.testing.assert_close(first.objects, again.objects)


def test_the_last_states_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_state(tmp_path, step, {"step": step}, keep=2)
    assert [p.name for p in states(tmp_path)] == ["step-00000002.pt", "step-00000003.pt"]


def test_a_damaged_state_gives_way_to_the_one_before(tmp_path: Path) -> None:
    save_state(tmp_path, 1, {"step": 1})
    save_state(tmp_path, 2, {"step": 2}).write_bytes(b"cut short")
    assert load_state(tmp_path) == {"step": 1}
    (tmp_path / "step-00000001.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="start anew"):
        load_state(tmp_path)
    assert load_state(tmp_path / "nothing") is None


def test_a_full_disk_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, 1, {"step": 1})

    def full(*args: object, **kwargs: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="untouched"):
        save_state(tmp_path, 2, {"step": 2})
    monkeypatch.undo()
    assert load_state(tmp_path) == {"step": 1}


@pytest.mark.parametrize("changes", [{"steps": 0}, {"amp": "fp8"}, {"clip": 0}, {"accumulate": 0}])
def test_faulty_runs(changes: dict) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        Run(**({"steps": 5} | changes))
