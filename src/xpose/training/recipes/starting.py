"""Weights to start from: what fits of them is taken, and how much that was is told.

model = xpose_nano()
print(load_backbone(model, "mobilenetv2_100.safetensors"))   # an ImageNet backbone
print(start_from(model, "runs/mine/weights"))                # or a whole network, of ours or of a relative
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xpose.errors import CheckpointError, quote
from xpose.model import XPose
from xpose.model.checkpoints.files import read_tensors
from xpose.model.checkpoints.official import unwrap
from xpose.model.checkpoints.pretrained import ENCODER_PREFIX, WEIGHT_FILE
from xpose.training.recipes.foreign_names import LAYOUTS, Layout, layout_of, translated

_WEIGHT_FILES = (WEIGHT_FILE, "pytorch_model.bin")
_INDEX = "model.safetensors.index.json"
_SHOWN = 5  # names of each sort in a summary
_COUNTED_APART = "num_batches_tracked"  # of no use, and not in every file


@dataclass(frozen=True)
class Taken:
    """What became of the tensors of a weight file, and of the network's own."""

    source: str
    layout: str
    taken: tuple[str, ...]  # our names
    refused: tuple[str, ...]  # our names, with both shapes
    left: tuple[str, ...]  # our names of what the file has nothing for: they stay at their start
    unused: tuple[str, ...]  # their names of what has no place here

    def __str__(self) -> str:
        """The counts, with the first few names of each sort."""
        lines = [f"{self.source} ({self.layout}): {len(self.taken)} tensors taken"]
        for names, what in (
            (self.refused, "refused, as their shapes differ"),
            (self.left, "left at their start, as the file has nothing for them"),
            (self.unused, "of the file not used"),
        ):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                lines.append(f"  {len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")
        return "\n".join(lines)


def load_backbone(model: XPose, source: str | Path) -> Taken:
    """Start a network's backbone from weights trained elsewhere, as a rule on ImageNet.

    Args:
        model: the network; its backbone is changed in place.
        source: a `.safetensors`, `.pth` or `.bin` file, or a folder that transformers saved: MobileNetV2 with timm's
            names, ResNet-50 with those of transformers or torchvision, Swin with those of transformers or its authors,
            or a whole network whose backbone fits; or NanoDet-Plus-m, as the published `.onnx` file or converted.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown kind, or less than half of the backbone is in it.
        MissingExtraError: it is an `.onnx` file, and the package that reads these is not installed.
    """
    state = read_weights(source)
    layout = _layout(state, source)
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    found, unused = translated(state, layout.table(model.config))
    unused += [name for name in found if not name.startswith("backbone.")]
    result = _sorted(source, layout, wanted, found, unused)
    whole = [name for name in wanted if not name.endswith(_COUNTED_APART)]
    if 2 * len([name for name in result.taken if not name.endswith(_COUNTED_APART)]) < len(whole):
        raise CheckpointError(
            f"{quote(source)} is {layout.name}; it has {len(result.taken)} of the {len(whole)} tensors of the backbone "
            f"of {model.config.name} ({model.config.backbone}).{_why(result)} Take weights of that backbone and size."
        )
    return _applied(model, result, found)


def start_from(model: XPose, source: str | Path) -> Taken:
    """Start a network from whatever of a weight file has a place in it.

    Args:
        model: the network; changed in place.
        source: a weight folder of ours, a file in the official layout, GroundingDINO as transformers saves it, or a
            backbone alone.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown kind, or nothing of it fits.
    """
    state = read_weights(source)
    layout = _layout(state, source)
    if layout.backbone:
        return load_backbone(model, source)
    found, unused = translated(state, layout.table(model.config))
    if layout.name == "the official layout":
        _join_size_table(model, state, found, unused)
    result = _sorted(source, layout, model.state_dict(), found, unused)
    if not result.taken:
        raise CheckpointError(
            f"Nothing of {quote(source)} ({layout.name}) fits {model.config.name}.{_why(result)} Start from weights of "
            "a network of the same sizes."
        )
    return _applied(model, result, found)


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file or folder.

    Raises:
        CheckpointError: there is none, or it is damaged or unsafe.
    """
    path = Path(source).expanduser()
    if path.suffix == ".onnx" and not path.is_dir():
        from xpose.model.backbones.nanodet_onnx import read_nanodet

        return read_nanodet(path)
    if not path.is_dir():
        return unwrap(read_tensors(path))
    file = next((path / name for name in _WEIGHT_FILES if (path / name).is_file()), None)
    if file is not None:
        return unwrap(read_tensors(file))
    pieces = sorted(path.glob("model-*.safetensors")) if (path / _INDEX).is_file() else []
    if not pieces:
        raise CheckpointError(
            f"The folder {quote(path)} holds none of {', '.join((*_WEIGHT_FILES, _INDEX))}. Give a weight file, or a "
            "folder in which xpose or transformers saved one."
        )
    return unwrap({name: value for piece in pieces for name, value in read_tensors(piece).items()})


def _layout(state: Mapping[str, Tensor], source: str | Path) -> Layout:
    layout = layout_of(state)
    if layout is None:
        raise CheckpointError(
            f"{quote(source)} holds tensors of names nobody here knows ({', '.join(list(state)[:3])}, ...). Weights to "
            f"start from may be: {'; '.join(one.name for one in LAYOUTS)}."
        )
    return layout


def _sorted(
    source: str | Path, layout: Layout, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], unused: list[str]
) -> Taken:
    fits = {name: value.shape == found[name].shape for name, value in wanted.items() if name in found}
    return Taken(
        source=str(source),
        layout=layout.name,
        taken=tuple(name for name, fit in fits.items() if fit),
        refused=tuple(
            f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
            for name, fit in fits.items()
            if not fit
        ),
        left=tuple(name for name in wanted if name not in found and not name.endswith(_COUNTED_APART)),
        unused=tuple(unused)
        + tuple(
            name for name in found if name not in wanted and name not in unused and not name.startswith(ENCODER_PREFIX)
        ),
    )


def _applied(model: XPose, result: Taken, found: Mapping[str, Tensor]) -> Taken:
    with torch.no_grad():
        model.load_state_dict({name: found[name].to(torch.float32) for name in result.taken}, strict=False)
    return result


def _why(result: Taken) -> str:
    return f" For example: {result.refused[0]}." if result.refused else ""


def _join_size_table(model: XPose, state: Mapping[str, Tensor], found: dict[str, Tensor], unused: list[str]) -> None:
    """The official layout keeps the table of sizes in two pieces."""
    from xpose.model.checkpoints.official import official_names

    name = "keypoint_decoder.size_prior.table"
    if name in model.state_dict():
        pieces = official_names(name, {})
        if all(piece in state for piece in pieces):
            found[name] = torch.cat([state[piece] for piece in pieces])
            unused[:] = [one for one in unused if one not in pieces]
