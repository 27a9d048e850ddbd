"""CLIP as text encoder: words to 512 numbers, with transformers' classes and the official checkpoint's weights.

The embedding is the projected one and *not* normalised, as the network was trained with. transformers is imported when
a tower is built, not with this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from xpose.errors import CheckpointError, quote
from xpose.model.prompting import clip_names
from xpose.model.prompting.cache import EmbeddingCache, check_texts
from xpose.model.prompting.tokenizer import END, START, VOCABULARY_SIZE, tokenise

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

HEAD_WIDTH = 64  # of every CLIP tower with patches
Model = TypeVar("Model", bound=nn.Module)


class ClipTextEncoder(nn.Module):
    """CLIP's text tower with its tokeniser and a memory of the texts it has seen.

    Frozen, unless its parameters are told to require gradients: then `encode` gives them and remembers nothing.
    """

    logit_scale: Tensor  # unused here; kept so that the official layout can be written back whole

    def __init__(self, tower: CLIPTextModelWithProjection, *, cache_size: int = 4096) -> None:
        super().__init__()
        if tower.config.vocab_size != VOCABULARY_SIZE:
            raise CheckpointError(
                f"This text tower knows {tower.config.vocab_size} tokens. CLIP's table has {VOCABULARY_SIZE}. "
                'Load a CLIP text tower, for example "openai/clip-vit-base-patch32".'
            )
        tower.config.bos_token_id, tower.config.eos_token_id = START, END  # early exports carry wrong numbers
        tower.text_model.eos_token_id = END
        self.tower = tower.requires_grad_(False).eval()
        self.register_buffer("logit_scale", torch.tensor(1 / 0.07).log(), persistent=False)
        self.cache = EmbeddingCache(cache_size)
        self.register_load_state_dict_post_hook(lambda module, _: module.cache.clear())

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], *, cache_size: int = 4096) -> ClipTextEncoder:
        """From a state dict in the official layout; other names than `clip_model.*` are left alone.

        Raises:
            CheckpointError: a name is missing or unknown, or the sizes do not fit together.
        """
        encoder = cls(text_tower(state), cache_size=cache_size)
        if clip_names.LOGIT_SCALE in state:
            encoder.logit_scale.copy_(state[clip_names.LOGIT_SCALE])
        return encoder

    @classmethod
    def from_folder_or_hub(cls, name: str | Path, *, cache_size: int = 4096) -> ClipTextEncoder:
        """From a folder with `config.json` and `model.safetensors`, or a name on the hub (which is downloaded).

        Raises:
            CheckpointError: nothing is there, or it is no CLIP text tower.
        """
        from transformers import CLIPTextModelWithProjection

        return cls(pretrained_tower(CLIPTextModelWithProjection, name), cache_size=cache_size)

    @property
    def dim(self) -> int:
        """The width of an embedding."""
        return int(self.tower.config.projection_dim)

    @property
    def runs(self) -> int:
        """How often the tower ran; a text that is remembered costs no run."""
        return self.cache.runs

    def encode(self, texts: Sequence[str]) -> Tensor:
        """The embeddings [n, dim] of n texts, templates included, on the encoder's device.

        Raises:
            PromptError: a text is too long; the message says where it would be cut.
        """
        listed = check_texts(texts)
        if not listed:
            return self.tower.text_projection.weight.new_zeros(0, self.dim)
        if torch.is_grad_enabled() and self.tower.text_projection.weight.requires_grad:
            return self._run(listed)
        return self.cache.encode(listed, self._embed)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """The same as `encode`."""
        return self.encode(texts)

    def state_dict_official(self) -> dict[str, Tensor]:
        """The weights under their official names."""
        entries = clip_names.text_entries(self.tower.config.num_hidden_layers)
        return clip_names.to_official(self.tower.state_dict(), entries) | {
            clip_names.LOGIT_SCALE: self.logit_scale.detach().clone()
        }

    def _embed(self, texts: list[str]) -> Tensor:
        device = self.tower.text_projection.weight.device
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            return self._run(texts)

    def _run(self, texts: list[str]) -> Tensor:
        tokens = tokenise(texts, self.tower.config.max_position_embeddings)
        # No mask: attention is causal, so what fills a row after its end token cannot be seen from the end token.
        return self.tower(input_ids=tokens.to(self.tower.text_projection.weight.device)).text_embeds

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ClipTextEncoder:
        self.cache.clear()  # another device or precision
        return super()._apply(fn, recurse)


def text_tower(state: Mapping[str, Tensor]) -> CLIPTextModelWithProjection:
    """transformers' text tower with the weights of an official state dict, whose shapes say how large it is."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    prefix = clip_names.PREFIX
    names = [
        name
        for name in state
        if name.startswith(prefix) and not name.startswith(f"{prefix}visual.") and name != clip_names.LOGIT_SCALE
    ]
    entries = clip_names.text_entries(clip_names.count_layers(names, f"{prefix}transformer.resblocks"))
    clip_names.check_names(names, entries, "CLIP text tower")
    weights = clip_names.to_ours(state, entries)
    tokens = weights["text_model.embeddings.token_embedding.weight"]
    config = CLIPTextConfig(
        vocab_size=tokens.shape[0],
        hidden_size=tokens.shape[-1],
        intermediate_size=weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=clip_names.count_layers(names, f"{prefix}transformer.resblocks"),
        num_attention_heads=heads_of(tokens.shape[-1], "CLIP text tower"),
        max_position_embeddings=weights["text_model.embeddings.position_embedding.weight"].shape[0],
        projection_dim=weights["text_projection.weight"].shape[0],
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        bos_token_id=START,
        eos_token_id=END,
    )
    return fill(CLIPTextModelWithProjection, config, weights)


