"""The closed-set classifier that stands in for object alignment."""

from __future__ import annotations

import pytest
import torch
from tests.model.conftest import lively
from tests.training.conftest import Batch

from xpose.errors import TrainingError
from xpose.model import PromptEmbeddings, XPose
from xpose.training.objective.closed_set import ClosedSetClassifier, close
from xpose.training.objective.losses import Criterion, LossWeights


def test_it_is_a_linear_map_that_starts_with_background() -> None:
    classifier = ClosedSetClassifier(8, 3).double()
    features = torch.randn(2, 5, 8, dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    logits = classifier(features, torch.zeros(2, 3, 8), mask)
    expected = features @ classifier.output.weight.T + classifier.output.bias
    torch.testing.assert_close(logits[1], expected[1])
    assert logits[0, :, 2].isneginf().all()
    assert classifier.output.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)


def test_a_prompt_that_is_not_the_training_classes_is_refused(network: XPose, batch: Batch) -> None:
    close(network, 3)
    with pytest.raises(TrainingError, match="prompt has 2 classes, this closed-set network was trained on 3"):
        network(batch.images, batch.prompts)


def test_a_closed_network_learns_by_number_and_ignores_what_the_prompt_says(network: XPose, batch: Batch) -> None:
    lively(close(network, 2), seed=3).double()
    predictions = network(batch.images, batch.prompts, with_reports=True)
    losses = Criterion(LossWeights(object_alignment=0, closed_set=1))(predictions, batch.targets)
    losses["total"].backward()
    for part in (network.selection, network.heads):
        assert part.similarity.output.weight.grad.abs().sum() > 0
    assert "closed_set" in losses
    assert "object_alignment" not in losses
    # The columns belong to numbers: prompts in another order do not reorder the scores, as similarity would.
    swapped = PromptEmbeddings.from_lists(
        list(batch.prompts.objects.flip(1)), [list(k) for k in batch.prompts.keypoints]
    )
    with torch.no_grad():
        features = torch.randn(2, 4, network.config.dim, dtype=torch.float64)
        a, b = (network.heads.similarity(features, network.project(p).objects, None) for p in (batch.prompts, swapped))
    assert torch.equal(a, b)
