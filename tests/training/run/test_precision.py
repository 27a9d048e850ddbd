"""Lower precisions learn as float32 does, within what their rounding allows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.model.conftest import tiny_config
from tests.training.small_runs import curve, draw, everything, learn, loader_of, rows, run_of

from xpose.model import XPose
from xpose.training.run import hardware
from xpose.training.run.settings import AMP, Schedule
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


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"amx_bf16": True, "avx512_bf16": False}, True),
        ({"amx_bf16": False, "avx512_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False, "amx_tile": False}, False),
        ({"architecture": "aarch64", "bf16": True}, True),
        ({"architecture": "aarch64", "bf16": False}, False),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_multiplies_it(
    capabilities: dict, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert hardware.precision("auto", torch.device("cpu")) == (torch.bfloat16 if native else None)
    assert hardware.precision("bf16", torch.device("cpu")) == torch.bfloat16
    assert hardware.precision("none", torch.device("cpu")) is None


def test_auto_asks_a_gpu_and_leaves_other_devices_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert hardware.multiplies_bf16(torch.device("cuda")) is native
    assert not hardware.multiplies_bf16(torch.device("mps"))


@pytest.mark.parametrize(("first", "then"), [("auto", "auto"), ("bf16", "auto"), ("auto", "none")])
def test_a_run_continues_on_another_processor(
    first: str, then: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins where bfloat16 is multiplied, and ends where it is not."""
    used: list[torch.dtype | None] = []
    decide = hardware.precision
    monkeypatch.setattr(hardware, "precision", lambda *question: used.append(decide(*question)) or used[-1])
    for amp, native in ((first, True), (then, False)):
        monkeypatch.setattr(hardware, "multiplies_bf16", lambda device, native=native: native)
        learn(tmp_path, loader_of(pictures), run_of(2, amp=amp), model=fresh(), stop=lambda: True)
    assert used == [torch.bfloat16, None]
    state = load_state(tmp_path / "state")
    assert state is not None
    assert state["step"] == 2
    assert [row["faulty"] for row in rows(tmp_path)] == [0, 0]
