"""The official checkpoint layout (`unipose_swint.pth`, also distributed as `xpose.pth`) and ours, name by name.

The table is read in both directions. Names that end in a dot are prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xpose.errors import CheckpointError
from xpose.model.backbones.swin import WindowAttention, relative_index
from xpose.model.checkpoints.files import read_tensors
from xpose.model.config import XPoseConfig
from xpose.model.network import XPose
from xpose.model.presets import swin_t_config

# Not part of the network: the prompt encoders, and a table that only training uses.
_ENCODER_PREFIXES = ("clip_model.", "pos_proj.", "padding.")
_UNUSED = re.compile(r"^label_enc\.weight$|\.relative_position_index$|^clip_model\.logit_scale$")
# The size table is stored in two pieces: 17 rows and the rest.
_TABLE_NAME, _TABLE_SPLIT = "keypoint_decoder.size_prior.table", 17
_TABLE_PIECES = ("transformer.decoder.hw.weight", "transformer.decoder.hw_append.weight")


def name_table(config: XPoseConfig) -> dict[str, tuple[str, ...]]:
    """Our prefix → the official prefixes that hold the same tensors (several for shared heads)."""
    table: dict[str, tuple[str, ...]] = {
        "backbone.patch.": ("backbone.0.patch_embed.proj.",),
        "backbone.patch_norm.": ("backbone.0.patch_embed.norm.",),
        "neck.level_embedding": ("transformer.level_embed",),
        "object_projection.": ("projection.",),
        "keypoint_projection.": ("projection_kpt.",),
        "selection.output.": ("transformer.enc_output.",),
        "selection.norm.": ("transformer.enc_output_norm.",),
        "selection.box_head.": ("transformer.enc_out_bbox_embed.",),
        "selection.content.weight": ("transformer.tgt_embed.weight",),
        "heads.place.": ("transformer.decoder.ref_point_head.",),
        "heads.norm.": ("transformer.decoder.norm.",),
        "heads.box.": tuple(f"{p}bbox_embed.{i}." for p in ("transformer.decoder.", "") for i in range(6)),
        "heads.point.": tuple(f"{p}pose_embed.{i}." for p in ("transformer.decoder.", "") for i in range(5)),
        "heads.size.": tuple(f"{p}pose_hw_embed.{i}." for p in ("transformer.decoder.", "") for i in range(4)),
    }
    for i in range(config.levels):
        table[f"neck.projections.{i}."] = (f"input_proj.{i}.",)
    table |= _swin_names(config.swin.depths)
    for i in range(config.encoder_layers):
        table |= _encoder_names(f"encoder.layers.{i}.", i)
    for i in range(config.object_layers):
        table |= _decoder_names(f"object_decoder.layers.{i}.", i)
    for i in range(config.keypoint_layers):
        table |= _decoder_names(f"keypoint_decoder.layers.{i}.", i + config.object_layers)
    return table


def _swin_names(depths: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for i, depth in enumerate(depths):
        if i:
            table[f"backbone.norms.{i - 1}."] = (f"backbone.0.norm{i}.",)
        if i < len(depths) - 1:
            table[f"backbone.stages.{i}.merging."] = (f"backbone.0.layers.{i}.downsample.",)
        for j in range(depth):
            ours, theirs = f"backbone.stages.{i}.blocks.{j}.", f"backbone.0.layers.{i}.blocks.{j}."
            pairs = {"norm1.": "norm1.", "norm2.": "norm2.", "attention.": "attn."}
            pairs |= {"ffn.expand.": "mlp.fc1.", "ffn.contract.": "mlp.fc2."}
            table |= {ours + a: (theirs + b,) for a, b in pairs.items()}
    return table


def _encoder_names(ours: str, i: int) -> dict[str, tuple[str, ...]]:
    fusion, text, image = (f"transformer.encoder.{kind}.{i}." for kind in ("fusion_layers", "text_layers", "layers"))
    pairs = {
        "fusion.gamma_image": fusion + "gamma_v",
        "fusion.gamma_object": fusion + "gamma_l",
        "fusion.norm_image.": fusion + "layer_norm_v.",
        "fusion.norm_object.": fusion + "layer_norm_l.",
        "fusion.query_image.": fusion + "attn.v_proj.",
        "fusion.key_object.": fusion + "attn.l_proj.",
        "fusion.value_image.": fusion + "attn.values_v_proj.",
        "fusion.value_object.": fusion + "attn.values_l_proj.",
        "fusion.out_image.": fusion + "attn.out_v_proj.",
        "fusion.out_object.": fusion + "attn.out_l_proj.",
    }
    for part, prefix in (("prompt.", text), ("image.", image)):
        pairs |= {
            f"{part}attention.": prefix + "self_attn.",
            f"{part}norm1.": prefix + "norm1.",
            f"{part}norm2.": prefix + "norm2.",
            f"{part}ffn.expand.": prefix + "linear1.",
            f"{part}ffn.contract.": prefix + "linear2.",
        }
    return {ours + a: (b,) for a, b in pairs.items()}


def _decoder_names(ours: str, i: int) -> dict[str, tuple[str, ...]]:
    theirs = f"transformer.decoder.layers.{i}."
    pairs = {
        "self_attention.": "self_attn.",
        "norm_self.": "norm2.",
        "prompt_attention.": "ca_text.",
        "norm_prompt.": "catext_norm.",
        "image_attention.": "cross_attn.",
        "norm_image.": "norm1.",
        "ffn.expand.": "linear1.",
        "ffn.contract.": "linear2.",
        "norm_ffn.": "norm3.",
    }
    return {ours + a: (theirs + b,) for a, b in pairs.items()}


def official_names(ours: str, table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The official names of one of our tensors."""
    if ours == _TABLE_NAME:
        return _TABLE_PIECES
    for cut in range(len(ours), 0, -1):
        if ours[:cut] in table:
            return tuple(prefix + ours[cut:] for prefix in table[ours[:cut]])
    raise AssertionError(f"no official name for {ours}")


def sort_official(state: Mapping[str, Tensor], model: XPose) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """An official state dict as the network's tensors, by our names, and those of the prompt encoders, by theirs."""
    state = unwrap(state)
    table = name_table(model.config)
    network: dict[str, Tensor] = {}
    faults: list[str] = []
    used: set[str] = set()
    for ours, parameter in model.state_dict().items():
        names = official_names(ours, table)
        used |= set(names)
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
    """The bare state dict: out of `{"model": ...}` and without `module.` prefixes."""
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
    table = name_table(model.config)
    state: dict[str, Tensor] = {}
    for ours, value in model.state_dict().items():
        names = official_names(ours, table)
        if ours == _TABLE_NAME:
            state |= dict(zip(names, (value[:_TABLE_SPLIT], value[_TABLE_SPLIT:]), strict=True))
        else:
            state |= dict.fromkeys(names, value)
    return state


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
    """The network as of `load_official`, and the tensors of the prompt encoders by their official names."""
    with torch.device("meta"):
        model = XPose(swin_t_config())
    network, encoders = sort_official(source if isinstance(source, Mapping) else read_tensors(Path(source)), model)
    return fill(model, network), encoders


def fill(model: XPose, tensors: Mapping[str, Tensor]) -> XPose:
    """A network that was built on the meta device with these weights, in eval mode and in float32."""
    model = model.to_empty(device="cpu")
    model.load_state_dict(tensors, strict=True)
    for module in model.modules():
        if isinstance(module, WindowAttention):  # its index is not among the weights
            module.relative_position_index = relative_index(module.window)
    return model.eval()
