"""Our names for the tensors of other programs' weight files, by which training may start from them.

Every table is a list of patterns of their names with our name for each; `#1` marks the first part of a tensor that ours
holds in one piece with others (query, key and value maps).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xpose.model.config import XPoseConfig

Table = list[tuple[re.Pattern[str], str]]


@dataclass(frozen=True)
class Layout:
    """A way in which somebody names the tensors of a network."""

    name: str
    sign: re.Pattern[str]  # a tensor that nobody else calls so
    table: Callable[[XPoseConfig], Table]
    backbone: bool  # whether it is a backbone and no more


def _patterns(rows: Mapping[str, str], before: str = "", ours: str = "") -> Table:
    return [(re.compile(f"^{before}{theirs}$"), ours + name) for theirs, name in rows.items()]


# transformers' Swin: as its files are, and as newer versions call the same tensors in memory.
_SWIN = {
    r"embeddings\.patch_embeddings\.projection\.(\w+)": r"patch.\1",
    r"embeddings\.norm\.(\w+)": r"patch_norm.\1",
    r"encoder\.layers\.(\d)\.downsample\.(norm|reduction)\.(\w+)": r"stages.\1.merging.\2.\3",
    r"hidden_states_norms\.stage2\.(\w+)": r"norms.0.\1",
    r"hidden_states_norms\.stage3\.(\w+)": r"norms.1.\1",
    r"hidden_states_norms\.stage4\.(\w+)": r"norms.2.\1",
}
_SWIN_BLOCK = {
    r"layernorm_before\.(\w+)": r"norm1.\3",
    r"layernorm_after\.(\w+)": r"norm2.\3",
    r"attention\.(?:self\.query|q_proj)\.(\w+)": r"attention.qkv.\3#1",
    r"attention\.(?:self\.key|k_proj)\.(\w+)": r"attention.qkv.\3#2",
    r"attention\.(?:self\.value|v_proj)\.(\w+)": r"attention.qkv.\3#3",
    r"attention\.(?:output\.dense|o_proj)\.(\w+)": r"attention.proj.\3",
    r"attention\.(?:self|relative_position_bias)\.(relative_position_bias_table)": r"attention.\3",
    r"(?:intermediate\.dense|mlp\.fc1)\.(\w+)": r"ffn.expand.\3",
    r"(?:output\.dense|mlp\.fc2)\.(\w+)": r"ffn.contract.\3",
}


def _swin(before: str) -> Table:
    blocks = _patterns(
        _SWIN_BLOCK, before + r"encoder\.layers\.(\d)\.blocks\.(\d+)\.", r"backbone.stages.\1.blocks.\2."
    )
    return _patterns(_SWIN, before, "backbone.") + blocks


# The layout of Swin's authors.
_SWIN_PLAIN = {
    r"patch_embed\.proj\.(\w+)": r"patch.\1",
    r"patch_embed\.norm\.(\w+)": r"patch_norm.\1",
    r"layers\.(\d)\.downsample\.(norm|reduction)\.(\w+)": r"stages.\1.merging.\2.\3",
    r"layers\.(\d)\.blocks\.(\d+)\.(norm[12])\.(\w+)": r"stages.\1.blocks.\2.\3.\4",
    r"layers\.(\d)\.blocks\.(\d+)\.attn\.(qkv|proj)\.(\w+)": r"stages.\1.blocks.\2.attention.\3.\4",
    r"layers\.(\d)\.blocks\.(\d+)\.attn\.(relative_position_bias_table)": r"stages.\1.blocks.\2.attention.\3",
    r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"stages.\1.blocks.\2.ffn.expand.\3",
    r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"stages.\1.blocks.\2.ffn.contract.\3",
}

_MOBILENET = {r"(conv_stem\..+|bn1\..+|blocks\..+)": r"\1"}

_NANODET = {r"((?:stem|stages|pyramid)\..+)": r"\1"}  # our own names; see model.backbones.nanodet_onnx

_RESNET = {r"(?:resnet\.)?((?:embedder|encoder)\..+)": r"net.\1"}


def _torchvision_resnet() -> Table:
    """Blocks and convolutions are counted from 1 there, from 0 in transformers."""
    rows = {
        r"conv1\.(\w+)": r"embedder.embedder.convolution.\1",
        r"bn1\.(\w+)": r"embedder.embedder.normalization.\1",
    }
    for stage in range(4):
        theirs, ours = rf"layer{stage + 1}\.(\d+)\.", rf"encoder.stages.{stage}.layers.\1."
        for number in range(3):
            rows[rf"{theirs}conv{number + 1}\.(\w+)"] = rf"{ours}layer.{number}.convolution.\2"
            rows[rf"{theirs}bn{number + 1}\.(\w+)"] = rf"{ours}layer.{number}.normalization.\2"
        rows[rf"{theirs}downsample\.0\.(\w+)"] = rf"{ours}shortcut.convolution.\2"
        rows[rf"{theirs}downsample\.1\.(\w+)"] = rf"{ours}shortcut.normalization.\2"
    return _patterns(rows, ours="backbone.net.")


_GROUNDING = {
    r"model\.input_proj_vision\.(\d)\.([01])\.(\w+)": r"neck.projections.\1.\2.\3",
    r"model\.level_embed": r"neck.level_embedding",
    r"model\.enc_output\.(\w+)": r"selection.output.\1",
    r"model\.enc_output_norm\.(\w+)": r"selection.norm.\1",
    r"model\.encoder_output_bbox_embed\.(layers\..+)": r"selection.box_head.\1",
    r"model\.query_position_embeddings\.weight": r"selection.content.weight",
    r"model\.decoder\.reference_points_head\.(layers\..+)": r"heads.place.\1",
    r"model\.decoder\.layer_norm\.(\w+)": r"heads.norm.\1",
    r"(?:model\.decoder\.)?bbox_embed\.0\.(layers\..+)": r"heads.box.\1",
}
_GROUNDING_ENCODER = {
    r"fusion_layer\.vision_param": r"fusion.gamma_image",
    r"fusion_layer\.text_param": r"fusion.gamma_object",
    r"fusion_layer\.layer_norm_vision\.(\w+)": r"fusion.norm_image.\2",
    r"fusion_layer\.layer_norm_text\.(\w+)": r"fusion.norm_object.\2",
    r"fusion_layer\.attn\.vision_proj\.(\w+)": r"fusion.query_image.\2",
    r"fusion_layer\.attn\.text_proj\.(\w+)": r"fusion.key_object.\2",
    r"fusion_layer\.attn\.values_vision_proj\.(\w+)": r"fusion.value_image.\2",
    r"fusion_layer\.attn\.values_text_proj\.(\w+)": r"fusion.value_object.\2",
    r"fusion_layer\.attn\.out_vision_proj\.(\w+)": r"fusion.out_image.\2",
    r"fusion_layer\.attn\.out_text_proj\.(\w+)": r"fusion.out_object.\2",
    r"text_enhancer_layer\.self_attn\.query\.(\w+)": r"prompt.attention.in_proj_\2#1",
    r"text_enhancer_layer\.self_attn\.key\.(\w+)": r"prompt.attention.in_proj_\2#2",
    r"text_enhancer_layer\.self_attn\.value\.(\w+)": r"prompt.attention.in_proj_\2#3",
    r"text_enhancer_layer\.self_attn\.out_proj\.(\w+)": r"prompt.attention.out_proj.\2",
    r"text_enhancer_layer\.layer_norm_before\.(\w+)": r"prompt.norm1.\2",
    r"text_enhancer_layer\.layer_norm_after\.(\w+)": r"prompt.norm2.\2",
    r"text_enhancer_layer\.fc1\.(\w+)": r"prompt.ffn.expand.\2",
    r"text_enhancer_layer\.fc2\.(\w+)": r"prompt.ffn.contract.\2",
    r"deformable_layer\.self_attn\.(\w+)\.(\w+)": r"image.attention.\2.\3",
    r"deformable_layer\.self_attn_layer_norm\.(\w+)": r"image.norm1.\2",
    r"deformable_layer\.final_layer_norm\.(\w+)": r"image.norm2.\2",
    r"deformable_layer\.fc1\.(\w+)": r"image.ffn.expand.\2",
    r"deformable_layer\.fc2\.(\w+)": r"image.ffn.contract.\2",
}
_GROUNDING_DECODER = {
    r"self_attn\.query\.(\w+)": r"self_attention.in_proj_\1#1",
    r"self_attn\.key\.(\w+)": r"self_attention.in_proj_\1#2",
    r"self_attn\.value\.(\w+)": r"self_attention.in_proj_\1#3",
    r"self_attn\.out_proj\.(\w+)": r"self_attention.out_proj.\1",
    r"self_attn_layer_norm\.(\w+)": r"norm_self.\1",
    r"encoder_attn_text\.query\.(\w+)": r"prompt_attention.in_proj_\1#1",
    r"encoder_attn_text\.key\.(\w+)": r"prompt_attention.in_proj_\1#2",
    r"encoder_attn_text\.value\.(\w+)": r"prompt_attention.in_proj_\1#3",
    r"encoder_attn_text\.out_proj\.(\w+)": r"prompt_attention.out_proj.\1",
    r"encoder_attn_text_layer_norm\.(\w+)": r"norm_prompt.\1",
    r"encoder_attn\.(\w+)\.(\w+)": r"image_attention.\1.\2",
    r"encoder_attn_layer_norm\.(\w+)": r"norm_image.\1",
    r"fc1\.(\w+)": r"ffn.expand.\1",
    r"fc2\.(\w+)": r"ffn.contract.\1",
    r"final_layer_norm\.(\w+)": r"norm_ffn.\1",
}


def _grounding(config: XPoseConfig) -> Table:
    """Its decoder layers in order become ours: the first ones decode objects, the others keypoints."""
    table = _patterns(_GROUNDING) + _swin(r"model\.backbone\.conv_encoder\.model\.(?:swin\.)?")
    if config.encoder == "deformable":
        table += _patterns(_GROUNDING_ENCODER, r"model\.encoder\.layers\.(\d+)\.", r"encoder.layers.\1.")
    for number in range(config.object_layers + config.keypoint_layers):
        later = number - config.object_layers
        ours = f"object_decoder.layers.{number}." if later < 0 else f"keypoint_decoder.layers.{later}."
        table += _patterns(_GROUNDING_DECODER, rf"model\.decoder\.layers\.{number}\.", ours)
    return table


def _official(config: XPoseConfig) -> Table:
    from xpose.model.checkpoints.official import name_table

    return [
        (
            re.compile(f"^{re.escape(theirs)}{'(.+)' if theirs.endswith('.') else ''}$"),
            ours + r"\1" * theirs.endswith("."),
        )
        for ours, names in name_table(config).items()
        for theirs in names[:1]
    ]


def _backbone(rows: Mapping[str, str]) -> Callable[[XPoseConfig], Table]:
    return lambda config: _patterns(rows, ours="backbone.")


def _layout(name: str, sign: str, table: Callable[[XPoseConfig], Table], backbone: bool = True) -> Layout:
    return Layout(name, re.compile(sign), table, backbone)


LAYOUTS = (
    _layout("xpose", r"^keypoint_decoder\.layers\.0\.", lambda config: [(re.compile("^(.+)$"), r"\1")], False),
    _layout("the official layout", r"^transformer\.encoder\.fusion_layers\.", _official, False),
    _layout("GroundingDINO of transformers", r"^model\.encoder\.layers\.0\.fusion_layer\.", _grounding, False),
    _layout("MobileNetV2 of timm", r"^conv_stem\.", _backbone(_MOBILENET)),
    _layout("NanoDet-Plus-m", r"^pyramid\.laterals\.", _backbone(_NANODET)),
    _layout("Swin of transformers", r"^(swin\.)?embeddings\.patch_embeddings\.", lambda _: _swin(r"(?:swin\.)?")),
    _layout("Swin of its authors", r"^patch_embed\.proj\.", _backbone(_SWIN_PLAIN)),
    _layout("ResNet of transformers", r"^(resnet\.)?embedder\.embedder\.", _backbone(_RESNET)),
    _layout("ResNet of torchvision", r"^layer1\.0\.conv1\.", lambda _: _torchvision_resnet()),
)


def layout_of(state: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a state dict."""
    return next((one for one in LAYOUTS if any(one.sign.search(name) for name in state)), None)


def translated(state: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by our names, parts put together; and the names that have none."""
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    strange = []
    for theirs, value in state.items():
        match, ours = next(((m, o) for pattern, o in table if (m := pattern.match(theirs))), (None, ""))
        if match is None:
            strange.append(theirs)
            continue
        name, _, part = match.expand(ours).partition("#")
        if part:
            parts.setdefault(name, {})[part] = value
        else:
            found[name] = value
    for name, pieces in parts.items():
        if set(pieces) == {"1", "2", "3"}:
            found[name] = torch.cat([pieces[number] for number in sorted(pieces)])
    return found, strange
