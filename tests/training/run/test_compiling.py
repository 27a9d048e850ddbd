"""Compiled layers give the same numbers, and where nothing can be compiled training goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.training.small_runs import draw, learn, loader_of, network, rows, run_of

from xpose.errors import XPoseWarning
from xpose.training.run import compiling, memory
from xpose.training.run.compiling import compile_layers
from xpose.training.run.step import TrainStep


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


def test_compiled_layers_give_the_same_losses_and_gradients(pictures: Path) -> None:
    """Captured by torch.compile, but run by PyTorch itself: no compiler is needed. A few layers stand for all."""
    batch = loader_of(pictures).batch(0)
    found = []
    for backend in (None, "eager"):
        model = network()
        if backend is not None:
            assert compile_layers([model.object_decoder], torch.device("cpu"), backend) == 2
            memory.recompute(model.object_decoder)
        terms = TrainStep(model, CountingText(), run_of(1))(batch)
        terms["total"].backward()
        found.append((terms, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (terms, grads), (compiled, compiled_grads) = found
    torch.testing.assert_close(terms, compiled, rtol=1e-3, atol=1e-3)
    assert set(grads) == set(compiled_grads)
    length = torch.stack([g.norm() for g in grads.values()]).norm()
    assert all((g - compiled_grads[name]).norm() < 1e-3 * length for name, g in grads.items())


def test_without_a_compiler_training_goes_on_as_it_is(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> None:
        raise RuntimeError("no C++ compiler found\nand much more text")

    monkeypatch.setattr(compiling, "BACKEND", no_compiler)
    torch._dynamo.reset()
    with pytest.warns(XPoseWarning, match=r"not compiled.*no C\+\+ compiler found.*g\+\+"):
        learn(tmp_path, loader_of(pictures), run_of(1, compile=True))
    assert rows(tmp_path)[0]["total"] > 0
