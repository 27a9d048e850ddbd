"""Initialise a network: a backbone trained elsewhere, or batch norms set by the first pictures."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xpose.data.loading.batches import Batch
from xpose.errors import CheckpointError, quote
from xpose.model import XPose
from xpose.model.checkpoints.files import read_tensors
from xpose.model.checkpoints.folders import WEIGHT_FILE
from xpose.model.checkpoints.official import unwrap
from xpose.training.run.prompt_batches import normalised

_LAYOUTS_FILE = Path(__file__).parents[1] / "backbone_layouts.toml"
_WEIGHT_FILES = (WEIGHT_FILE, "pytorch_model.bin")
_SHOWN = 5  # names of each sort in a summary
_BATCH_COUNTER = "num_batches_tracked"  # unused, and not in every file


@dataclass(frozen=True)
class Taken:
    """Which tensors of a weight file and of the backbone were matched."""

    source: str
    layout: str
    taken: tuple[str, ...]  # our names
    refused: tuple[str, ...]  # our names, with both shapes
    left: tuple[str, ...]  # our names, missing in the file: these keep their random values
    unused: tuple[str, ...]  # the file's names, without a place in the backbone

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
    """Load external weights into a network's backbone, in place; docs/distributed-training.md lists them.

    The source is a `.safetensors`, `.pth` or `.bin` file, NanoDet's `.onnx` file, or a folder saved by transformers or
    xpose.

    Raises:
        CheckpointError: the source is missing, damaged or unknown, or holds less than half of the backbone.
    """
    state = read_weights(source)
    layout = next((entry for entry in _layouts() if any(re.search(entry["sign"], name) for name in state)), None)
    if layout is None:
        raise CheckpointError(
            f"{quote(source)} holds tensors with unknown names ({', '.join(list(state)[:3])}, ...). A backbone to "
            f"start from may be: {'; '.join(entry['name'] for entry in _layouts())}."
        )
    backbone = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    theirs, unused = _translated(state, layout)
    shapes = {name: (theirs[name].shape, backbone[name].shape) for name in backbone if name in theirs}
    taken = tuple(name for name, (given, needed) in shapes.items() if given == needed)
    refused = [f"{name} {tuple(a)} for {tuple(b)}" for name, (a, b) in shapes.items() if a != b]
    counted = [name for name in backbone if not name.endswith(_BATCH_COUNTER)]
    if 2 * sum(name in taken for name in counted) < len(counted):
        example = f" For example: {refused[0]}." if refused else ""
        raise CheckpointError(
            f"{quote(source)} is {layout['name']}; it has {len(taken)} of the {len(counted)} tensors of the backbone "
            f"of {model.config.name} ({model.config.backbone}).{example} Take weights of that backbone and size."
        )
    with torch.no_grad():
        model.load_state_dict({name: theirs[name].to(torch.float32) for name in taken}, strict=False)
    left = tuple(name for name in counted if name not in theirs)
    unused += [name for name in theirs if name not in backbone]
    return Taken(str(source), layout["name"], taken, tuple(refused), left, tuple(unused))


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
def settle_norms(model: XPose, batches: Iterable[Batch]) -> None:
    """Set the batch-norm statistics of a new backbone to those of some batches.

    They are frozen in training; with their initial values (mean 0, deviation 1) they would not normalise at all. Each
    layer sees the output of layers that normalise by the same batch, so one pass is enough.
    """
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        norm.train()
    for batch in batches:
        model.backbone(normalised(batch.images.to(model.heads.norm.weight.device)))
    for norm, momentum, training in before:
        norm.momentum = momentum
        norm.train(training)


@cache
def _layouts() -> list[dict[str, Any]]:
    layouts: list[dict[str, Any]] = tomllib.loads(_LAYOUTS_FILE.read_text("utf-8"))["layouts"]
    return layouts


def _translated(state: Mapping[str, Tensor], layout: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by our names, with parts joined, and the names that the layout lacks."""
    table = [(re.compile(layout.get("prefix", "") + theirs), ours) for theirs, ours in layout["tensors"].items()]
    translation: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for theirs, value in state.items():
        match, ours = next(((m, o) for pattern, o in table if (m := pattern.fullmatch(theirs))), (None, ""))
        if match is None:
            unknown.append(theirs)
            continue
        for group in re.findall(r"<(\d)>", ours):
            ours = ours.replace(f"<{group}>", str(int(match[int(group)]) - 1))
        name, _, part = f"backbone.{match.expand(ours)}".partition("#")
        if part:
            parts.setdefault(name, {})[part] = value
        else:
            translation[name] = value
    for name, pieces in parts.items():
        if set(pieces) == {"1", "2", "3"}:
            translation[name] = torch.cat([pieces[number] for number in sorted(pieces)])
    return translation, unknown