def vision_tower(state: Mapping[str, Tensor]) -> CLIPVisionModelWithProjection:
    """transformers' image tower with the weights of an official state dict."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    prefix = f"{clip_names.PREFIX}visual."
    names = [name for name in state if name.startswith(prefix)]
    entries = clip_names.visual_entries(clip_names.count_layers(names, f"{prefix}transformer.resblocks"))
    clip_names.check_names(names, entries, "CLIP image tower")
    weights = clip_names.to_ours(state, entries)
    patches = weights["vision_model.embeddings.patch_embedding.weight"]
    positions = weights["vision_model.embeddings.position_embedding.weight"].shape[0]
    config = CLIPVisionConfig(
        hidden_size=patches.shape[0],
        intermediate_size=weights["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=clip_names.count_layers(names, f"{prefix}transformer.resblocks"),
        num_attention_heads=heads_of(patches.shape[0], "CLIP image tower"),
        patch_size=patches.shape[-1],
        image_size=round((positions - 1) ** 0.5) * patches.shape[-1],
        projection_dim=weights["visual_projection.weight"].shape[0],
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
    )
    return fill(CLIPVisionModelWithProjection, config, weights)


def heads_of(width: int, tower: str) -> int:
    """CLIP's number of heads for a width."""
    if not width or width % HEAD_WIDTH:
        raise CheckpointError(
            f"The {tower} is {width} wide. CLIP's heads are {HEAD_WIDTH} wide, so the width must be a multiple of it. "
            "Use the released file, or convert yours again."
        )
    return width // HEAD_WIDTH


def fill(model_class: type[Model], config: Any, weights: Mapping[str, Tensor]) -> Model:
    """A model of `config` that owns the tensors `weights`, without first drawing random ones.

    Raises:
        CheckpointError: a tensor has another shape than the config asks for.
    """
    with torch.device("meta"):
        model = model_class(config)
    wrong = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted.shape)}"
        for name, wanted in model.state_dict().items()
        if weights[name].shape != wanted.shape
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
    """A tower of transformers' own layout from a folder or the hub, from safetensors files only.

    Raises:
        CheckpointError: it is not there, or it lacks weights of the tower.
    """
    try:
        tower, report = model_class.from_pretrained(
            str(name), use_safetensors=True, output_loading_info=True, local_files_only=Path(name).is_dir()
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(
            f"Cannot load CLIP from {quote(name)}: {reason} "
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
