"""Conversion from and to the official layout (`unipose_swint.pth`, also distributed as `xpose.pth`).

The table of names, `official_names.toml`, is used in both directions.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xpose.errors import CheckpointError
from xpose.model.checkpoints.files import read_tensors
from xpose.model.config import XPoseConfig
from xpose.model.network import XPose

# Not part of the network: the prompt encoders, and a table that only training uses.
_ENCODER_PREFIXES = ("clip_model.", "pos_proj.", "padding.")
_UNUSED = re.compile(r"^label_enc\.weight$|\.relative_position_index$|^clip_model\.logit_scale$")
# The size table is stored in two pieces: 17 rows and the rest.
_TABLE_NAME, _TABLE_SPLIT = "keypoint_decoder.size_prior.table", 17
_TABLE_PIECES = ("transformer.decoder.hw.weight", "transformer.decoder.hw_append.weight")


def official_names(model: XPose) -> dict[str, tuple[str, ...]]:
    """The official names of each of our tensors; heads that layers share have several."""
    names = tomllib.loads(Path(__file__).with_name("official_names.toml").read_text("utf-8"))
    prefixes: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in names["network"].items()}
    prefixes[_TABLE_NAME] = _TABLE_PIECES
    for ours, (theirs, copies) in names["shared"].items():
        prefixes[ours] = tuple(f"{p}{theirs}.{i}." for p in ("transformer.decoder.", "") for i in range(copies))
    config = model.config
    depths, objects = config.swin.depths, config.object_layers
    layers: dict[str, list[tuple[object, object]]] = {  # our number of a layer and the official one
        "level": [(i, i) for i in range(config.levels)],
        "swin_norm": [(i - 1, i) for i in range(1, len(depths))],
        "swin_merging": [(i, i) for i in range(len(depths) - 1)],
        "swin_block": [(f"{i}.blocks.{j}", f"{i}.blocks.{j}") for i, depth in enumerate(depths) for j in range(depth)],
        "encoder": [(i, i) for i in range(config.encoder_layers)],
        "decoder": [
            *((f"object_decoder.layers.{i}", i) for i in range(objects)),
            *((f"keypoint_decoder.layers.{i}", i + objects) for i in range(config.keypoint_layers)),
        ],
    }
    for part, numbers in layers.items():
        for ours, theirs in names[part].items():
            prefixes |= {ours.replace("N", str(n)): (theirs.replace("N", str(m)),) for n, m in numbers}
    table = {}
    for name in model.state_dict():
        prefix = next(p for p in prefixes if name.startswith(p))
        table[name] = tuple(theirs + name[len(prefix) :] for theirs in prefixes[prefix])
    return table


def sort_official(state: Mapping[str, Tensor], model: XPose) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split an official state dict into the network's tensors (our names) and the prompt encoders' (official names)."""
    state = unwrap(state)
    table = official_names(model)
    used = set(chain.from_iterable(table.values()))
    network: dict[str, Tensor] = {}
    faults: list[str] = []
    for ours, parameter in model.state_dict().items():
        names = table[ours]
        if absent := [name for name in names if name not in state]:
            faults += [f"missing {name}" for name in absent]
            continue
        copies = [state[name] for name in names]
        value = torch.cat(copies) if ours == _TABLE_NAME else copies[0]
        if ours != _TABLE_NAME and any(not torch.equal(other, value) for other in copies[1:]):
            faults.append(f"{names[0]} and its copies differ, though the heads are shared between layers")
        if value.shape != parameter.shape:
            faults.append(f"{names[0]} has shape {tuple(value.shape)}, this network has {tuple(parameter.shape)}")
        network[ours] = value
    encoders = {k: v for k, v in state.items() if k.startswith(_ENCODER_PREFIXES) and not _UNUSED.search(k)}
    unknown = [f"unexpected {k}" for k in state if k not in used and k not in encoders and not _UNUSED.search(k)]
    faults = unknown[:15] + faults + unknown[15:]
    if faults:
        raise CheckpointError(
            f"The state dict does not fit {model.config.name}: {len(faults)} fault(s).\n  "
            + "\n  ".join(faults[:40])
            + ("\n  ..." if len(faults) > 40 else "")
            + "\nThe file must be in the layout of the released unipose_swint.pth (Swin-T)."
        )
    return network, encoders


def unwrap(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The bare state dict, without a `{"model": ...}` wrapper or `module.` prefixes."""
    inner = next((state[key] for key in ("model", "state_dict") if isinstance(state.get(key), Mapping)), state)
    assert isinstance(inner, Mapping)
    tensors = {
        str(name).removeprefix("module."): torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in inner.items()
    }
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(
            "The file holds no state dict of tensors. It must be a weight file in the layout of unipose_swint.pth, "
            'bare or as {"model": ...}.'
        )
    return tensors


def to_official(model: XPose) -> dict[str, Tensor]:
    """The network's state dict under the official names (without the prompt encoders)."""
    if model.config.size_prior != "table" or model.config.encoder != "deformable" or model.config.backbone != "swin":
        raise CheckpointError(
            f'A "{model.config.name}" network has no form in the official layout. Only xpose-swin-t has one.'
        )
    tensors = model.state_dict()
    state: dict[str, Tensor] = {}
    for ours, names in official_names(model).items():
        state |= dict.fromkeys(names, tensors[ours])
    return state | dict(zip(_TABLE_PIECES, tensors[_TABLE_NAME].tensor_split([_TABLE_SPLIT]), strict=True))


def load_official(path_or_state_dict: str | Path | Mapping[str, Tensor]) -> XPose:
    """The network of a checkpoint in the official layout, in eval mode.

    Args:
        path_or_state_dict: a `.pth` or `.safetensors` file, or a state dict; bare or wrapped in `{"model": ...}`, with
            or without `module.` prefixes and CLIP's weights.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or does not fit.
    """
    return read_official(path_or_state_dict)[0]


def read_official(source: str | Path | Mapping[str, Tensor]) -> tuple[XPose, dict[str, Tensor]]:
    """The network as in `load_official`, and the tensors of the prompt encoders by their official names."""
    model = unfilled(XPoseConfig())
    network, encoders = sort_official(source if isinstance(source, Mapping) else read_tensors(Path(source)), model)
    return fill(model, network), encoders


def unfilled(config: XPoseConfig) -> XPose:
    """A network whose weights will be replaced. On the meta device it would import PyTorch's compiler, for a second."""
    with torch.random.fork_rng(devices=[]):
        return XPose(config)


def fill(model: XPose, tensors: Mapping[str, Tensor]) -> XPose:
    """A network filled with these weights, in eval mode and float32."""
    model.load_state_dict(tensors, strict=True)
    return model.eval()
