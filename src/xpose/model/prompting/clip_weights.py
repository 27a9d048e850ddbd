"""CLIP's towers as transformers' classes, with weights of the official checkpoint or of transformers' own layout.

Official names have the prefix `clip_model.`. Two things differ beside the names: query, key and value are one tensor
there and three here, and both projections are stored transposed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from xpose.errors import CheckpointError, first_line, quote
from xpose.model.prompting.tokenizer import END, START

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

PREFIX = "clip_model."
LOGIT_SCALE = PREFIX + "logit_scale"
_HEAD_WIDTH = 64  # of every CLIP tower with patches
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class TowerTensor:
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


def text_entries(layers: int) -> list[TowerTensor]:
    """The text tower (without the logit scale, a scalar that belongs to neither tower)."""
    return [
        TowerTensor(f"{PREFIX}positional_embedding", ("text_model.embeddings.position_embedding.weight",)),
        TowerTensor(f"{PREFIX}token_embedding.weight", ("text_model.embeddings.token_embedding.weight",)),
        *_pair(f"{PREFIX}ln_final", "text_model.final_layer_norm"),
        TowerTensor(f"{PREFIX}text_projection", ("text_projection.weight",), transposed=True),
        *_blocks(f"{PREFIX}transformer.resblocks", "text_model.encoder.layers", layers),
    ]


def visual_entries(layers: int) -> list[TowerTensor]:
    """The image tower."""
    official, ours = f"{PREFIX}visual", "vision_model"
    return [
        TowerTensor(f"{official}.class_embedding", (f"{ours}.embeddings.class_embedding",)),
        TowerTensor(f"{official}.positional_embedding", (f"{ours}.embeddings.position_embedding.weight",)),
        TowerTensor(f"{official}.conv1.weight", (f"{ours}.embeddings.patch_embedding.weight",)),
        *_pair(f"{official}.ln_pre", f"{ours}.pre_layrnorm"),  # transformers' own spelling
        *_pair(f"{official}.ln_post", f"{ours}.post_layernorm"),
        TowerTensor(f"{official}.proj", ("visual_projection.weight",), transposed=True),
        *_blocks(f"{official}.transformer.resblocks", f"{ours}.encoder.layers", layers),
    ]


def _pair(official: str, ours: str) -> list[TowerTensor]:
    return [TowerTensor(f"{official}.{kind}", (f"{ours}.{kind}",)) for kind in ("weight", "bias")]


def _blocks(official: str, ours: str, layers: int) -> list[TowerTensor]:
    entries = []
    for number in range(layers):
        there, here = f"{official}.{number}", f"{ours}.{number}"
        for kind in ("weight", "bias"):
            split = tuple(f"{here}.self_attn.{role}_proj.{kind}" for role in "qkv")
            entries.append(TowerTensor(f"{there}.attn.in_proj_{kind}", split))
        entries += _pair(f"{there}.attn.out_proj", f"{here}.self_attn.out_proj")
        entries += _pair(f"{there}.ln_1", f"{here}.layer_norm1")
        entries += _pair(f"{there}.mlp.c_fc", f"{here}.mlp.fc1")
        entries += _pair(f"{there}.mlp.c_proj", f"{here}.mlp.fc2")
        entries += _pair(f"{there}.ln_2", f"{here}.layer_norm2")
    return entries


def to_ours(state: Mapping[str, Tensor], entries: Sequence[TowerTensor]) -> dict[str, Tensor]:
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


def to_official(state: Mapping[str, Tensor], entries: Sequence[TowerTensor]) -> dict[str, Tensor]:
    """The way back: the tensors under the official names."""
    official = {}
    for entry in entries:
        joined = torch.cat([state[name].detach() for name in entry.ours])
        official[entry.official] = (joined.t() if entry.transposed else joined).contiguous()
    return official


def text_tower(state: Mapping[str, Tensor]) -> CLIPTextModelWithProjection:
    """transformers' text tower with the weights of an official state dict, whose shapes determine its size."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    names = [
        name
        for name in state
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}visual.") and name != LOGIT_SCALE
    ]
    layers = _count_layers(names, f"{PREFIX}transformer.resblocks.")
    weights = _checked(state, names, text_entries(layers), "CLIP text tower")
    tokens = weights["text_model.embeddings.token_embedding.weight"]
    config = CLIPTextConfig(
        vocab_size=tokens.shape[0],
        hidden_size=tokens.shape[-1],
        intermediate_size=weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=_heads(tokens.shape[-1], "CLIP text tower"),
        max_position_embeddings=weights["text_model.embeddings.position_embedding.weight"].shape[0],
        projection_dim=weights["text_projection.weight"].shape[0],
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        bos_token_id=START,
        eos_token_id=END,
    )
    return _filled(CLIPTextModelWithProjection, config, weights)


