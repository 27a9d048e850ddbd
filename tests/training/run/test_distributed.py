"""Two processes on the CPU, started by torchrun: they learn what one learns, agree on everything, and write once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training.small_runs import clip_state, curve, draw, learn, loader_of, network, one_name, rows, run_of

from xpose.errors import ConfigError
from xpose.training.run.processes import everywhere, is_first, processes
from xpose.training.run.state import states

PROGRAM = Path(__file__).with_name("two_processes.py")
SECONDS = 600  # for some ten seconds of work, on a machine that may be busy
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


@pytest.fixture(scope="module")
def two(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what two processes did."""
    if not torch.distributed.is_available() or sys.platform == "win32":
        pytest.skip("this PyTorch has no torch.distributed, or no torchrun for this system")
    out = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    started = subprocess.Popen(
        [*command, str(PROGRAM), str(pictures), str(out)],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = started.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # torchrun and its processes
        pytest.fail(f"two processes did not end in {SECONDS} s: {started.communicate()[0][-3000:]}")
    assert started.returncode == 0, output[-5000:]
    return out


@pytest.fixture(scope="module")
def one(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run in one process, with batches twice as large."""
    folder = tmp_path_factory.mktemp("one")
    with one_name():
        learn(folder, loader_of(pictures, batch=4), run_of(4))
    return folder


def state(folder: Path) -> dict:
    return torch.load(states(folder / "state")[-1])


def close(mine: dict, other: dict) -> None:
    """The numbers of two states are the same but for rounding, whose sign Adam makes steps of."""
    for part in ("model", "average"):
        assert set(mine[part]) == set(other[part])
        for name, value in mine[part].items():
            torch.testing.assert_close(value, other[part][name], rtol=1e-3, atol=1e-3)
    for number, row in mine["optimizer"]["state"].items():
        torch.testing.assert_close(row["exp_avg"], other["optimizer"]["state"][number]["exp_avg"], rtol=1e-3, atol=1e-4)


def test_two_processes_learn_what_one_learns(one: Path, two: Path) -> None:
    for name in ("total", "box_l1", "oks", "keypoint_alignment", "gradient"):
        torch.testing.assert_close(curve(two / "whole", name), curve(one, name), **CLOSE)
    assert curve(one)[-1] < curve(one)[0]
    close(state(one), state(two / "whole"))


def test_there_is_one_log_and_one_state(two: Path) -> None:
    assert [row["step"] for row in rows(two / "whole")] == [1, 2, 3, 4]
    assert [path.name for path in states(two / "whole" / "state")] == ["step-00000004.pt"]


def test_both_ask_in_the_same_way(two: Path) -> None:
    first, second = (torch.load(two / f"{rank}.pt") for rank in (0, 1))
    assert first["ranks"] == second["ranks"] == 2
    assert first["modes"] == second["modes"]
    assert set(first["modes"]) == {"text", "visual", "combined"}


def test_sharded_weights_learn_the_same_and_one_process_goes_on_from_them(one: Path, two: Path, pictures: Path) -> None:
    """With gradient checkpointing; one process wished to stop, and both did."""
    assert [row["step"] for row in rows(two / "sharded")] == [1, 2]
    assert torch.load(two / "0.pt")["seen"] == [1, 2]
    assert torch.load(two / "1.pt")["seen"] == []
    assert all(type(value) is torch.Tensor for value in state(two / "sharded")["model"].values())
    with one_name():
        learn(two / "sharded", loader_of(pictures, batch=4), run_of(4))
    torch.testing.assert_close(curve(two / "sharded"), curve(one), **CLOSE)
    close(state(one), state(two / "sharded"))


def test_every_kind_of_prompt_with_noise_and_accumulation(two: Path) -> None:
    """Weights that some prompts leave unused hold up neither way of sharing gradients, and both ways agree."""
    torch.testing.assert_close(curve(two / "mixed"), curve(two / "mixed sharded"), **CLOSE)
    close(state(two / "mixed"), state(two / "mixed sharded"))


def test_clips_encoders_are_trained_together_whole_and_beside_sharded_weights(two: Path) -> None:
    torch.testing.assert_close(curve(two / "clip"), curve(two / "clip sharded"), **CLOSE)
    whole, sharded = state(two / "clip"), state(two / "clip sharded")
    close(whole, sharded)
    start = clip_state()
    for part in ("towers", "towers average"):
        for name, value in whole[part].items():
            torch.testing.assert_close(value, sharded[part][name], rtol=1e-3, atol=1e-3)
    assert not torch.equal(whole["towers"]["pos_proj.weight"], start["pos_proj.weight"])


def test_a_fault_in_one_process_is_a_fault_in_both(two: Path) -> None:
    found = rows(two / "faulty")
    assert [row["faulty"] for row in found] == [0, 1, 0]
    assert "total" not in found[1]
    before, model = network().state_dict(), state(two / "faulty")["model"]
    assert all(value.isfinite().all() for value in model.values())
    assert any(not torch.equal(before[name], value) for name, value in model.items())


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with processes("cpu") as here:
        assert (here.rank, here.ranks, here.first) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        assert is_first()
        assert everywhere(True, here.device)
        assert not everywhere(False, here.device)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"RANK": "0"}, "RANK=0"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "WORLD_SIZE=2"),
        ({"RANK": "a", "WORLD_SIZE": "2"}, "a"),
    ],
)
def test_an_environment_that_torchrun_does_not_make(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], found: str
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{found}.*torchrun"), processes("cpu"):
        pass


def test_the_group_is_left_when_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's part is played here: only what is asked of it, and when."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    begun: list[dict] = []

    def init(backend: str, **settings: object) -> None:
        begun.append({"backend": backend, **settings})

    left: list[bool] = []
    monkeypatch.setattr(torch.distributed, "init_process_group", init)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: left.append(True))
    with pytest.raises(RuntimeError, match="mine"), processes("cpu", patience=2.0):
        raise RuntimeError("mine")
    assert left == [True]
    assert begun[0]["backend"] == "gloo"
    assert begun[0]["timeout"].total_seconds() == 120
