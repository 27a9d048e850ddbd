"""Prompts are encoded on arrays as training encodes them on tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.inference.conftest import own_detector

from xpose.inference.encoding import average_shots
from xpose.model.prompting import clip


@pytest.mark.parametrize("shots", range(1, 6))
def test_shots_are_averaged_as_in_training(shots: int) -> None:
    random = np.random.default_rng(shots)
    keypoints = random.standard_normal((shots, 7, 400), np.float32)
    objects, visible = keypoints[:, 0].copy(), random.random((shots, 7)) > 0.5
    visible[:, 0] = False  # a keypoint that no example shows
    expected = clip.average_shots(*map(torch.from_numpy, (objects, keypoints, visible)))
    for found, wanted in zip(average_shots(objects, keypoints, visible), expected, strict=True):
        tolerance = 0 if shots < 5 else 1e-6  # PyTorch adds five numbers in another order
        np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=tolerance)


def test_the_torch_engine_projects_and_encodes_examples_as_its_network() -> None:
    detector = own_detector()
    engine, model, random = detector.engine, detector.model, np.random.default_rng(0)
    embeddings = random.standard_normal((3, 400), np.float32)
    tokens = engine.project(embeddings[:1], embeddings[1:])
    pictures, points = random.random((2, 3, 64, 64), np.float32), random.random((2, 4, 2), np.float32)
    visible = random.random((2, 4)) > 0.3
    encoded = engine.encode_examples(pictures, points, visible)
    with torch.inference_mode():
        objects, keypoints = map(torch.from_numpy, (embeddings[:1], embeddings[1:]))
        assert model.visual_prompts is not None
        maps = model.backbone(torch.from_numpy(pictures))
        wanted = (
            *model.project_tokens(objects, keypoints),
            *model.visual_prompts(maps, torch.from_numpy(points), torch.from_numpy(visible)),
        )
    for found, tensor in zip((*tokens, *encoded), wanted, strict=True):
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, tensor.numpy())
