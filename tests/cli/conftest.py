"""A tiny network on disk and small pictures, for the tests of the commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inference.conftest import own_detector
from tests.model.conftest import lively, tiny_config
from tests.model.prompting.conftest import tiny_clip

from xpose import cli
from xpose.model import XPose, presets, to_official
from xpose.model.checkpoints.pretrained import save_pretrained


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weight folder of a tiny network of our own kind, with random weights: it reads words and example pictures."""
    return str(save_pretrained(own_detector().model, tmp_path_factory.mktemp("weights") / "tiny"))


def make_picture(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    """A small picture with coarse random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the program: exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "Internal error" not in err, err
        return code, out, err

    return call


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """A limit on file sizes stands in for a full disk: writing more than so many bytes fails, for real."""
    resource = pytest.importorskip("resource", reason="limits on file sizes exist on Unix only")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


CLIP_PICTURES = {"patch": 32, "patches": 7}  # the pictures of 224 x 224 that the detector makes of examples


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the official layout with everything in it, as the released one, but a smaller CLIP: random numbers."""
    path = tmp_path_factory.mktemp("official") / "unipose_swint.pth"
    torch.manual_seed(0)
    model = presets.xpose_swin_t()
    torch.save({"model": to_official(model) | tiny_clip(out=model.config.prompt_width, **CLIP_PICTURES)}, path)
    return path


@pytest.fixture(scope="session")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight folder of a tiny network that reads prompts through a tiny CLIP."""
    config = tiny_config(prompt_width=24, image_short=96, image_long=160, instances=4)
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    return save_pretrained(lively(XPose(config)), folder, encoders=tiny_clip(**CLIP_PICTURES))
