"""A tiny network, drawn pictures and short runs, for tests of the loop in this process and in others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.model.conftest import lively, tiny_config
from tests.model.prompting.conftest import tiny_shapes

from xpose.data.loading.examples import ExampleSettings
from xpose.data.loading.loader import Loader, Prompting
from xpose.data.loading.pool import open_pool
from xpose.data.loading.transforms import Augmentation
from xpose.data.synthetic.scenes import write_synthetic
from xpose.data.synthetic.toys import KINDS
from xpose.model import SwinSettings, XPose
from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder
from xpose.training.objective.denoising import DenoisingSettings
from xpose.training.run import prompt_batches
from xpose.training.run.loop import train
from xpose.training.run.settings import RunSettings, Schedule


def draw(folder: Path, kinds: Sequence[str] = tuple(KINDS)) -> Path:
    write_synthetic(folder, 12, seed=3, size=(128, 96), objects=(1, 2), kinds=kinds)
    return folder


def network(**changes: object) -> XPose:
    """Swin and our own kind of heads: single numbers among the weights, an example encoder that is not always used."""
    values: dict = {"query_content": "token", "size_prior": "token", "scaled_logits": True, "visibility_head": True}
    values |= {"prompt_encoder": "nano", "prompt_width": 400}
    values |= {"swin": SwinSettings(dim=8, depths=(1, 2, 1, 1), heads=(1, 2, 2, 4), window=3)}
    values |= {"encoder_layers": 1, "keypoint_layers": 2}
    return lively(XPose(tiny_config(**(values | changes)))).requires_grad_(True)


def loader_of(
    pictures: Path,
    *,
    batch: int = 2,
    rank: int = 0,
    ranks: int = 1,
    visual: float = 0.0,
    combined: float = 0.0,
    absent: tuple[int, int] = (0, 2),
    side: int = 64,
) -> Loader:
    return Loader(
        open_pool([pictures], "train"),
        batch=batch,
        rank=rank,
        ranks=ranks,
        augmentation=Augmentation(size=64),
        prompting=Prompting(visual, combined, absent=absent, examples=ExampleSettings(side=side, least_side=8)),
    )


def clip_network() -> XPose:
    """A network that asks through CLIP."""
    return network(prompt_encoder="clip", prompt_width=24)


def clip_state() -> dict[str, torch.Tensor]:
    """A tiny CLIP and what examples add to it, in the official layout."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in tiny_shapes().items()}


def clip_encoders() -> tuple[ClipTextEncoder, ClipVisualPromptEncoder]:
    state = clip_state()
    return ClipTextEncoder.from_official(state), ClipVisualPromptEncoder.from_official(clip_state())


def run_of(steps: int, **changes: object) -> RunSettings:
    values: dict = {"schedule": Schedule(rate=1e-3, reference_batch=0), "log_steps": 1}
    return RunSettings(steps=steps, **(values | changes))


def everything() -> dict:
    """Settings of a run that make a step as rich as it gets."""
    return {"denoising": DenoisingSettings(queries=4, keypoint_runs=1), "accumulate": 2}


@contextmanager
def one_name() -> Iterator[None]:
    """Words are drawn per step and picture: what has one name and no style is asked for alike in every step."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SYNONYMS", 0.0), ("NAMELESS", 0.0), ("DROPPED", 1.0)):
            patch.setattr(prompt_batches, name, value)
        yield


def learn(folder: Path, loader: Loader, run: RunSettings, model: XPose | None = None, **more: object) -> XPose:
    """Train a network, by default a fresh one, and return its average."""
    average = train(model or network(), CountingText(), loader, run, folder, **more)  # type: ignore[arg-type]
    return average.module  # type: ignore[return-value]


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def curve(folder: Path, name: str = "total") -> torch.Tensor:
    """A number of the log, step by step."""
    return torch.tensor([row[name] for row in rows(folder)], dtype=torch.float64)
