"""Networks and fixtures that the tests of the network share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.parity.seeded_weights import seeded_state_dict
from torch import Tensor

from xpose.model import PromptEmbeddings, SwinSettings, XPose, XPoseConfig, load_official

PARITY = Path(__file__).parents[1] / "parity"


@pytest.fixture(scope="session")
def official_state() -> dict[str, Tensor]:
    """The seeded state dict in the official layout, as the fixtures were computed with."""
    return {name: torch.from_numpy(np.asarray(value)) for name, value in seeded_state_dict().items()}


@pytest.fixture(scope="session")
def seeded_model(official_state: dict[str, Tensor]) -> XPose:
    return load_official(official_state)


@dataclass(frozen=True)
class Case:
    """One parity fixture as a call of the network."""

    images: Tensor
    padding_mask: Tensor
    prompts: PromptEmbeddings
    expected: dict[str, Tensor]

    def stack(self, name: str) -> Tensor:
        return torch.stack([self.expected[f"{name}_{b}"] for b in range(len(self.images))])


def load_case(name: str, dtype: torch.dtype) -> Case:
    raw = np.load(PARITY / f"{name}.npz")
    data = {k: torch.from_numpy(raw[k]) for k in raw.files if raw[k].dtype.kind in "fi"}
    data = {k: v.to(dtype) if v.is_floating_point() else v.long() for k, v in data.items()}
    images = [data[f"image_{b}"] for b in range(2) if f"image_{b}" in data]
    height, width = (max(i.shape[axis] for i in images) for axis in (1, 2))
    batch = torch.zeros(len(images), 3, height, width, dtype=dtype)
    mask = torch.ones(len(images), height, width, dtype=torch.bool)
    for b, image in enumerate(images):
        batch[b, :, : image.shape[1], : image.shape[2]] = image
        mask[b, : image.shape[1], : image.shape[2]] = False
    prompts = PromptEmbeddings.from_lists(
        [data[f"object_embeddings_{b}"] for b in range(len(images))],
        [data[f"keypoint_embeddings_{b}"] for b in range(len(images))],
    )
    return Case(batch, mask, prompts, data)


def tiny_config(**changes: object) -> XPoseConfig:
    """A network of the compatible kind, small enough for property tests."""
    values: dict = {
        "name": "tiny",
        "swin": SwinSettings(dim=8, depths=(1, 2, 2, 1), heads=(1, 2, 2, 4), window=3),
        "prompt_width": 12,
        "dim": 32,
        "heads": 4,
        "ffn": 48,
        "encoder_layers": 2,
        "fusion_width": 48,
        "prompt_ffn": 40,
        "queries": 40,
        "instances": 6,
    }
    return XPoseConfig(**(values | changes))


def tiny_nano_config(**changes: object) -> XPoseConfig:
    """A network of our own kind, small enough for property tests."""
    values: dict = {
        "encoder": "hybrid",
        "levels": 3,
        "backbone": "mobilenetv2",
        "query_content": "token",
        "size_prior": "token",
        "scaled_logits": True,
        "visibility_head": True,
        "point_steps": "box",
        "score": "objects",
    }
    return tiny_config(**(values | changes))


def tiny_dense_config(**changes: object) -> XPoseConfig:
    """As the default weights: all tokens learn to find objects, and keypoints start from a map."""
    values: dict = {
        "selection": "peaks",
        "sinks": True,
        "pose_map": 4,
        "pose_map_width": 16,
        "point_error": True,
        "coarse_heads": 2,
    }
    return tiny_nano_config(**(values | changes))


CONFIGS = {"compatible": tiny_config, "own": tiny_nano_config, "dense": tiny_dense_config}


def lively(model: XPose, seed: int = 0) -> XPose:
    """Random weights everywhere, also where training starts from zero, so that every path shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_(noise * value[0].numel() ** -0.5)
            elif ("norm" in name or ".bn" in name) and name.endswith("weight"):
                value.copy_(1 + 0.1 * noise)
            else:
                value.copy_(0.1 * noise)
    return model.eval()


@pytest.fixture(params=list(CONFIGS), scope="session")
def tiny(request: pytest.FixtureRequest) -> XPose:
    return lively(XPose(CONFIGS[request.param]())).double()


def random_prompts(classes: int, points: int, seed: int = 0, width: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = {"generator": generator, "dtype": torch.float64}
    return torch.randn(classes, width, **shape), torch.randn(points, width, **shape)


def random_images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator, dtype=torch.float64)
