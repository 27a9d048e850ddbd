"""What a network sees of an example in training is what it sees of the same example in use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.small_runs import draw

from xpose.data.loading.examples import ExampleFinder, ExampleSettings
from xpose.data.loading.pictures import Pictures
from xpose.data.loading.pool import open_pool
from xpose.data.loading.transforms import Colours
from xpose.inference.preprocess import MEAN, STD
from xpose.model.prompting.picture import example_picture
from xpose.training.recipes.assembly import build_loader, placed
from xpose.training.recipes.left_out import LeftOut
from xpose.training.recipes.recipe import load_recipe
from xpose.training.run.prompt_batches import normalised


@pytest.mark.parametrize("side", [128, 224])
def test_cut_outs_are_the_same(tmp_path: Path, side: int) -> None:
    pool = open_pool([draw(tmp_path / "set")])
    pictures = Pictures(pool)
    plain = ExampleSettings(side=side, flip=0, rotation=0, colours=Colours(share=0, grey=0, blur=0))
    finder = ExampleFinder(pictures, plain)
    picture_of = pool.picture_of()
    for instance in range(len(picture_of)):
        number = int(picture_of[instance])
        shown = finder.cut(np.random.default_rng(0), instance)
        labels = pool.labels(number).take(np.array([instance - int(pool.first[number])]))
        points = labels.points[0, : len(shown.kind)]
        used = example_picture(pictures.read(number, 1.0)[0], pool.boxes[instance].tolist(), MEAN, STD, size=side)
        placed, seen = used.place(points[:, :2], points[:, 2] > 0)
        assert np.array_equal(seen, shown.points[:, 2] > 0)
        np.testing.assert_allclose(placed[seen], (shown.points[:, :2] / side)[seen], atol=1e-4, rtol=0)
        pixels = normalised(torch.from_numpy(shown.pixels.transpose(2, 0, 1).copy())[None])[0]
        assert np.abs(used.pixels - pixels.numpy()).mean() < 0.02


@pytest.mark.parametrize(("asked", "expected"), [("none", 96), ("64", 64)])
def test_training_cuts_out_as_large_as_the_network_sees_in_use(tmp_path: Path, asked: str, expected: int) -> None:
    changes = ["network.overrides.example_side=96", f"prompting.examples.side={asked}", "prompting.visual=1"]
    recipe = load_recipe("tiny-overfit", [*changes, "prompting.combined=0", "data.drawn.size=[64, 64]"])
    loader = build_loader(recipe, placed(recipe.data, tmp_path), LeftOut(), tmp_path)
    assert loader.batch(0).crops.shape[1:] == (3, expected, expected)
