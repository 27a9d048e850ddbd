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
from tests.parity.seeded_weights import seeded_state_dict

from xpose import cli
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


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the official layout with everything in it, CLIP too, as the released one: seeded numbers, 0.9 GB."""
    folder = tmp_path_factory.mktemp("official")
    path = folder / "unipose_swint.pth"
    state = {name: torch.from_numpy(np.asarray(value)) for name, value in seeded_state_dict().items()}
    torch.save({"model": state}, path)
    return path


@pytest.fixture(scope="session")
def small_official(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network converted, with smaller pictures and fewer instances, so that it is quick."""
    folder = tmp_path_factory.mktemp("converted") / "swin-t"
    assert cli.main(["convert", str(official), str(folder)]) == 0
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**settings, "image_short": 96, "image_long": 160, "instances": 4}))
    return folder
