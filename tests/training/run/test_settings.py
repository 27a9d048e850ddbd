"""Learning rates over a run, which parameters get which, and the moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xpose.errors import ConfigError
from xpose.model import XPose
from xpose.training.run.settings import MovingAverage, Schedule, decay_after


@pytest.mark.parametrize(
    ("shape", "step", "expected"),
    [
        ("cosine", 0, 1 / 11),
        ("cosine", 9, 10 / 11),
        ("cosine", 10, 1.0),
        ("cosine", 55, 0.505),  # half way: the mean of 1 and .01
        ("cosine", 100, 0.01),
        ("cosine", 500, 0.01),
        ("step", 50, 1.0),
        ("step", 91, 1.0),
        ("step", 93, 0.1),
        ("constant", 99, 1.0),
    ],
)
def test_factors_by_hand(shape: str, step: int, expected: float) -> None:
    """A run of 101 steps (100 for step and constant), whose warm-up is cut to a tenth of it."""
    steps = 101 if shape == "cosine" else 100
    assert Schedule(shape=shape).factor(step, steps) == pytest.approx(expected)  # type: ignore[arg-type]


def test_rates_are_what_the_factor_says_in_any_order_of_steps(network: XPose) -> None:
    schedule = Schedule(warm_up=3)
    optimiser = torch.optim.AdamW(schedule.groups(network, batch=32))
    for step in (0, 39, 3, 20, 20):
        schedule.set_rates(optimiser, step, 40)
        rates = {group["name"].partition(",")[0]: group["lr"] for group in optimiser.param_groups}
        assert rates["network"] == pytest.approx(2e-4 * schedule.factor(step, 40))
        assert rates["backbone"] == pytest.approx(2e-5 * schedule.factor(step, 40))


def test_the_rate_scales_with_the_batch() -> None:
    assert Schedule().rate_for(16) == 1e-4
    assert Schedule().rate_for(64) == pytest.approx(4e-4)
    assert Schedule(reference_batch=0).rate_for(64) == 1e-4


def test_groups_hold_every_parameter_once(network: XPose) -> None:
    tower, added = nn.Linear(3, 3), nn.Linear(3, 3)
    prompts = nn.ModuleDict({"text": tower, "visual": tower, "pos_proj": added})
    groups = Schedule(towers=0.1).groups(network, prompts, batch=32)
    held = [p for group in groups for p in group["params"]]
    assert len({id(p) for p in held}) == len(held)
    assert {id(p) for p in held} == {id(p) for p in [*network.parameters(), *prompts.parameters()]}
    by_name = {group["name"]: group for group in groups}
    assert by_name["network"]["lr"] == pytest.approx(2e-4)
    assert by_name["backbone"]["lr"] == pytest.approx(2e-5)
    assert by_name["towers, not decayed"]["lr"] == pytest.approx(2e-5)
    assert any(p is added.weight for p in by_name["network"]["params"])  # what was added to a tower is no tower
    plain = {id(p) for name, group in by_name.items() if "not decayed" in name for p in group["params"]}
    assert all(id(p) in plain for n, p in network.named_parameters() if p.ndim < 2 or "relative_position" in n)
    assert id(network.neck.level_embedding) not in plain
    assert {g["weight_decay"] for g in groups} == {0.0, 1e-4}
    torch.optim.AdamW(groups)


def test_towers_are_frozen_by_default(network: XPose) -> None:
    tower = nn.Linear(3, 3)
    groups = Schedule().groups(network, nn.ModuleDict({"text": tower}))
    assert {g["name"].partition(",")[0] for g in groups} == {"network", "backbone"}
    assert not any(p.requires_grad for p in tower.parameters())


def test_faults_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Schedule(rate=-1, shape="saw", drops=(0.9, 0.5))  # type: ignore[arg-type]
    for message in ("rate is -1", 'shape is "saw"', "drops is (0.9, 0.5)"):
        assert message in str(error.value)


def test_the_average_by_hand() -> None:
    """Weights 0, 1, 2, 3: the first is taken over, then w = d · w + (1 - d) · new with d = 2/11, 3/12, 4/13."""
    model = nn.Linear(1, 1, bias=False).double()
    average = MovingAverage(model)
    expected = None
    for step in range(4):
        with torch.no_grad():
            model.weight.fill_(step)
        average.update_parameters(model)
        decay = (1 + step) / (10 + step)
        expected = step if expected is None else decay * expected + (1 - decay) * step
    assert average.module.weight.item() == pytest.approx(expected)


def test_the_decay_grows_with_the_run_up_to_its_limit() -> None:
    values = [decay_after(t, 0.9997) for t in (0, 10, 1000, 29_000, 31_000, 10**6)]
    assert values == sorted(values)
    assert values[:2] == pytest.approx([0.1, 0.55])
    assert values[3] < 0.9997
    assert values[4:] == [0.9997, 0.9997]


def test_buffers_are_taken_over_and_the_average_is_for_evaluation() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = MovingAverage(model)
    for _ in range(3):
        model(torch.randn(8, 2))
        average.update_parameters(model)
    torch.testing.assert_close(average.module[1].running_mean, model[1].running_mean)
    assert average.module[1].num_batches_tracked == 3
    assert not average.module.training
    assert not any(p.requires_grad for p in average.parameters())
    assert model.training


def test_the_average_goes_on_from_its_saved_state() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    one = MovingAverage(model)
    for _ in range(5):
        nn.init.normal_(model.weight)
        one.update_parameters(model)
    two = MovingAverage(other)
    two.load_state_dict(one.state_dict())
    nn.init.normal_(model.weight)
    for average in (one, two):
        average.update_parameters(model)
    assert torch.equal(one.module.weight, two.module.weight)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_no_average_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        MovingAverage(nn.Linear(1, 1), decay)
