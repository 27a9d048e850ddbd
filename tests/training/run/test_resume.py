"""A run that stops, however it stops, goes on as if it had not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training.small_runs import curve, draw, everything, learn, loader_of, network, rows, run_of

from xpose.errors import CheckpointError, ConfigError, XPoseError
from xpose.model import XPose
from xpose.training.run.processes import Interruptions, Terminated
from xpose.training.run.settings import Schedule
from xpose.training.run.state import load_state, save_state, states

PROGRAM = Path(__file__).with_name("killed_run.py")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps with every kind of prompt, denoising and accumulation, in one go."""
    folder = tmp_path_factory.mktemp("whole")
    learn(folder, loader_of(pictures, visual=0.3, combined=0.3), run_of(4, **everything()))
    return folder


def same(one: Path, other: Path) -> None:
    """Same losses in every step, and weights, averages and the optimiser's memory to the last bit."""
    names = [name for name in rows(one)[0] if name not in ("images_per_second", "seconds", "memory")]
    assert len(names) > 8
    for name in names:
        assert torch.equal(curve(one, name), curve(other, name)), name
    first, second = (load_state(folder / "state") for folder in (one, other))
    assert first is not None
    assert second is not None
    for part in ("model", "average"):
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    for number, row in first["optimizer"]["state"].items():
        assert all(torch.equal(value, second["optimizer"]["state"][number][name]) for name, value in row.items())


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, pictures: Path, whole: Path) -> None:
    """Stopped by Ctrl-C in the middle of a step, by time, and by SIGTERM."""
    run = run_of(4, **everything())

    def piece(**more: object) -> XPose:
        return learn(tmp_path, loader_of(pictures, visual=0.3, combined=0.3), run, **more)

    signals = iter((signal.SIGINT, signal.SIGTERM))

    def after(step: int) -> object:
        return lambda now, average: os.kill(os.getpid(), next(signals)) if now == step else None

    with pytest.raises(KeyboardInterrupt):
        piece(watch=after(1))
    assert load_state(tmp_path / "state")["step"] == 1  # type: ignore[index]
    piece(stop=lambda: True)
    assert load_state(tmp_path / "state")["step"] == 2  # type: ignore[index]
    with pytest.raises(Terminated) as ended:
        piece(watch=after(3))
    assert ended.value.code == 128 + signal.SIGTERM
    assert load_state(tmp_path / "state")["step"] == 3  # type: ignore[index]
    piece()
    same(whole, tmp_path)
    average = piece()  # a finished run has nothing left to do
    same(whole, tmp_path)
    kept = load_state(tmp_path / "state")["average"]  # type: ignore[index]
    assert all(torch.equal(value, kept[f"module.{name}"]) for name, value in average.state_dict().items())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(tmp_path: Path, pictures: Path, whole: Path) -> None:
    """Killed (kill -9) while it writes the state of step 3: half a file is there, and the log is ahead."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(pictures), str(tmp_path), "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]
    assert [path.name for path in states(tmp_path / "state")] == ["step-00000001.pt", "step-00000002.pt"]
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "tot')  # as a kill in the middle of a line leaves it
    learn(tmp_path, loader_of(pictures, visual=0.3, combined=0.3), run_of(4, save_minutes=1e-9, **everything()))
    same(whole, tmp_path)


def test_an_interruption_within_a_step_loses_nothing_of_the_steps_before(tmp_path: Path, pictures: Path) -> None:
    loader = loader_of(pictures)
    make = loader.batch

    def batch(number: int) -> object:
        if number == 2:
            raise KeyboardInterrupt
        return make(number)

    loader.batch = batch  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, loader, run_of(5))
    assert load_state(tmp_path / "state")["step"] == 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "batch", "told"),
    [
        ({"accumulate": 2}, 2, "accumulate: 1, now 2"),
        ({}, 3, "batch: 2, now 3"),
        ({"amp": "bf16"}, 2, "amp: none, now bf16"),
    ],
)
def test_a_run_with_another_order_of_pictures_does_not_go_on(
    tmp_path: Path, pictures: Path, changes: dict, batch: int, told: str
) -> None:
    learn(tmp_path, loader_of(pictures), run_of(3), stop=lambda: True)
    with pytest.raises(ConfigError, match=f"{told}.*another folder"):
        learn(tmp_path, loader_of(pictures, batch=batch), run_of(3, **changes))
    assert load_state(tmp_path / "state")["step"] == 1  # type: ignore[index]


def test_a_state_of_another_network_is_told(tmp_path: Path, pictures: Path) -> None:
    learn(tmp_path, loader_of(pictures), run_of(3), stop=lambda: True)
    with pytest.raises(CheckpointError, match=r"state of step 1 is not of this network.*another folder"):
        learn(tmp_path, loader_of(pictures), run_of(3), model=network(ffn=56))


def test_other_rates_count_from_where_the_run_goes_on(tmp_path: Path, pictures: Path) -> None:
    learn(tmp_path, loader_of(pictures), run_of(4), stop=lambda: True)
    schedule = Schedule(rate=7e-5, reference_batch=0, shape="constant")
    learn(tmp_path, loader_of(pictures), run_of(2, schedule=schedule, checkpointing=True))
    assert rows(tmp_path)[-1]["rate"] == pytest.approx(7e-5)


def test_signals_wait_while_they_are_held() -> None:
    passed: list[str] = []

    def interrupted() -> None:
        with Interruptions() as interruptions:
            with interruptions.held():
                os.kill(os.getpid(), signal.SIGINT)
                passed.append("inside")
            passed.append("after")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert passed == ["inside"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_program_around_is_asked() -> None:
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        with Interruptions() as interruptions, interruptions.held():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == [signal.SIGINT]


def test_an_announced_stop_waits_for_the_second_signal() -> None:
    said: list[str] = []

    def twice() -> None:
        with Interruptions(said.append) as interruptions:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (interruptions.stopping, len(said)) == (True, 1)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert "Ctrl-C again" in said[0]


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
    with pytest.raises(XPoseError, match="untouched"):
        save_state(tmp_path, 2, {"step": 2})
    monkeypatch.undo()
    assert load_state(tmp_path) == {"step": 1}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(XPoseError, match="could not be written"):
        save_state(tmp_path / "file" / "state", 1, {"step": 1})
