"""The cross-modality interactive encoder: image and object tokens, six times fused and refined.

Shape letters: see `types.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from xpose.model.config import XPoseConfig
from xpose.model.deformable import DeformableAttention
from xpose.model.fusion import Fusion
from xpose.model.layers import Attention, FeedForward, Recomputable, in_pieces
from xpose.model.positions import token_centres
from xpose.model.types import EncodedScene, ImageFeatures, LevelGeometry, ProjectedPrompts


class PromptLayer(nn.Module):
    """Object tokens by themselves: every token attends to itself alone, then a feed-forward block (post-norm)."""

    def __init__(self, dim: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, objects: Tensor) -> Tensor:
        """[B, L, C] to [B, L, C]."""
        objects = self.norm1(objects + self.attention.single(objects))
        return self.norm2(objects + self.ffn(objects))


class ImageLayer(nn.Module):
    """Image tokens by themselves: deformable self-attention over all levels, then a feed-forward block (post-norm)."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(config.dim, config.heads, config.levels, config.points)
        self.norm1 = nn.LayerNorm(config.dim)
        self.ffn = FeedForward(config.dim, config.ffn)
        self.norm2 = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor, positions: Tensor, reference: Tensor, geometry: LevelGeometry) -> Tensor:
        """[B, N, C] to [B, N, C]."""
        values = self.attention.values(tokens, geometry)

        def rest(tokens: Tensor, positions: Tensor, reference: Tensor) -> Tensor:
            seen = self.attention.attend(tokens + positions, reference, values, geometry)
            tokens = self.norm1(tokens + seen)
            return self.norm2(tokens + self.ffn(tokens))

        return in_pieces(rest, tokens, positions, reference)


class EncoderLayer(Recomputable):
    """Fusion, then each side by itself."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.fusion = Fusion(config.dim, config.fusion_width, config.fusion_heads, config.sinks)
        self.prompt = PromptLayer(config.dim, config.fusion_heads, config.prompt_ffn)
        self.image = ImageLayer(config)

    def forward(
        self, tokens: Tensor, features: ImageFeatures, objects: Tensor, reference: Tensor, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Image side [B, N, C] and object side [B, L, C] after a round; places and padding are of `features`."""
        geometry = features.geometry
        tokens, objects = self.fusion(tokens, objects, geometry.padding, object_mask)
        return self.image(tokens, features.positions, reference, geometry), self.prompt(objects)


class CrossModalityEncoder(nn.Module):
    """Turns image features and projected prompts into an encoded scene."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, features: ImageFeatures, prompts: ProjectedPrompts) -> EncodedScene:
        """Both sides after all layers."""
        geometry = features.geometry
        ratios = geometry.valid_ratios if geometry.padding is not None else geometry.valid_ratios[:1]
        reference = token_centres(geometry)[:, :, None] * ratios[:, None]  # [B or 1, N, R, 2]
        tokens, objects = features.tokens, prompts.objects
        for layer in self.layers:
            tokens, objects = layer(tokens, features, objects, reference, prompts.object_mask)
        return EncodedScene(tokens, objects, prompts, geometry)
