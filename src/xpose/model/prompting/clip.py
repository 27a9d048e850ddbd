"""CLIP as prompt encoder: words and example pictures to 512 numbers.

Embeddings are projected and *not* normalised, as in the network's training. transformers is imported when a tower is
built, not with this module.

Example pictures go through CLIP's image tower, with one added token per keypoint. The token of a visible keypoint
starts from its position, that of an invisible one from a learned token. In every block the keypoint tokens attend to
each other and to the picture's patches; the class token and the patches never see them, so that CLIP's own outputs stay
bit-identical. docs/prompt-encoders.md decides what the paper leaves open. Shape letters:

    n  pictures    K  keypoints    P  patches (49)    W  width of the tower (768)    D  width of an embedding (512)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.errors import CheckpointError
from xpose.model.positions import sine_code
from xpose.model.prompting import clip_weights
from xpose.model.prompting.cache import EmbeddingCache, check_texts
from xpose.model.prompting.tokenizer import END, START, VOCABULARY_SIZE, tokenise
from xpose.model.types import to_array

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

POSITION_CODE = 256
_OWN_NAMES = ("pos_proj.weight", "pos_proj.bias", "padding.weight")


class ClipTextEncoder(nn.Module):
    """CLIP's text tower with its tokeniser and a cache of embeddings.

    It is frozen unless its parameters require gradients: then `forward` computes gradients and caches nothing.
    """

    logit_scale: Tensor  # unused here; kept so that the official layout can be written back in full

    def __init__(self, tower: CLIPTextModelWithProjection) -> None:
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
        self.cache = EmbeddingCache()
        self.register_load_state_dict_post_hook(lambda module, _: module.cache.clear())  # type: ignore[no-untyped-call]

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor]) -> ClipTextEncoder:
        """From a state dict in the official layout; names other than `clip_model.*` are ignored.

        Raises:
            CheckpointError: a name is missing or unknown, or the sizes do not fit together.
        """
        encoder = cls(clip_weights.text_tower(state))
        if clip_weights.LOGIT_SCALE in state:
            encoder.logit_scale.copy_(state[clip_weights.LOGIT_SCALE])
        return encoder

    @classmethod
    def from_folder_or_hub(cls, name: str | Path) -> ClipTextEncoder:
        """From a folder with `config.json` and `model.safetensors`, or a name on the hub (which is downloaded).

        Raises:
            CheckpointError: nothing is there, or it is not a CLIP text tower.
        """
        from transformers import CLIPTextModelWithProjection

        return cls(clip_weights.pretrained_tower(CLIPTextModelWithProjection, name))

    @property
    def dim(self) -> int:
        """The width of an embedding."""
        return int(self.tower.config.projection_dim)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings [n, dim] of n texts, templates included, without gradients.

        Raises:
            PromptError: a text is too long.
        """
        listed = check_texts(texts)
        return self.cache.encode(listed, self._embed) if listed else np.zeros((0, self.dim), np.float32)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """The same embeddings on the encoder's device, with gradients if its parameters require them."""
        weight = self.tower.text_projection.weight
        if torch.is_grad_enabled() and weight.requires_grad and len(texts):
            return self._run(check_texts(texts))
        return torch.from_numpy(self.encode(texts)).to(weight)

    def state_dict_official(self) -> dict[str, Tensor]:
        """The weights under their official names."""
        return clip_weights.to_official(self.tower) | {clip_weights.LOGIT_SCALE: self.logit_scale.detach().clone()}

    def _embed(self, texts: list[str]) -> np.ndarray:
        device = self.tower.text_projection.weight.device
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            return to_array(self._run(texts))

    def _run(self, texts: list[str]) -> Tensor:
        tokens = torch.from_numpy(tokenise(texts, self.tower.config.max_position_embeddings))
        # No mask: attention is causal, so that the end token does not see the padding after it.
        return self.tower(input_ids=tokens.to(self.tower.text_projection.weight.device)).text_embeds

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ClipTextEncoder:
        self.cache.clear()  # another device or precision
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


