"""The two forms that the benchmark of training compares do the same work on the same pictures."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_training", FOLDER / "training.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_training"] = module
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def test_both_forms_have_the_same_loss_and_every_stage_is_timed(benchmark: ModuleType, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        options = argparse.Namespace(device="cpu", amp="none", checkpointing=False, objects=2, absent=2)
        bench = benchmark.Bench("xpose-nano", 64, 2, options, tmp_path / "set")
        ours, padded = (bench.loss(form, 0) for form in benchmark.FORMS)
        seconds = bench.step("ours", 0)
    finally:
        torch.set_num_threads(threads)
    assert ours == pytest.approx(padded, rel=1e-4)
    assert set(seconds) == set(benchmark.STAGES)
    assert bench.loss("ours", 0) != pytest.approx(ours, rel=1e-6)  # it was a real step
    assert "forward" not in vars(bench.model.encoder)  # nothing of the watch is left
