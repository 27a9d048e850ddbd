"""Training in several processes: counts are shared, so that the mean of the parts is the loss of the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

# Each process judges one image; the images have different numbers of objects, the second has no labelled points.
PROGRAM = """
import sys
import torch
from torch import distributed

from xpose.model import Predictions, PromptEmbeddings
from xpose.model.types import LayerReport, ObjectQueries, ProjectedPrompts, Trace
from training.small_targets import LabelledObject, target_batch, targets_of
from xpose.training.objective.losses import Criterion

rank, processes, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if processes > 1:
    distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=processes)
g = torch.Generator().manual_seed(0)
rand = lambda *shape: torch.rand(2, *shape, generator=g, dtype=torch.float64)
scores, boxes = rand(6, 1), rand(6, 4) * 0.4 + 0.3
reports = [LayerReport(rand(6, 1), rand(6, 4) * 0.4 + 0.3)]
reports += [LayerReport(rand(4, 1), rand(4, 4) * 0.4 + 0.3, rand(4, 2, 2), rand(4, 2, 2), rand(4, 2))]
mine = slice(rank, rank + 1) if processes > 1 else slice(None)
cut = lambda r: LayerReport(*(None if v is None else v[mine] for v in vars(r).values()))
one = PromptEmbeddings.from_lists([torch.zeros(1, 4)], [torch.zeros(2, 4)]).expand(2)
prompts = ProjectedPrompts(one.objects[mine], one.object_mask[mine], one.keypoints[mine], one.keypoint_mask[mine],
                           one.keypoint_set[mine])
points = {"a": (20, 20, 2), "b": (30, 30, 2)}
objects = [
    [LabelledObject((10, 10, 40, 40), 0, points), LabelledObject((50, 20, 80, 60), 0), LabelledObject((0, 0, 9, 9), 0)],
    [LabelledObject((30, 20, 60, 60), 0)],
]
targets = [targets_of(*o, names=[("a", "b")]) for o in objects]
targets = target_batch(targets[mine], dtype=torch.float64)
trace = Trace(prompts, ObjectQueries(None, boxes[mine], None, scores[mine]), torch.zeros(2, 4, dtype=torch.long)[mine])
losses = Criterion()(Predictions((), (), (), (), (), reports=tuple(map(cut, reports)), trace=trace), targets)
torch.save(losses, store + f".{processes}.{rank}")
if processes > 1:
    distributed.barrier()
    distributed.destroy_process_group()  # its threads must not outlive the interpreter: the process would abort
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_the_mean_over_two_processes_is_the_loss_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path / "store")

    def start(rank: int) -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM, str(rank), "2", store]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])

    started = [start(0), start(1)]
    monkeypatch.setattr(sys, "argv", ["", "0", "1", store])
    exec(PROGRAM.replace("from training.", "from tests.training."), {})  # alone, in this process
    for process in started:
        assert process.wait(120) == 0, process.stderr.read()  # type: ignore[union-attr]
    whole = torch.load(f"{store}.1.0")
    parts = [torch.load(f"{store}.2.{rank}") for rank in (0, 1)]
    assert set(whole) == set(parts[0]) == set(parts[1])
    for name, value in whole.items():
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, value)
    assert parts[0]["total"] != parts[1]["total"]
