"""Safe reading of weight files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from xpose.errors import CheckpointError, first_line, quote

_MOST_BYTES_OF_A_POINTER = 1024


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a PyTorch pickle, which is opened without running any of its code.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than tensors.
    """
    from safetensors.torch import load_file

    path = existing(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own message advises running the file's code
        raise CheckpointError(
            f"{quote(path)} was not opened: it is not a plain weight file, or it would run code. Weight files may hold "
            "only tensors, since anything else in a pickle can run code on this machine. Get the file from its "
            "original source, or as .safetensors."
        ) from None
    except Exception as error:  # both libraries raise many kinds; all mean the same to the user
        raise CheckpointError(
            f"{quote(path)} cannot be read as a weight file ({first_line(error)}). It is damaged, cut short or of "
            "another kind; a .pth or .safetensors file is needed. Download it again and compare its size."
        ) from None
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{quote(path)} holds a {type(content).__name__}. It must hold a state dict, names to tensors."
        )
    return dict(content)


def existing(path: Path) -> Path:
    """Check the path of a weight file."""
    if path.is_dir():
        raise CheckpointError(f"{quote(path)} is a folder. Give the weight file in it, or load the folder by its path.")
    if not path.exists():
        raise CheckpointError(
            f"There is no file {quote(path)}. Check the path; known weights are listed by: xpose models"
        )
    if path.stat().st_size < _MOST_BYTES_OF_A_POINTER and path.read_bytes().startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{quote(path)} is a Git LFS pointer, not the weights. Fetch the file with: git lfs pull")
    return path
