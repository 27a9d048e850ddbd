"""Starting from a backbone that was trained elsewhere: what fits is taken, and the answer says what that was.

model = xpose_nano()
print(load_backbone(model, "mobilenetv2_100.safetensors"))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xpose.errors import CheckpointError, quote
from xpose.model import XPose
from xpose.model.checkpoints.files import read_tensors
from xpose.model.checkpoints.official import unwrap
from xpose.model.checkpoints.pretrained import WEIGHT_FILE
from xpose.training.recipes.foreign_names import LAYOUTS, layout_of, translated

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
        for names, what in (
            (self.refused, "refused, because their shapes differ"),
            (self.left, "left at their start, because the file lacks them"),
            (self.unused, "of the file not used"),
        ):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                lines.append(f"  {len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")
        return "\n".join(lines)


def load_backbone(model: XPose, source: str | Path) -> Taken:
    """Start a network's backbone from weights trained elsewhere, usually on ImageNet.

    Args:
        model: the network; its backbone is changed in place.
        source: a `.safetensors`, `.pth` or `.bin` file, or a folder that transformers or xpose saved: MobileNetV2 with
            timm's names, ResNet-50 with those of transformers or torchvision, Swin with those of transformers or its
            authors, NanoDet-Plus-m (the published `.onnx` file, or converted), or weights of ours.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown kind, or holds less than half of the backbone.
        MissingExtraError: it is an `.onnx` file, and the package that reads these is not installed.
    """
    state = read_weights(source)
    layout = layout_of(state)
    if layout is None:
        raise CheckpointError(
            f"{quote(source)} holds tensors with unknown names ({', '.join(list(state)[:3])}, ...). A backbone to "
            f"start from may be: {'; '.join(layout.name for layout in LAYOUTS)}."
        )
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    theirs, unused = translated(state, layout.table)
    fits = {name: value.shape == theirs[name].shape for name, value in wanted.items() if name in theirs}
    result = Taken(
        source=str(source),
        layout=layout.name,
        taken=tuple(name for name, fit in fits.items() if fit),
        refused=tuple(
            f"{name} {tuple(theirs[name].shape)} for {tuple(wanted[name].shape)}"
            for name, fit in fits.items()
            if not fit
        ),
        left=tuple(name for name in wanted if name not in theirs and not name.endswith(_BATCH_COUNTER)),
        unused=(*unused, *(name for name in theirs if name not in wanted)),
    )
    needed = sum(not name.endswith(_BATCH_COUNTER) for name in wanted)
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
    """The tensors of a weight file or folder.

    Raises:
        CheckpointError: there is none, or it is damaged or unsafe.
    """
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
        from xpose.model.backbones.nanodet_onnx import read_nanodet

        return read_nanodet(path)
    return unwrap(read_tensors(path))
