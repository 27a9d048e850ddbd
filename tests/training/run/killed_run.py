"""A run for test_resume.py that is killed while it writes the state of a step: the file is half there."""
# ruff: noqa: E402

from __future__ import annotations

import io
import os
import signal
import sys
import types
from pathlib import Path

import torch

# Some packages install a top-level `tests` of their own, which would be found first.
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).parents[2])]

from tests.training.small_runs import everything, learn, loader_of, run_of

pictures, folder, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
save = torch.save


def killed_half_way(state: dict, path: Path) -> None:
    if state["step"] < last:
        save(state, path)
        return
    buffer = io.BytesIO()
    save(state, buffer)
    path.write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    os.kill(os.getpid(), signal.SIGKILL)


torch.save = killed_half_way
learn(folder, loader_of(pictures, visual=0.3, combined=0.3), run_of(4, save_minutes=1e-9, **everything()))
