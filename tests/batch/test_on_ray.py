"""A run on Ray, in which a worker is killed, ends in the same files as one in this process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.batch.test_exactly_once import files
from tests.cli.conftest import make_picture, run  # noqa: F401 - a fixture

from xpose.batch.on_ray import _Actor
from xpose.batch.stages import DetectSetup
from xpose.inference.options import DetectionOptions

pytest.importorskip("ray", reason="runs on a cluster need the extra ray")


def own_workers(name: str) -> Iterator[int]:
    """The processes below this one whose title has the name."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = (
                int((path / "stat").read_text().rpartition(")")[2].split()[1]),
                (path / "cmdline").read_bytes(),
            )
        except OSError:  # it has just ended
            continue
    for number, (_, title) in parents.items():
        above = number
        while above in parents and above != os.getpid():
            above = parents[above][0]
        if above == os.getpid() and name.encode() in title:
            yield number


def kill_one_when_busy(killed: list[int]) -> None:
    end = time.monotonic() + 120
    while not killed and time.monotonic() < end:
        for worker in own_workers("ray::MapWorker(MapBatches(_Actor)).submit"):
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)
            return
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("weights", "message"),
    [("/nowhere", '"/nowhere"'), ("xpose-nano", "are others than those of the same name")],
)
def test_a_worker_without_the_right_weights_says_so(weights: str, message: str) -> None:
    actor = _Actor(DetectSetup(weights, None, None, None, "of the driver", [], DetectionOptions()))
    (error,) = actor({"work": np.array([(0, 0, [], [])], object)})["error"]
    assert message in error


@pytest.mark.slow
def test_the_rows_are_those_of_a_local_run_although_a_worker_is_killed(tmp_path: Path, run) -> None:  # noqa: F811
    for number in range(40):
        path = make_picture(tmp_path / "in" / f"{number}.png", number, (160, 120))
        if number % 20 == 7:
            path.write_bytes(b"damaged")
    words = ("batch", tmp_path / "in", "-t", "person", "--keypoints", "nose", "--threshold", 0.01, "--shard-size", 20)
    assert run(*words, "-o", tmp_path / "local")[0] == 1
    killed: list[int] = []
    watcher = threading.Thread(target=kill_one_when_busy, args=(killed,), daemon=True)
    watcher.start()
    code, _, err = run(*words, "-o", tmp_path / "ray", "--engine", "ray", "--workers", "1:2")
    watcher.join()
    assert code == 1, err
    assert killed
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert "40 pictures with" in err
    assert not [*own_workers("ray::")]
