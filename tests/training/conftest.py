"""Small batches that the tests of training share: two pictures, two kinds of objects with keypoints of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from tests.model.conftest import CONFIGS, lively, random_images, random_prompts, tiny_nano_config
from tests.training.small_targets import CHAIR, HORSE, chair, horse, target_batch, targets_of
from torch import Tensor

from xpose.model import PromptEmbeddings, XPose, XPoseConfig
from xpose.training.objective.targets import TargetBatch


@dataclass(frozen=True)
class Batch:
    images: Tensor
    prompts: PromptEmbeddings
    targets: TargetBatch


def small_batch(dtype: torch.dtype = torch.float64) -> Batch:
    """A horse and a chair; a horse beside one without labelled points."""
    objects, horse_points = random_prompts(2, len(HORSE))
    _, chair_points = random_prompts(2, len(CHAIR), seed=1)
    sets = [horse_points, chair_points]
    prompts = PromptEmbeddings.from_lists([objects, objects], [sets, sets]).to(dtype)
    targets = [targets_of(horse(10, 12), chair(60, 30)), targets_of(horse(50, 30), horse(5, 5, labelled=False))]
    return Batch(random_images(2, 64, 96).to(dtype), prompts, target_batch(targets, dtype=dtype))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are quicker on one core, far quicker where others are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def batch() -> Batch:
    return small_batch()


@pytest.fixture(params=list(CONFIGS))
def network(request: pytest.FixtureRequest) -> XPose:
    """A tiny network with random weights everywhere, as many groups as queries, so that every object finds one."""
    return lively(XPose(CONFIGS[request.param](instances=40))).double()


def own_config() -> XPoseConfig:
    return dataclasses.replace(tiny_nano_config(), instances=40)