class ClipVisualPromptEncoder(nn.Module):
    """Object and keypoint embeddings of prompt pictures. CLIP is frozen; `pos_proj` and `padding` can be trained."""

    def __init__(self, tower: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        width = tower.config.hidden_size
        self.tower = tower.requires_grad_(False).eval()
        self.pos_proj = nn.Linear(POSITION_CODE, width)
        self.padding = nn.Embedding(1, width)
        nn.init.normal_(self.padding.weight, std=width**-0.5)  # as large as CLIP's class token

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor]) -> ClipVisualPromptEncoder:
        """From a state dict in the official layout: `clip_model.visual.*`, `pos_proj.*` and `padding.weight`.

        Raises:
            CheckpointError: a name is missing or unknown, or the sizes do not fit together.
        """
        encoder = cls(clip_weights.vision_tower(state))
        encoder.load_prompt_weights(state)
        return encoder

    @classmethod
    def from_folder_or_hub(cls, name: str | Path) -> ClipVisualPromptEncoder:
        """CLIP from a folder or the hub; `pos_proj` and `padding` start untrained.

        Raises:
            CheckpointError: nothing is there, or it is not a CLIP image tower.
        """
        from transformers import CLIPVisionModelWithProjection

        return cls(clip_weights.pretrained_tower(CLIPVisionModelWithProjection, name))

    @property
    def size(self) -> int:
        """Height and width of a prompt picture."""
        return int(self.tower.config.image_size)

    def load_prompt_weights(self, state: Mapping[str, Tensor]) -> None:
        """Load `pos_proj.*` and `padding.weight` from a state dict in the official layout.

        Raises:
            CheckpointError: one of them is missing or of another size.
        """
        parameters = {name: self.get_parameter(name) for name in _OWN_NAMES}
        faults = [
            f"{name} is {tuple(state[name].shape) if name in state else 'missing'}, expected {tuple(parameter.shape)}"
            for name, parameter in parameters.items()
            if name not in state or state[name].shape != parameter.shape
        ]
        if faults:
            raise CheckpointError(
                f"No visual prompts from this checkpoint: {'; '.join(faults)}. "
                "Use the released file, or prompt with words."
            )
        self.load_state_dict({name: state[name] for name in parameters}, strict=False)

    def state_dict_official(self) -> dict[str, Tensor]:
        """The weights under their official names."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.state_dict().items() if name in _OWN_NAMES}
        return clip_weights.to_official(self.tower) | tensors

    @torch.no_grad()
    def encode(self, pictures: Tensor, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Compute embeddings without gradients; see `forward`."""
        return self(pictures, points, visible)

    def forward(self, pictures: Tensor, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the object [n, D] and of each keypoint [n, K, D] in n pictures, not normalised.

        Args:
            pictures: [n, 3, size, size], normalised as CLIP's input (see `prompt_picture`).
            points: [n, K, 2], x and y in 0..1 of the picture; ignored if invisible.
            visible: [n, K], True where the point is visible.

        Raises:
            ValueError: the shapes do not fit.
        """
        self._check(pictures, points, visible)
        vision = self.tower.vision_model
        weight = vision.embeddings.class_embedding
        picture = vision.pre_layrnorm(vision.embeddings(pictures.to(weight.dtype)))  # [n, 1 + P, W]
        keypoints = vision.pre_layrnorm(self._keypoint_tokens(points.to(weight.dtype), visible))  # [n, K, W]
        for layer in vision.encoder.layers:
            normed_picture, normed_keypoints = layer.layer_norm1(picture), layer.layer_norm1(keypoints)
            seen = torch.cat((normed_picture[:, 1:], normed_keypoints), dim=1)
            keypoints = _rest_of_block(layer, keypoints, _attend(layer.self_attn, normed_keypoints, seen))
            picture = _rest_of_block(layer, picture, _attend(layer.self_attn, normed_picture, normed_picture))
        project = self.tower.visual_projection
        return project(vision.post_layernorm(picture[:, 0])), project(vision.post_layernorm(keypoints))

    def train(self, mode: bool = True) -> ClipVisualPromptEncoder:
        """Set the training mode, but keep CLIP in eval mode."""
        super().train(mode)
        self.tower.eval()
        return self

    def _keypoint_tokens(self, points: Tensor, visible: Tensor) -> Tensor:
        shown = visible.to(torch.bool)[..., None]
        points = points.masked_fill(~shown, 0)  # can be NaN there
        code = sine_code(points[..., [1, 0]] * (2 * math.pi), POSITION_CODE // 2, 10000.0).flatten(-2)
        return torch.where(shown, self.pos_proj(code), self.padding.weight[0])

    def _check(self, pictures: Tensor, points: Tensor, visible: Tensor) -> None:
        n, size = pictures.shape[0], self.size
        shapes = [tuple(tensor.shape) for tensor in (pictures, points, visible)]
        if points.ndim != 3 or shapes != [(n, 3, size, size), (n, points.shape[1], 2), (n, points.shape[1])]:
            raise ValueError(
                f"pictures, points and visible have the shapes {shapes}. They must be [n, 3, {size}, {size}], "
                "[n, K, 2] and [n, K]. Make pictures with prompt_picture()."
            )


def average_shots(objects: Tensor, keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Average several pictures into one prompt: object [D] and keypoints [K, D] from [n, D] and [n, K, D].

    A keypoint is averaged over the pictures that show it, because the token of an invisible keypoint does not depend on
    the keypoint. A keypoint that no picture shows is averaged over all.
    """
    shown = visible.to(torch.bool)
    weights = torch.where(shown.any(dim=0), shown, True).to(keypoints.dtype)[..., None]  # [n, K, 1]
    return objects.mean(dim=0), (keypoints * weights).sum(dim=0) / weights.sum(dim=0)


def _attend(attention: Any, queries: Tensor, seen: Tensor) -> Tensor:
    projected = attention.q_proj(queries), attention.k_proj(seen), attention.v_proj(seen)
    mixed = F.scaled_dot_product_attention(
        *(x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for x in projected)
    )
    return attention.out_proj(mixed.transpose(1, 2).flatten(-2))


def _rest_of_block(layer: Any, tokens: Tensor, attended: Tensor) -> Tensor:
    tokens = tokens + attended
    return tokens + layer.mlp(layer.layer_norm2(tokens))
