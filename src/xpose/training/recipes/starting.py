"""Where a network starts: a backbone that was trained elsewhere, or batch norms set by the first pictures.

model = xpose_nano()
print(load_backbone(model, "mobilenetv2_100.safetensors"))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xpose.data.loading.batches import Batch
from xpose.errors import CheckpointError, quote
from xpose.model import XPose
from xpose.model.checkpoints.files import read_tensors
from xpose.model.checkpoints.official import unwrap
from xpose.model.checkpoints.pretrained import WEIGHT_FILE
from xpose.training.run.prompt_batches import normalised

_WEIGHT_FILES = (WEIGHT_FILE, "pytorch_model.bin")
_SHOWN = 5  # names of each sort in a summary
_BATCH_COUNTER = "num_batches_tracked"  # of no use, and not in every file


@dataclass(frozen=True)
class Taken:
    """What became of the tensors of a weight file, and of the backbone's own."""

    source: str
    layout: str
    taken: tuple[str, ...]  # our names
    refused: tuple[str, ...]  # our names, with both shapes
    left: tuple[str, ...]  # our names of what the file lacks: these keep their random start
    unused: tuple[str, ...]  # the file's names of what has no place in the backbone

    def __str__(self) -> str:
        """The counts, with the first few names of each sort."""
        lines = [f"{self.source} ({self.layout}): {len(self.taken)} tensors taken"]
        sorts = {
            "refused, because their shapes differ": self.refused,
            "left at their start, because the file lacks them": self.left,
            "of the file not used": self.unused,
        }
        for what, names in sorts.items():
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                lines.append(f"  {len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")
        return "\n".join(lines)


def load_backbone(model: XPose, source: str | Path) -> Taken:
    """Start a network's backbone, in place, from weights trained elsewhere; docs/distributed-training.md lists them.

    The source is a `.safetensors`, `.pth` or `.bin` file, NanoDet's `.onnx` file, or a folder that transformers or
    xpose saved.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown kind, or holds less than half of the backbone.
        MissingExtraError: it is an `.onnx` file, and the package that reads these is not installed.
    """
    state = read_weights(source)
    layout = next((layout for layout in _LAYOUTS if any(re.search(layout.sign, name) for name in state)), None)
    if layout is None:
        raise CheckpointError(
            f"{quote(source)} holds tensors with unknown names ({', '.join(list(state)[:3])}, ...). A backbone to "
            f"start from may be: {'; '.join(layout.name for layout in _LAYOUTS)}."
        )
    backbone = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    theirs, unused = _translated(state, layout.table)
    fits = {name: value.shape == theirs[name].shape for name, value in backbone.items() if name in theirs}
    result = Taken(
        source=str(source),
        layout=layout.name,
        taken=tuple(name for name, fit in fits.items() if fit),
        refused=tuple(
            f"{name} {tuple(theirs[name].shape)} for {tuple(backbone[name].shape)}"
            for name, fit in fits.items()
            if not fit
        ),
        left=tuple(name for name in backbone if name not in theirs and not name.endswith(_BATCH_COUNTER)),
        unused=(*unused, *(name for name in theirs if name not in backbone)),
    )
    needed = sum(not name.endswith(_BATCH_COUNTER) for name in backbone)
    if 2 * sum(not name.endswith(_BATCH_COUNTER) for name in result.taken) < needed:
        example = f" For example: {result.refused[0]}." if result.refused else ""
        raise CheckpointError(
            f"{quote(source)} is {layout.name}; it has {len(result.taken)} of the {needed} tensors of the backbone of "
            f"{model.config.name} ({model.config.backbone}).{example} Take weights of that backbone and size."
        )
    with torch.no_grad():
        model.load_state_dict({name: theirs[name].to(torch.float32) for name in result.taken}, strict=False)
    return result


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file or folder."""
    path = Path(source).expanduser()
    if path.is_dir():
        file = next((path / name for name in _WEIGHT_FILES if (path / name).is_file()), None)
        if file is None:
            raise CheckpointError(
                f"The folder {quote(path)} contains neither {' nor '.join(_WEIGHT_FILES)}. Name a weight file, or a "
                "folder in which xpose or transformers saved one."
            )
        return unwrap(read_tensors(file))
    if path.suffix == ".onnx":
        from xpose.model.backbones.nanodet import read_nanodet

        return read_nanodet(path)
    return unwrap(read_tensors(path))


@torch.no_grad()
def settle_norms(model: XPose, batches: Iterable[Batch]) -> int:
    """Set the statistics of a new backbone's batch norms to those over some batches; how many norms there are.

    In training they are frozen, as is customary for detectors. Frozen at their start (mean 0, deviation 1) they would
    not normalise at all. Each layer sees what the layers before it give when they normalise by the same batch, so one
    pass is enough.
    """
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return 0
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    device = model.heads.norm.weight.device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        norm.train()
    for batch in batches:
        model.backbone(normalised(batch.images.to(device)))
    for norm, momentum, training in before:
        norm.momentum = momentum
        norm.train(training)
    return len(norms)


Table = list[tuple[re.Pattern[str], str]]


class BackboneLayout(NamedTuple):
    """A way in which others name the tensors of a backbone.

    A table is a list of patterns of their names with our name for each; `#1` marks the first part of a tensor that ours
    holds in one piece with others (query, key and value maps).
    """

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
    rows = {r"conv1\.(\w+)": r"embedder.embedder.convolution.\1", r"bn1\.(\w+)": r"embedder.embedder.normalization.\1"}
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
# Weights of ours and converted NanoDets have our own names (model.backbones.nanodet).
_LAYOUTS = (
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


def _translated(state: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by our names, parts put together; and the names that the table does not have."""
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
