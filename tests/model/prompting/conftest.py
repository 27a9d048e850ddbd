"""State dicts in the official layout: a tiny CLIP for most tests, the seeded full-size one for parity."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

PARITY = Path(__file__).parents[2] / "parity"


def _block(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.attn.in_proj_weight": (3 * width, width),
        f"{name}.attn.in_proj_bias": (3 * width,),
        f"{name}.attn.out_proj.weight": (width, width),
        f"{name}.attn.out_proj.bias": (width,),
        f"{name}.ln_1.weight": (width,),
        f"{name}.ln_1.bias": (width,),
        f"{name}.mlp.c_fc.weight": (2 * width, width),
        f"{name}.mlp.c_fc.bias": (2 * width,),
        f"{name}.mlp.c_proj.weight": (width, 2 * width),
        f"{name}.mlp.c_proj.bias": (width,),
        f"{name}.ln_2.weight": (width,),
        f"{name}.ln_2.bias": (width,),
    }


def tiny_shapes() -> dict[str, tuple[int, ...]]:
    """Two heads and two blocks per tower, pictures of 32 x 32 in patches of 8."""
    text, image, out = 128, 128, 24
    shapes: dict[str, tuple[int, ...]] = {
        "clip_model.positional_embedding": (77, text),
        "clip_model.text_projection": (text, out),
        "clip_model.logit_scale": (),
        "clip_model.token_embedding.weight": (49408, text),
        "clip_model.ln_final.weight": (text,),
        "clip_model.ln_final.bias": (text,),
        "clip_model.visual.class_embedding": (image,),
        "clip_model.visual.positional_embedding": (17, image),
        "clip_model.visual.proj": (image, out),
        "clip_model.visual.conv1.weight": (image, 3, 8, 8),
        "clip_model.visual.ln_pre.weight": (image,),
        "clip_model.visual.ln_pre.bias": (image,),
        "clip_model.visual.ln_post.weight": (image,),
        "clip_model.visual.ln_post.bias": (image,),
        "pos_proj.weight": (image, 256),
        "pos_proj.bias": (image,),
        "padding.weight": (1, image),
    }
    for number in range(2):
        shapes |= _block(f"clip_model.transformer.resblocks.{number}", text)
        shapes |= _block(f"clip_model.visual.transformer.resblocks.{number}", image)
    return shapes


@pytest.fixture(scope="session")
def seeded_weights():
    """The module that gives the parity fixtures' weights."""
    spec = importlib.util.spec_from_file_location("parity_seeded_weights", PARITY / "seeded_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny(seeded_weights) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.array(seeded_weights.seeded_tensor(name, shape)))
        for name, shape in tiny_shapes().items()
    }


@pytest.fixture(scope="session")
def prompt_names() -> set[str]:
    """Every name of the official checkpoint that belongs to the prompt encoders."""
    lines = (PARITY / "checkpoint_keys.txt").read_text().splitlines()
    names = {line.split("\t")[0] for line in lines}
    return {name for name in names if name.startswith(("clip_model.", "pos_proj.", "padding."))}


@pytest.fixture(scope="session")
def clip_case() -> dict[str, np.ndarray]:
    with np.load(PARITY / "clip.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def full(seeded_weights) -> dict[str, Tensor]:
    """The seeded CLIP ViT-B/32 of the parity fixtures, 151 M numbers."""
    state = {}
    for line in (PARITY / "checkpoint_keys.txt").read_text().splitlines():
        name, shape, _ = line.split("\t")
        size = tuple(int(number) for number in shape.strip("()").split(",") if number.strip())
        if size and name.startswith(("clip_model.", "pos_proj.", "padding.")):
            state[name] = torch.from_numpy(seeded_weights.seeded_tensor(name, size))
    return state
