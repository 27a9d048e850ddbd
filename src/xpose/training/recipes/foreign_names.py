"""Our names for the tensors of backbones that others trained, by which training may start from them.

Every table is a list of patterns of their names with our name for each; `#1` marks the first part of a tensor that ours
holds in one piece with others (query, key and value maps).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Table = list[tuple[re.Pattern[str], str]]


@dataclass(frozen=True)
class BackboneLayout:
    """A way in which somebody names the tensors of a backbone."""

    name: str
    sign: str  # a pattern that matches a name of this layout and of no other
    table: Table


def _patterns(rows: Mapping[str, str], before: str = "", ours: str = "backbone.") -> Table:
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


_SWIN_TABLE = _patterns(_SWIN, r"(?:swin\.)?") + _patterns(
    _SWIN_BLOCK, r"(?:swin\.)?encoder\.layers\.(\d)\.blocks\.(\d+)\.", r"backbone.stages.\1.blocks.\2."
)
# Weights of ours and converted NanoDets have our own names (model.backbones.nanodet_onnx).
LAYOUTS = (
    BackboneLayout("xpose", r"^backbone\.", _patterns({r"backbone\.(.+)": r"\1"})),
    BackboneLayout("MobileNetV2 of timm", r"^conv_stem\.", _patterns({r"(conv_stem\..+|bn1\..+|blocks\..+)": r"\1"})),
    BackboneLayout("NanoDet-Plus-m", r"^pyramid\.laterals\.", _patterns({r"((?:stem|stages|pyramid)\..+)": r"\1"})),
    BackboneLayout("Swin of transformers", r"^(swin\.)?embeddings\.patch_embeddings\.", _SWIN_TABLE),
    BackboneLayout("Swin of its authors", r"^patch_embed\.proj\.", _patterns(_SWIN_PLAIN)),
    BackboneLayout(
        "ResNet of transformers",
        r"^(resnet\.)?embedder\.embedder\.",
        _patterns({r"(?:resnet\.)?((?:embedder|encoder)\..+)": r"net.\1"}),
    ),
    BackboneLayout("ResNet of torchvision", r"^layer1\.0\.conv1\.", _torchvision_resnet()),
)


def layout_of(state: Mapping[str, Tensor]) -> BackboneLayout | None:
    """The layout of a state dict."""
    return next((layout for layout in LAYOUTS if any(re.search(layout.sign, name) for name in state)), None)


def translated(state: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by our names, parts put together; and the names that the table does not know."""
    translation: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for theirs, value in state.items():
        match, ours = next(((m, o) for pattern, o in table if (m := pattern.match(theirs))), (None, ""))
        if match is None:
            unknown.append(theirs)
            continue
        name, _, part = match.expand(ours).partition("#")
        if part:
            parts.setdefault(name, {})[part] = value
        else:
            translation[name] = value
    for name, pieces in parts.items():
        if set(pieces) == {"1", "2", "3"}:
            translation[name] = torch.cat([pieces[number] for number in sorted(pieces)])
    return translation, unknown
