"""The short form of `tiny-overfit`: four drawn pictures, a small network, words; it has to learn them in part."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.recipes.test_shipped_recipes import run

from xpose.training.recipes import session
from xpose.training.recipes.assembly import build
from xpose.training.recipes.recipe import load_recipe
from xpose.training.run.log import read_log

_NETWORK = {"dim": 64, "heads": 4, "ffn": 128, "encoder_layers": 1, "fusion_width": 64, "prompt_ffn": 64}
_NETWORK |= {"object_layers": 1, "keypoint_layers": 2, "queries": 12, "instances": 3}
_NETWORK |= {"image_short": 64, "image_long": 64}
CHANGES = [
    *(f"network.overrides.{name}={value}" for name, value in _NETWORK.items()),
    *("data.drawn.count=4", "data.drawn.size=[64, 64]", 'data.drawn.kinds=["face", "fish"]', "augmentation.size=64"),
    *("prompting.visual=0", "prompting.combined=0", "prompting.absent=[0, 1]", 'validation.prompts=["text"]'),
    *("run.steps=64", "run.schedule.rate=8e-4", "run.schedule.warm_up=5", "run.average=0.9", "validation.pictures=1"),
    *("run.log_steps=8", "validation.every=1000"),
]


def test_four_pictures_are_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text PCK@0.2 passes 30, from below 25 before the first step."""
    monkeypatch.setattr(session, "write_report", lambda folder: folder)
    setup = build(load_recipe("tiny-overfit", CHANGES), tmp_path, device="cpu")
    assert setup.validator is not None
    before = setup.validator(setup.model.eval())
    assert before["text PCK@0.2"] < 0.25
    run(setup)
    log = read_log(tmp_path)
    assert log.validations[64]["text PCK@0.2"] > 0.3
    assert log.steps[64]["total"] < 0.6 * log.steps[8]["total"]
