"""Lower precisions learn as float32 does, within what their rounding allows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.model.conftest import tiny_config
from tests.training.small_runs import curve, draw, everything, learn, loader_of, rows, run_of

from xpose.model import XPose
from xpose.training.run.schedule import Schedule
from xpose.training.run.settings import AMP
from xpose.training.run.state import load_state
from xpose.training.run.step import TrainStep, change, gradients


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


def fresh() -> XPose:
    """A network as training starts with, whose answers are not yet far apart: rounding cannot turn them over."""
    torch.manual_seed(0)
    own = {"query_content": "token", "size_prior": "token", "scaled_logits": True, "visibility_head": True}
    return XPose(tiny_config(prompt_encoder="nano", prompt_width=400, **own))


def test_bfloat16_learns_as_float32_does(tmp_path: Path, pictures: Path) -> None:
    """But for a few steps in which a query near a tie falls the other way, the losses are the same within rounding."""
    full, half = (tmp_path / name for name in ("full", "half"))
    learn(full, loader_of(pictures), run_of(10), model=fresh())
    learn(half, loader_of(pictures), run_of(10, amp="bf16"), model=fresh())
    apart = (curve(half) / curve(full) - 1).abs()
    assert 0 < apart.min() < 0.02
    assert apart.median() < 0.05
    assert abs(curve(half).mean() / curve(full).mean() - 1) < 0.15


def test_weights_and_average_stay_in_float32(tmp_path: Path, pictures: Path) -> None:
    learn(tmp_path, loader_of(pictures, combined=1.0), run_of(1, amp="bf16", **everything()))
    state = load_state(tmp_path / "state")
    assert state is not None
    kinds = {value.dtype for part in ("model", "average") for value in state[part].values()}
    assert kinds <= {torch.float32, torch.int64}


def test_the_loss_scale_is_part_of_the_state(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bfloat16 in place of float16, which not every processor has; the scale works in the same way."""
    monkeypatch.setitem(AMP, "fp16", torch.bfloat16)

    def spoiled() -> XPose:
        """Step 1 finds an infinite gradient, as too large a scale makes it."""
        model, calls = fresh(), iter(range(10**9))
        model.heads.norm.weight.register_hook(lambda grad: grad * (float("inf") if next(calls) == 0 else 1))
        return model

    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    learn(whole, loader_of(pictures), run_of(4, amp="fp16"), model=spoiled())
    wishes = iter((False, True))
    learn(pieces, loader_of(pictures), run_of(4, amp="fp16"), model=spoiled(), stop=lambda: next(wishes))
    assert load_state(pieces / "state")["scaler"]["scale"] == 2.0**15  # type: ignore[index]
    learn(pieces, loader_of(pictures), run_of(4, amp="fp16"), model=fresh())
    one, other = (load_state(folder / "state") for folder in (whole, pieces))
    assert one is not None
    assert other is not None
    assert one["scaler"] == other["scaler"]
    assert one["scaler"]["_growth_tracker"] == 3
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert [row["faulty"] for row in rows(pieces)] == [1, 0, 0, 0]


def test_the_scale_changes_no_gradient(pictures: Path) -> None:
    batch, found = loader_of(pictures).batch(0), []
    for enabled in (False, True):
        model, run = fresh(), run_of(1)
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        optimizer = torch.optim.SGD(Schedule().groups(model), lr=0.0)
        outcome = gradients(TrainStep(model, CountingText(), run), iter([batch]), run, scaler, torch.device("cpu"))
        length = change(optimizer, scaler, 0.1)
        found.append((outcome.terms, length))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1])
