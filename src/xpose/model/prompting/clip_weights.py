"""CLIP's towers as transformers classes, with weights in the official layout or in that of transformers.

Official names have the prefix `clip_model.`. Besides the names, the official layout stores query, key and value as
one tensor instead of three, and both projections transposed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from xpose.errors import CheckpointError, first_line, quote

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

PREFIX = "clip_model."
LOGIT_SCALE = PREFIX + "logit_scale"
_HEAD_WIDTH = 64  # of every CLIP tower with patches
_WAY_OUT = "Use the released file, or convert yours again."
# Parts of transformers' names and of the corresponding official names.
_RENAMES = (
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.embeddings.", ""),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_projection.weight", "text_projection"),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.", "visual."),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),  # transformers' own spelling
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("visual_projection.weight", "visual.proj"),
    (".self_attn.q_proj.", ".attn.in_proj_"),
    (".self_attn.", ".attn."),
    (".layer_norm", ".ln_"),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_TRANSPOSED = (PREFIX + "text_projection", PREFIX + "visual.proj")
Model = TypeVar("Model", bound=nn.Module)


def _official_names(ours: Iterable[str]) -> dict[str, list[str]]:
    """The official name of each tensor, with its one or three names in transformers."""
    return {
        PREFIX + reduce(lambda text, rename: text.replace(*rename), _RENAMES, name): (
            [name.replace(".q_proj.", f".{role}_proj.") for role in "qkv"] if ".q_proj." in name else [name]
        )
        for name in ours
        if ".k_proj." not in name and ".v_proj." not in name
    }


def to_official(tower: nn.Module) -> dict[str, Tensor]:
    """The weights of a tower under their official names."""
    state, official = tower.state_dict(), {}
    for name, ours in _official_names(state).items():
        joined = torch.cat([state[part].detach() for part in ours])
        official[name] = (joined.t() if name in _TRANSPOSED else joined).contiguous()
    return official


def text_tower(state: Mapping[str, Tensor]) -> CLIPTextModelWithProjection:
    """transformers' text tower with the weights of an official state dict, whose shapes determine its size."""
    from transformers import CLIPTextModelWithProjection

    present = {name for name in state if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}visual.")}
    weights, layers = _converted(state, present - {LOGIT_SCALE}, CLIPTextModelWithProjection, "CLIP text tower")
    tokens = weights["text_model.embeddings.token_embedding.weight"]
    tower = _built(
        CLIPTextModelWithProjection,
        num_hidden_layers=layers,
        hidden_size=tokens.shape[-1],
        num_attention_heads=_heads(tokens.shape[-1], "CLIP text tower"),
        vocab_size=tokens.shape[0],
        intermediate_size=weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        max_position_embeddings=weights["text_model.embeddings.position_embedding.weight"].shape[0],
        projection_dim=weights["text_projection.weight"].shape[0],
    )
    return _filled(tower, weights)


def vision_tower(state: Mapping[str, Tensor]) -> CLIPVisionModelWithProjection:
    """transformers' image tower with the weights of an official state dict."""
    from transformers import CLIPVisionModelWithProjection

    present = {name for name in state if name.startswith(f"{PREFIX}visual.")}
    weights, layers = _converted(state, present, CLIPVisionModelWithProjection, "CLIP image tower")
    patches = weights["vision_model.embeddings.patch_embedding.weight"]
    positions = weights["vision_model.embeddings.position_embedding.weight"].shape[0]
    tower = _built(
        CLIPVisionModelWithProjection,
        num_hidden_layers=layers,
        hidden_size=patches.shape[0],
        num_attention_heads=_heads(patches.shape[0], "CLIP image tower"),
        intermediate_size=weights["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        patch_size=patches.shape[-1],
        image_size=round((positions - 1) ** 0.5) * patches.shape[-1],
        projection_dim=weights["visual_projection.weight"].shape[0],
    )
    return _filled(tower, weights)


def _built(tower_class: Callable[[Any], Model], **sizes: int) -> Model:
    """A tower without weights; transformers' other defaults are those of CLIP."""
    with torch.device("meta"):
        return tower_class(tower_class.config_class(**sizes))  # type: ignore[attr-defined]


def _converted(
    state: Mapping[str, Tensor], present: set[str], tower_class: Callable[[Any], nn.Module], tower: str
) -> tuple[dict[str, Tensor], int]:
    """The tensors `present` under transformers' names, as float32 copies, and the number of blocks."""
    layers = len({match[1] for name in present if (match := re.search(r"resblocks\.(\d{1,2})\.", name))})
    expected = _built(tower_class, num_hidden_layers=layers).state_dict()
    official = _official_names(expected)
    faults = [
        f"{what} {len(names)} names ({', '.join(sorted(names)[:8])}{', ...' if len(names) > 8 else ''})"
        for what, names in (("lacks", official.keys() - present), ("has the unknown", present - official.keys()))
        if names
    ]
    if faults:
        raise CheckpointError(
            f"The {tower} of this checkpoint {' and '.join(faults)}. "
            'Use a checkpoint that carries its CLIP weights, or load CLIP by name: "openai/clip-vit-base-patch32".'
        )
    weights: dict[str, Tensor] = {}
    for name, ours in official.items():
        tensor, rank = state[name].detach(), expected[ours[0]].ndim
        if not (tensor.is_floating_point() and tensor.ndim == rank and tensor.numel()) or len(tensor) % len(ours):
            raise CheckpointError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}. A CLIP tower has floating-point weights "
                f"with {rank} dimensions there. {_WAY_OUT}"
            )
        parts = [tensor.t()] if name in _TRANSPOSED else tensor.chunk(len(ours))
        for our_name, part in zip(ours, parts, strict=True):
            weights[our_name] = part.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return weights, layers


def _heads(width: int, tower: str) -> int:
    if width % _HEAD_WIDTH:
        raise CheckpointError(f"The {tower} is {width} wide; CLIP's width is a multiple of {_HEAD_WIDTH}. {_WAY_OUT}")
    return width // _HEAD_WIDTH


def _filled(model: Model, weights: Mapping[str, Tensor]) -> Model:
    """The tower, filled with these tensors."""
    wrong = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(parameter.shape)}"
        for name, parameter in model.state_dict().items()
        if weights[name].shape != parameter.shape
    ]
    if wrong:
        raise CheckpointError(
            f"The sizes of these CLIP weights do not fit together: {'; '.join(wrong[:8])}. "
            f"All tensors must come from one tower. {_WAY_OUT}"
        )
    model.load_state_dict(weights, strict=True, assign=True)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                assert name == "position_ids", name  # the only buffer of these towers that no checkpoint contains
                setattr(module, name, torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return model.eval()


def pretrained_tower(model_class: Any, name: str | Path) -> Any:
    """Load a tower in transformers' layout from a folder or the hub, only from safetensors files."""
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
