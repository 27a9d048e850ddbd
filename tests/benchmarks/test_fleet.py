"""The simulation of many workers agrees with what can be computed by hand, and depends on nothing but its seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.fleet import Fleet, Simulation, table

SMALL = Fleet(pictures=1000, chunk=10, workers=1, seconds=0.1)  # 100 chunks of 1 s


def seconds_of(seed: int = 0, **changes: float) -> float:
    return Simulation(Fleet(**{**vars(SMALL), **changes}), seed).run().seconds


@pytest.mark.parametrize(
    ("why", "changes", "expected"),
    [
        ("one worker", {}, 100.0),
        ("its start", {"start": 7.0}, 107.0),
        ("the last chunk counts as a whole one", {"pictures": 995}, 100.0),
        ("several workers: the last round is not full", {"workers": 8}, 13.0),
        ("more workers than chunks", {"workers": 300}, 1.0),
        ("everything is slow", {"slow": 1.0, "slowness": 3.0}, 300.0),
        ("reading is hidden behind the network", {"bandwidth": 2e6}, 100.5),
        ("the storage is slower than the workers", {"workers": 8, "bandwidth": 2e6}, 50.0 + 1.0),
        ("the driver is slower than the workers", {"workers": 8, "driver": 0.05}, 1.0 + 50.0),
    ],
)
def test_undisturbed_fleets_take_what_the_slowest_part_takes(why: str, changes: dict[str, float], expected: float):
    assert seconds_of(**changes) == pytest.approx(expected), why


def test_failures_cost_their_attempts():
    """Attempts at a chunk are geometric: 1 / (1 - q) on average."""
    outcome = Simulation(Fleet(**{**vars(SMALL), "pictures": 20_000, "failure": 0.2})).run()
    assert outcome.seconds == outcome.attempts
    deviation = math.sqrt(2000 * 0.2) / 0.8
    assert abs(outcome.attempts - 2000 / 0.8) < 4 * deviation


def test_preemptions_cost_what_restarts_cost():
    """A chunk of t seconds that is begun anew after each loss takes (exp(t/L) - 1) (L + absence) on average."""
    lifetime, absence = 3.0, 2.0
    runs = [seconds_of(seed, lifetime=lifetime, absence=absence) for seed in range(20)]
    expected = 100 * (math.exp(1 / lifetime) - 1) * (lifetime + absence)
    assert np.mean(runs) == pytest.approx(expected, abs=4 * np.std(runs) / math.sqrt(20))


def test_variation_keeps_the_mean():
    runs = [seconds_of(seed, spread=0.3) for seed in range(20)]
    assert np.mean(runs) == pytest.approx(100.0, abs=4 * 0.3 * math.sqrt(100) / math.sqrt(20))
    assert np.std(runs) > 0


def test_the_last_chunk_of_a_slow_worker_is_waited_for():
    fleet = Fleet(**{**vars(SMALL), "workers": 10, "slow": 0.2, "slowness": 5.0})
    paces = [worker.pace for worker in Simulation(fleet).workers]
    rate = sum(1 / pace for pace in paces)
    assert 100 / rate <= seconds_of(workers=10, slow=0.2, slowness=5.0) <= 100 / rate + 2 * 5.0


def test_the_same_seed_gives_the_same_run():
    disturbed = Fleet(**{**vars(SMALL), "workers": 7, "spread": 0.3, "slow": 0.2, "lifetime": 9.0, "failure": 0.1})
    first, again, other = (Simulation(disturbed, seed).run() for seed in (1, 1, 2))
    assert first == again != other
    assert first.attempts >= 100
    assert first.preempted


def test_the_table_has_a_line_for_each_disturbance():
    lines = list(table(Fleet(pictures=20_000, chunk=100, workers=4)))
    assert "100.0%" in lines[0]
    assert len(lines) == 8
