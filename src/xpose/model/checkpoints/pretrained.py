"""Our own weight format: a folder with `config.json`, `model.safetensors` and a card, as on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from xpose.errors import CheckpointError, quote
from xpose.model.checkpoints.calibration import Calibration, read_calibration, write_calibration
from xpose.model.checkpoints.categories import LearnedCategory, read_categories, write_categories
from xpose.model.checkpoints.files import read_tensors
from xpose.model.checkpoints.folders import CARD_FILE, CONFIG_FILE, ENCODER_PREFIX, WEIGHT_FILE, located, read_config
from xpose.model.checkpoints.official import fill, read_official, unfilled
from xpose.model.config import XPoseConfig
from xpose.model.network import XPose
from xpose.pictures.atomic import write_atomically, write_text


def save_pretrained(
    model: XPose,
    folder: str | Path,
    *,
    encoders: dict[str, Tensor] | None = None,
    calibration: Calibration = Calibration(),  # noqa: B008 - frozen
    categories: Sequence[LearnedCategory] = (),
    card: str | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a weight folder, with the tensors of its prompt encoders; every file is written atomically.

    `card` is the text of the model card (short if None); `dtype` is the floating type on disk.

    Raises:
        XPoseError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    tensors = model.state_dict() | {ENCODER_PREFIX + name: tensor for name, tensor in (encoders or {}).items()}
    stored = {name: _stored(tensor, dtype) for name, tensor in tensors.items()}
    metadata = {"format": "pt", "xpose": model.config.name}
    write_atomically(folder / WEIGHT_FILE, lambda p: save_file(stored, p, metadata=metadata))
    write_text(folder / CONFIG_FILE, model.config.to_json())
    write_calibration(folder, calibration)
    write_categories(folder, categories)
    write_text(folder / CARD_FILE, card or _short_card(model.config))
    return folder


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu()
    if dtype is not None and tensor.is_floating_point():
        tensor = tensor.to(dtype)
    return tensor.clone(memory_format=torch.contiguous_format)  # safetensors refuses shared memory


def _short_card(config: XPoseConfig) -> str:
    return (
        f"---\nlibrary_name: xpose\ntags: [keypoint-detection, pose-estimation]\n---\n# {config.name}\n\n"
        'Weights for [xpose](https://github.com/xpose-dev/xpose). Load them with `xpose.load("<this folder>")`.\n\n'
        "The licence of these weights is that of their source; it was not stated when this card was written.\n"
    )


class Pretrained(NamedTuple):
    """The content of weights on disk."""

    model: XPose  # in eval mode and float32
    encoders: dict[str, Tensor]  # of its prompt encoders, by official names; can be empty
    calibration: Calibration
    categories: tuple[LearnedCategory, ...] = ()  # empty if they are unknown


def from_pretrained(name_or_path: str | Path, *, revision: str | None = None) -> Pretrained:
    """Read weights.

    Args:
        name_or_path: a bundled name, a folder of our format, its `model.safetensors`, the folder of a training run, a
            file in the official layout, or a hub id ("owner/name"), which is fetched once and cached.
        revision: branch, tag or commit of a hub id.

    Raises:
        CheckpointError: the weights do not exist or do not fit.
    """
    path = located(name_or_path, revision)
    if not path.is_dir():
        return Pretrained(*read_official(path), Calibration())
    config = read_config(path)
    tensors = read_tensors(path / WEIGHT_FILE)
    prefixed = [name for name in tensors if name.startswith(ENCODER_PREFIX)]
    encoders = {name.removeprefix(ENCODER_PREFIX): tensors.pop(name) for name in prefixed}
    encoders = {name: value.float() if value.is_floating_point() else value for name, value in encoders.items()}
    model = build(config, tensors, path / WEIGHT_FILE)
    return Pretrained(model, encoders, read_calibration(path), read_categories(path))


def build(config: XPoseConfig, tensors: dict[str, Tensor], source: Path) -> XPose:
    """A network with these weights, in eval mode and float32."""
    model = unfilled(config)
    expected = model.state_dict()
    faults = [f"missing {name}" for name in expected if name not in tensors]
    faults += [f"unexpected {name}" for name in tensors if name not in expected]
    faults += [
        f"{name} has shape {tuple(tensors[name].shape)}, the settings need {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if faults:
        raise CheckpointError(
            f"{quote(source)} does not fit its {CONFIG_FILE} ({config.name}): {len(faults)} fault(s).\n  "
            + "\n  ".join(faults[:40])
            + "\nBoth files must come from the same save."
        )
    return fill(model, tensors)
