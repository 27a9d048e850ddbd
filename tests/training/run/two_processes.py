"""What test_distributed.py has two processes do; started by torchrun."""
# ruff: noqa: E402

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path

import torch

# Some packages install a top-level `tests` of their own, which would be found first.
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).parents[2])]

from tests.training.small_runs import (
    clip_encoders,
    clip_network,
    everything,
    learn,
    loader_of,
    network,
    one_name,
    run_of,
)
from torch import distributed, nn

from xpose.data.loading.loader import Loader
from xpose.errors import XPoseWarning
from xpose.training.run.loop import train
from xpose.training.run.processes import Here, processes
from xpose.training.run.settings import Schedule


def main(pictures: Path, out: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error", XPoseWarning)
    with one_name(), processes("cpu") as here:

        def loader(**more: float) -> Loader:
            return loader_of(pictures, rank=here.rank, ranks=here.ranks, **more)  # type: ignore[arg-type]

        learn(out / "whole", loader(), run_of(4))
        sharded = run_of(4, shard=True, checkpointing=True, save_minutes=1e-9)
        seen: list[int] = []
        learn(out / "sharded", loader(), sharded, stop=StopIn(here, 1, step=2), watch=lambda step, _: seen.append(step))
        mixed = loader(visual=0.4, combined=0.3)
        learn(out / "mixed", mixed, run_of(2, **everything()))
        learn(out / "mixed sharded", mixed, run_of(2, shard=True, **everything()))
        for name, shard in (("clip", False), ("clip sharded", True)):
            through_clip = run_of(2, schedule=Schedule(rate=1e-3, reference_batch=0, towers=1.0), shard=shard)
            text, visual = clip_encoders()
            asked = loader(visual=1.0, side=32)
            train(clip_network(), text, asked, through_clip, out / name, visual=visual)
        learn(out / "faulty", loader(), run_of(3), model=faulty_in(here, rank=1, call=2))
        modes = [mixed.mode(step) for step in range(30)]
        torch.save({"modes": modes, "seen": seen, "ranks": distributed.get_world_size()}, out / f"{here.rank}.pt")


class StopIn:
    """The wish of one process to stop in a certain step."""

    def __init__(self, here: Here, rank: int, step: int) -> None:
        self.left = step if here.rank == rank else 10**9

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def faulty_in(here: Here, rank: int, call: int) -> nn.Module:
    """A network whose answer in one process's n-th step is not a number."""
    model, calls = network(), 0

    def spoil(module: nn.Module, args: object, kwargs: object, tokens: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += module.training
        return tokens * float("nan") if here.rank == rank and calls == call else tokens

    model.encoder.layers[-1].image.register_forward_hook(spoil, with_kwargs=True)
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
