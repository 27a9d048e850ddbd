"""Example pictures as prompts: CLIP's image tower, joined by one token per keypoint.

A visible keypoint's token starts from its place, an invisible one's from a learned token. In every block the keypoint
tokens attend to each other and to the picture's patches; the class token and the patches never see them, so CLIP's own
outputs stay what they were. That is why the two kinds run as two streams here rather than under one mask: the
picture's stream is CLIP's, to the last bit.

What the paper leaves open is decided in docs/prompt-encoders.md. Shape letters:

    n  pictures    K  keypoints    P  patches (49)    W  width of the tower (768)    D  width of an embedding (512)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.errors import CheckpointError
from xpose.model.positions import sine_code
from xpose.model.prompting import clip_names
from xpose.model.prompting.clip import pretrained_tower, vision_tower

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

POSITION_CODE = 256
_OWN_NAMES = ("pos_proj.weight", "pos_proj.bias", "padding.weight")


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
        encoder = cls(vision_tower(state))
        encoder.load_prompt_weights(state)
        return encoder

    @classmethod
    def from_folder_or_hub(
        cls, name: str | Path, prompt_weights: Mapping[str, Tensor] | None = None
    ) -> ClipVisualPromptEncoder:
        """CLIP from a folder or the hub; `prompt_weights` is a checkpoint with `pos_proj.*` and `padding.weight`.

        Without it those two start untrained.

        Raises:
            CheckpointError: nothing is there, or it is no CLIP image tower.
        """
        from transformers import CLIPVisionModelWithProjection

        encoder = cls(pretrained_tower(CLIPVisionModelWithProjection, name))
        if prompt_weights is not None:
            encoder.load_prompt_weights(prompt_weights)
        return encoder

    @property
    def dim(self) -> int:
        """The width of an embedding."""
        return int(self.tower.config.projection_dim)

    @property
    def size(self) -> int:
        """Height and width of a prompt picture."""
        return int(self.tower.config.image_size)

    def load_prompt_weights(self, state: Mapping[str, Tensor]) -> None:
        """Take `pos_proj.*` and `padding.weight` out of a state dict in the official layout.

        Raises:
            CheckpointError: one of them is missing or of another size.
        """
        own = {name: parameter for name, parameter in self.named_parameters() if name in _OWN_NAMES}
        faults = [
            f"{name} is {tuple(state[name].shape) if name in state else 'missing'}, expected {tuple(parameter.shape)}"
            for name, parameter in own.items()
            if name not in state or state[name].shape != parameter.shape
        ]
        if faults:
            raise CheckpointError(
                f"No visual prompts from this checkpoint: {'; '.join(faults)}. It needs these three tensors in the "
                "official layout. Use the released file, or prompt with words."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    def state_dict_official(self) -> dict[str, Tensor]:
        """The weights under their official names."""
        entries = clip_names.visual_entries(self.tower.config.num_hidden_layers)
        own = {name: tensor.detach().clone() for name, tensor in self.state_dict().items() if name in _OWN_NAMES}
        return clip_names.to_official(self.tower.state_dict(), entries) | own

    @torch.no_grad()
    def encode(self, pictures: Tensor, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings without gradients: `forward` for use after training."""
        return self(pictures, points, visible)

    def forward(self, pictures: Tensor, points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the object and of each keypoint in n pictures.

        Args:
            pictures: [n, 3, size, size], normalised as CLIP's input (see `prompt_picture`).
            points: [n, K, 2], x and y in 0..1 of the picture; where invisible, anything.
            visible: [n, K], True where the point is visible.

        Returns:
            Object embeddings [n, D] and keypoint embeddings [n, K, D], not normalised.

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
        """As every module, but CLIP stays in eval mode."""
        super().train(mode)
        self.tower.eval()
        return self

    def _keypoint_tokens(self, points: Tensor, visible: Tensor) -> Tensor:
        shown = visible.to(torch.bool)[..., None]
        points = points.masked_fill(~shown, 0)  # may be NaN there
        code = sine_code(points[..., [1, 0]] * (2 * math.pi), POSITION_CODE // 2, 10000.0).flatten(-2)
        return torch.where(shown, self.pos_proj(code), self.padding.weight[0])

    def _check(self, pictures: Tensor, points: Tensor, visible: Tensor) -> None:
        n, size = pictures.shape[0], self.size
        if pictures.shape != (n, 3, size, size) or points.ndim != 3 or points.shape[0] != n or points.shape[2] != 2:
            raise ValueError(
                f"Got pictures {tuple(pictures.shape)} and points {tuple(points.shape)}. They must be "
                f"[n, 3, {size}, {size}] and [n, K, 2]. Make pictures with prompt_picture()."
            )
        if visible.shape != points.shape[:2]:
            raise ValueError(
                f"Got {tuple(visible.shape)} flags for {tuple(points.shape[:2])} points. Every point needs one. "
                "Pass visible as [n, K]."
            )


def average_shots(objects: Tensor, keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Several pictures of one kind as one prompt: object [D] and keypoints [K, D] from [n, D] and [n, K, D].

    A keypoint's mean is over the pictures that show it: the token of an invisible keypoint does not know which keypoint
    it is. A keypoint that no picture shows keeps the mean over all.
    """
    shown = visible.to(torch.bool)
    weights = torch.where(shown.any(dim=0), shown, True).to(keypoints.dtype)[..., None]  # [n, K, 1]
    return objects.mean(dim=0), (keypoints * weights).sum(dim=0) / weights.sum(dim=0)


def _attend(attention: Any, queries: Tensor, seen: Tensor) -> Tensor:
    heads = attention.num_heads

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        split(attention.q_proj(queries)), split(attention.k_proj(seen)), split(attention.v_proj(seen))
    )
    return attention.out_proj(mixed.transpose(1, 2).flatten(-2))


def _rest_of_block(layer: Any, tokens: Tensor, attended: Tensor) -> Tensor:
    tokens = tokens + attended
    return tokens + layer.mlp(layer.layer_norm2(tokens))
