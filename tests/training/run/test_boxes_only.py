"""Kinds without keypoints are learned like others: alone, and beside kinds that have some."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.evaluation.drawn_sets import TUBE, thing, write_set
from tests.inference.conftest import CountingText
from tests.training.small_runs import loader_of, network, run_of

from xpose.data.loading.batches import Batch
from xpose.training.objective.denoising import DenoisingSettings
from xpose.training.run.prompt_batches import PromptMaker
from xpose.training.run.step import TrainStep

LAMP = thing((40, 8, 20, 30), category=2)
TUBES = thing((5, 5, 30, 25), (8, 8), (28, 25))
CAST = thing((5, 35, 30, 20), (0, 0, 0), (0, 0, 0))  # a tube of which no point is labelled
BOTH, ONLY = [("glue tube", TUBE), ("traffic light", ())], [("lorry", ()), ("traffic light", ())]


@pytest.fixture(params=["beside others", "alone"])
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "alone":
        lorry = thing((5, 5, 30, 25))
        write_set(tmp_path / "street", ONLY, {"train": [[lorry, LAMP], [LAMP], [lorry], [lorry, lorry]]})
    else:
        write_set(tmp_path / "street", BOTH, {"train": [[TUBES, LAMP], [LAMP], [TUBES, CAST], [CAST, LAMP]]})
    return tmp_path


@pytest.mark.parametrize("mode", ["text", "visual", "combined"])
def test_every_loss_is_finite_and_has_a_slope(pictures: Path, mode: str) -> None:
    shares = {"visual": float(mode == "visual"), "combined": float(mode == "combined")}
    loader = loader_of(pictures, batch=3, side=32, **shares)
    denoising = DenoisingSettings(queries=6, keypoint_runs=1)
    step = TrainStep(network(), CountingText(), run_of(1, denoising=denoising))
    boxed = 0
    for batch in loader.steps(0, 4):
        step.zero_grad()
        terms = step(batch)
        assert terms
        terms["total"].backward()
        assert all(math.isfinite(float(value.detach())) for value in terms.values())
        grown = [p.grad for p in step.parameters() if p.grad is not None]
        assert all(bool(grad.isfinite().all()) for grad in grown)
        assert any(float(grad.abs().max()) > 0 for grad in grown)
        boxed += sum(not target.names(row) for target in batch.targets for row in range(len(target.labels)))
    assert boxed > 0, "an object of a kind without points was there"


def test_a_kind_without_points_is_asked_by_words(pictures: Path) -> None:
    """There are no examples of it: a step with examples asks for it as one with words does."""
    loader = loader_of(pictures, batch=3, side=32, visual=1.0)
    maker = PromptMaker(network(), CountingText())
    seen = 0
    for batch in loader.steps(0, 3):
        assert not any(shot.kind.category == "traffic light" for found in batch.shots.values() for shot in found)
        asked = maker(batch)
        words = maker(_by_words(batch))
        for row, target in enumerate(batch.targets):
            for column, entry in enumerate(target.asked):
                if entry.kind.category == "traffic light":
                    assert torch.equal(asked.prompts.objects[row, column], words.prompts.objects[row, column])
                    seen += 1
    assert seen


def _by_words(batch: Batch) -> Batch:
    return replace(batch, mode="text")
