"""The two-way table between CLIP's names in the official checkpoint and those of transformers' CLIP classes.

Official names carry the prefix `clip_model.`. Two things differ beside the names: query, key and value lie in one
tensor there and in three here, and both projections are stored transposed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xpose.errors import CheckpointError

PREFIX = "clip_model."
LOGIT_SCALE = PREFIX + "logit_scale"


@dataclass(frozen=True)
class Entry:
    """One tensor of the official layout and the one or three tensors it becomes."""

    official: str
    ours: tuple[str, ...]
    transposed: bool = False

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        if self.official.endswith(".conv1.weight"):
            return 4
        vector = self.official.endswith(("bias", "class_embedding")) or ".ln_" in self.official
        return 1 if vector else 2


def text_entries(layers: int) -> list[Entry]:
    """The text tower (without the logit scale, a scalar that belongs to neither tower)."""
    return [
        Entry(f"{PREFIX}positional_embedding", ("text_model.embeddings.position_embedding.weight",)),
        Entry(f"{PREFIX}token_embedding.weight", ("text_model.embeddings.token_embedding.weight",)),
        *_pair(f"{PREFIX}ln_final", "text_model.final_layer_norm"),
        Entry(f"{PREFIX}text_projection", ("text_projection.weight",), transposed=True),
        *_blocks(f"{PREFIX}transformer.resblocks", "text_model.encoder.layers", layers),
    ]


def visual_entries(layers: int) -> list[Entry]:
    """The image tower."""
    official, ours = f"{PREFIX}visual", "vision_model"
    return [
        Entry(f"{official}.class_embedding", (f"{ours}.embeddings.class_embedding",)),
        Entry(f"{official}.positional_embedding", (f"{ours}.embeddings.position_embedding.weight",)),
        Entry(f"{official}.conv1.weight", (f"{ours}.embeddings.patch_embedding.weight",)),
        *_pair(f"{official}.ln_pre", f"{ours}.pre_layrnorm"),  # transformers' own spelling
        *_pair(f"{official}.ln_post", f"{ours}.post_layernorm"),
        Entry(f"{official}.proj", ("visual_projection.weight",), transposed=True),
        *_blocks(f"{official}.transformer.resblocks", f"{ours}.encoder.layers", layers),
    ]


def _pair(official: str, ours: str) -> list[Entry]:
    return [Entry(f"{official}.{kind}", (f"{ours}.{kind}",)) for kind in ("weight", "bias")]


def _blocks(official: str, ours: str, layers: int) -> list[Entry]:
    entries = []
    for number in range(layers):
        there, here = f"{official}.{number}", f"{ours}.{number}"
        for kind in ("weight", "bias"):
            split = tuple(f"{here}.self_attn.{role}_proj.{kind}" for role in "qkv")
            entries.append(Entry(f"{there}.attn.in_proj_{kind}", split))
        entries += _pair(f"{there}.attn.out_proj", f"{here}.self_attn.out_proj")
        entries += _pair(f"{there}.ln_1", f"{here}.layer_norm1")
        entries += _pair(f"{there}.mlp.c_fc", f"{here}.mlp.fc1")
        entries += _pair(f"{there}.mlp.c_proj", f"{here}.mlp.fc2")
        entries += _pair(f"{there}.ln_2", f"{here}.layer_norm2")
    return entries


def count_layers(names: Iterable[str], resblocks: str) -> int:
    """How many blocks `names` speaks of: one more than the highest block number."""
    start = f"{resblocks}."
    numbers = [name.removeprefix(start).split(".")[0] for name in names if name.startswith(start)]
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=-1)


def check_names(found: Iterable[str], entries: Sequence[Entry], tower: str) -> None:
    """Stop unless `found` is exactly the entries' official names.

    Raises:
        CheckpointError: with the missing and the unexpected names.
    """
    there, wanted = set(found), {entry.official for entry in entries}
    missing, unexpected = sorted(wanted - there), sorted(there - wanted)
    if missing or unexpected:
        faults = [
            f"{what} {_some(names)}" for what, names in (("lacks", missing), ("has the unknown", unexpected)) if names
        ]
        raise CheckpointError(
            f"The {tower} of this checkpoint {' and '.join(faults)}. Every name must be there and no other. "
            'Use a checkpoint that carries its CLIP weights, or load CLIP by name: "openai/clip-vit-base-patch32".'
        )


def to_ours(state: Mapping[str, Tensor], entries: Sequence[Entry]) -> dict[str, Tensor]:
    """The tensors under transformers' names, as float32 copies of their own."""
    ours: dict[str, Tensor] = {}
    for entry in entries:
        tensor = state[entry.official].detach()
        fits = tensor.is_floating_point() and tensor.ndim == entry.rank and tensor.numel()
        if not fits or tensor.shape[0] % len(entry.ours):
            raise CheckpointError(
                f"{entry.official} is {tensor.dtype} of shape {tuple(tensor.shape)}. A CLIP tower has floating-point "
                f"weights with {entry.rank} dimensions there. Use the released file, or convert yours again."
            )
        tensor = tensor.to(torch.float32)
        parts = tensor.t().chunk(1) if entry.transposed else tensor.chunk(len(entry.ours))
        ours |= {
            name: part.clone(memory_format=torch.contiguous_format)
            for name, part in zip(entry.ours, parts, strict=True)
        }
    return ours


def to_official(state: Mapping[str, Tensor], entries: Sequence[Entry]) -> dict[str, Tensor]:
    """The way back: the tensors under the official names."""
    official = {}
    for entry in entries:
        joined = torch.cat([state[name].detach() for name in entry.ours])
        official[entry.official] = (joined.t() if entry.transposed else joined).contiguous()
    return official


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{len(names)} names ({', '.join(names[:limit])}{more})"