def vision_tower(state: Mapping[str, Tensor]) -> CLIPVisionModelWithProjection:
    """transformers' image tower with the weights of an official state dict."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    prefix = f"{PREFIX}visual."
    names = [name for name in state if name.startswith(prefix)]
    layers = _count_layers(names, f"{prefix}transformer.resblocks.")
    weights = _checked(state, names, visual_entries(layers), "CLIP image tower")
    patches = weights["vision_model.embeddings.patch_embedding.weight"]
    positions = weights["vision_model.embeddings.position_embedding.weight"].shape[0]
    config = CLIPVisionConfig(
        hidden_size=patches.shape[0],
        intermediate_size=weights["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=_heads(patches.shape[0], "CLIP image tower"),
        patch_size=patches.shape[-1],
        image_size=round((positions - 1) ** 0.5) * patches.shape[-1],
        projection_dim=weights["visual_projection.weight"].shape[0],
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
    )
    return _filled(CLIPVisionModelWithProjection, config, weights)


def _count_layers(names: Iterable[str], prefix: str) -> int:
    """One more than the highest block number after `prefix`."""
    numbers = [name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)]
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=-1)


def _checked(
    state: Mapping[str, Tensor], names: Sequence[str], entries: Sequence[TowerTensor], tower: str
) -> dict[str, Tensor]:
    """The tensors under transformers' names; `names` must be exactly the entries' official ones."""
    official = {entry.official for entry in entries}
    missing, unexpected = sorted(official - set(names)), sorted(set(names) - official)
    if missing or unexpected:
        faults = [
            f"{what} {len(wrong)} names ({', '.join(wrong[:8])}{', ...' if len(wrong) > 8 else ''})"
            for what, wrong in (("lacks", missing), ("has the unknown", unexpected))
            if wrong
        ]
        raise CheckpointError(
            f"The {tower} of this checkpoint {' and '.join(faults)}. "
            'Use a checkpoint that carries its CLIP weights, or load CLIP by name: "openai/clip-vit-base-patch32".'
        )
    return to_ours(state, entries)


def _heads(width: int, tower: str) -> int:
    if not width or width % _HEAD_WIDTH:
        raise CheckpointError(
            f"The {tower} is {width} wide. CLIP's heads are {_HEAD_WIDTH} wide, so the width must be a multiple of it. "
            "Use the released file, or convert yours again."
        )
    return width // _HEAD_WIDTH


def _filled(model_class: type[Model], config: Any, weights: Mapping[str, Tensor]) -> Model:
    """A model of `config` that owns the tensors `weights`, without first drawing random ones."""
    with torch.device("meta"):
        model = model_class(config)
    wrong = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(parameter.shape)}"
        for name, parameter in model.state_dict().items()
        if weights[name].shape != parameter.shape
    ]
    if wrong:
        raise CheckpointError(
            f"The sizes of these CLIP weights do not fit together: {'; '.join(wrong[:8])}. "
            "All tensors must come from one tower. Use the released file, or convert yours again."
        )
    model.load_state_dict(weights, strict=True, assign=True)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                assert name == "position_ids", name  # the one buffer of transformers' towers that is in no checkpoint
                setattr(module, name, torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return model.eval()


def pretrained_tower(model_class: Any, name: str | Path) -> Any:
    """A tower of transformers' own layout from a folder or the hub, from safetensors files only."""
    try:
        tower, report = model_class.from_pretrained(
            str(name), use_safetensors=True, output_loading_info=True, local_files_only=Path(name).is_dir()
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"Cannot load CLIP from {quote(name)}: {first_line(error)} "
            "A folder with config.json and model.safetensors, or a name on the Hugging Face hub, is needed. "
            'The usual one is "openai/clip-vit-base-patch32".'
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{quote(name)} lacks {len(missing)} weights of {model_class.__name__} (first: {missing[0]}). All of them "
            'must be there. Use a CLIP model, for example "openai/clip-vit-base-patch32".'
        )
    return tower
