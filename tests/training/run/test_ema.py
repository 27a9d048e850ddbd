"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xpose.errors import ConfigError
from xpose.training import MovingAverage
from xpose.training.run.ema import decay_after


def test_by_hand() -> None:
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


def test_it_goes_on_from_its_saved_state() -> None:
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
    with pytest.raises(ConfigError, match="must be a number from 0"):
        MovingAverage(nn.Linear(1, 1), decay)
