"""Layers computed again or compiled give the same numbers, and memory that runs out says what needs less."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.model.conftest import lively, tiny_config
from tests.training.small_runs import draw, everything, learn, loader_of, network, rows, run_of

from xpose.errors import TrainingError, XPoseWarning
from xpose.model import XPose, device
from xpose.model.backbones import ResNet50
from xpose.model.layers import Recomputable
from xpose.training.run import hardware, loop
from xpose.training.run.state import load_state
from xpose.training.run.step import TrainStep


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


def hybrid() -> XPose:
    own = {"query_content": "token", "size_prior": "token", "prompt_encoder": "nano", "prompt_width": 400}
    return lively(XPose(tiny_config(encoder="hybrid", levels=3, backbone="mobilenetv2", **own))).requires_grad_(True)


@pytest.mark.parametrize("make", [network, hybrid])
def test_recomputed_layers_give_the_same_losses_and_gradients(make, pictures: Path) -> None:
    """With examples and denoising, which take backbone and decoders more than once."""
    batch = next(b for b in loader_of(pictures, combined=1.0).steps() if len(b.crops))
    results, counts = [], []
    for again in (False, True):
        model = make()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        calls = [0]
        layers = hardware.recompute(model) if again else 0
        assert layers == sum(isinstance(m, Recomputable) for m in model.modules()) * again
        for layer in (model.encoder.layers[0], model.object_decoder.layers[0]):
            layer.register_forward_pre_hook(lambda *_, calls=calls: calls.__setitem__(0, calls[0] + 1))
        terms = TrainStep(model, CountingText(), run_of(1, **everything()))(batch)
        terms["total"].backward()
        counts.append(calls[0])
        results.append((terms, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (terms, grads), (terms_again, grads_again) = results
    torch.testing.assert_close(terms, terms_again)
    assert set(grads) == set(grads_again)
    torch.testing.assert_close(grads, grads_again)
    assert counts[1] == 2 * counts[0]


def test_a_resnet_is_recomputed_as_a_whole() -> None:
    backbone = ResNet50().eval()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    grads = []
    for again in (False, True):
        assert hardware.recompute(backbone) == 1 if again else True
        backbone.zero_grad()
        sum(plane.square().sum() for plane in backbone(images)).backward()
        grads.append([p.grad.clone() for p in backbone.parameters() if p.grad is not None])
    assert len(grads[0]) > 100
    torch.testing.assert_close(*grads)


def test_less_is_kept_for_the_backward_pass(pictures: Path) -> None:
    batch = loader_of(pictures).batch(0)
    kept = []
    for again in (False, True):
        model = network()
        hardware.recompute(model) if again else None
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            total = TrainStep(model, CountingText(), run_of(1))(batch)["total"]
        kept.append(sum(sizes.values()))
        del total
    assert kept[1] < 0.6 * kept[0]


def test_nothing_is_recomputed_without_gradients() -> None:
    model = network()
    hardware.recompute(model)
    calls: list[int] = []
    model.backbone.stages[0].blocks[0].register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr, index]
    with torch.inference_mode():
        model.encode_image(torch.zeros(1, 3, 64, 64))
    assert calls == [1]


def test_batch_norms_that_learn_count_every_picture_once(tmp_path: Path, pictures: Path) -> None:
    states = []
    for again in (False, True):
        folder = tmp_path / str(again)
        learn(folder, loader_of(pictures), run_of(1, checkpointing=again, frozen_norms=False), model=hybrid())
        states.append(load_state(folder / "state")["model"])  # type: ignore[index]
    statistics = [name for name in states[0] if "running_" in name]
    assert statistics
    torch.testing.assert_close(*({name: state[name] for name in statistics} for state in states))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_says_what_needs_less(
    error: Exception, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def exhausted(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return found(*args, **kwargs)  # type: ignore[arg-type]

    found = loop.gradients
    monkeypatch.setattr(loop, "gradients", exhausted)
    with pytest.raises(TrainingError) as told:
        learn(tmp_path, loader_of(pictures), run_of(3))
    message = str(told.value)
    assert message.startswith("Memory ran out")
    for way in (
        "batch of 1 instead of 2",
        "accumulate = 2",
        "checkpointing = true",
        'amp = "bf16"',
        "smaller pictures",
    ):
        assert way in message
    assert "state of step 1 is on disk" in message
    assert load_state(tmp_path / "state")["step"] == 1  # type: ignore[index]


def test_what_is_already_done_is_not_proposed_again() -> None:
    message = str(hardware.exhausted(MemoryError(), 0, run_of(3, checkpointing=True, amp="bf16"), batch=1))
    assert message == "Memory ran out (MemoryError). What needs less: smaller pictures."


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not hardware.is_exhausted(RuntimeError("shapes differ"))
    assert not hardware.is_exhausted(KeyboardInterrupt())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_the_peak_is_that_of_the_process() -> None:
    assert 10 < hardware.peak(torch.device("cpu")) < 2**20


def test_compiled_layers_give_the_same_losses_and_gradients(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured by torch.compile, but run by PyTorch itself: no compiler is needed. A few layers stand for all."""
    monkeypatch.setattr(device, "BACKEND", "eager")
    batch = loader_of(pictures).batch(0)
    found = []
    for compiled in (False, True):
        model = network()
        if compiled:
            assert device.compile_layers([model.object_decoder], torch.device("cpu")) == 2
            hardware.recompute(model.object_decoder)
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

    monkeypatch.setattr(device, "BACKEND", no_compiler)
    torch._dynamo.reset()
    with pytest.warns(XPoseWarning, match=r"not compiled.*no C\+\+ compiler found.*g\+\+"):
        learn(tmp_path, loader_of(pictures), run_of(1, compile=True))
    assert rows(tmp_path)[0]["total"] > 0
