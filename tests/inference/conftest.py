"""Small detectors that the tests of inference share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.model.conftest import lively, tiny_nano_config

from xpose.inference import Detector
from xpose.inference.engines.torch_loading import encoder_for
from xpose.model import XPose
from xpose.model.checkpoints.calibration import Calibration
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.prompts import TextPrompt


def own_detector(seed: int = 0, **changes: object) -> Detector:
    """A tiny network of our own kind with the real nano text encoder; changes of its calibration or its settings."""
    calibration = {f.name: changes.pop(f.name) for f in fields(Calibration) if f.name in changes}
    values: dict = {"prompt_encoder": "nano", "prompt_width": 400, "image_short": 96, "image_long": 160}
    model = lively(XPose(tiny_nano_config(**(values | changes))), seed).requires_grad_(False)
    prompts = encoder_for(model, {}, None)
    return Detector(prompts.engine, prompts, "tiny", Calibration(**calibration))


def saved(detector: Detector, folder: Path) -> Path:
    """The weights of a detector on disk."""
    return save_pretrained(detector.model, folder, calibration=detector.calibration)


def telling(**changes: object) -> Detector:
    """A network that tells words apart as a sentence encoder does; an untrained one takes all for one thing."""
    detector = own_detector(**changes)
    torch.manual_seed(0)
    model = detector.model
    model.object_projection = torch.nn.Linear(400, model.config.dim, bias=False).requires_grad_(False)
    return detector


def animals(words: str) -> list[TextPrompt]:
    """A prompt for each of these words, all with the same keypoints."""
    return [TextPrompt(word.strip(), skeleton="animal") for word in words.split(",")]


@pytest.fixture(scope="session")
def detector() -> Detector:
    return own_detector()


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


class CountingText:
    """A stand-in text encoder whose answers depend on the text alone."""

    dim = 400

    def __init__(self) -> None:
        self.runs = 0
        self.seen: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.runs += 1
        self.seen += texts
        rows = [np.random.default_rng(list(text.encode())).standard_normal(self.dim) for text in texts]
        return np.array(rows, np.float32).reshape(-1, self.dim)


class Sentences(CountingText):
    """A stand-in for MiniLM, which takes seconds to load."""

    dim = 384

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = super().encode(texts)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def counting() -> tuple[Detector, CountingText]:
    detector = own_detector()
    text = CountingText()
    make: Callable[[], CountingText] = lambda: text  # noqa: E731
    detector.prompts._make_text = make
    return detector, text
