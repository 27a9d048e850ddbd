"""The encoder: image tokens and object tokens attend to each other, then each side to itself.

`CrossModalityEncoder` is the paper's. `HybridEncoder` is for small networks: prompts meet the coarse levels only, and
the finest level joins at the end. Plain attention over a few hundred coarse tokens costs less on a CPU than deformable
attention over all of them, and covers the whole picture.

Shape letters: see `types.py`; E = width of the fusion, M = tokens of the coarse levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.deformable import DeformableAttention
from xpose.model.layers import Attention, FeedForward, Linear, Recomputable, in_pieces, linear, piecewise
from xpose.model.positions import token_centres
from xpose.model.types import EncodedScene, ImageFeatures, LevelGeometry, ProjectedPrompts

# Folding multiplies image tokens with H · L columns instead of E: this is faster up to about this many.
_FOLD_COLUMNS = 1024


class Fusion(nn.Module):
    """Bidirectional attention between N image tokens and L object tokens.

    The residual is the *normalised* token on both sides. There are two equal implementations: `plain`, as in the
    papers, and `folded`, which moves the wide maps from the many image tokens to the few object tokens.
    """

    def __init__(self, dim: int, width: int, heads: int, sinks: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.norm_image = nn.LayerNorm(dim)
        self.norm_object = nn.LayerNorm(dim)
        self.query_image = Linear(dim, width)
        self.key_object = Linear(dim, width)
        self.value_image = Linear(dim, width)
        self.value_object = Linear(dim, width)
        self.out_image = Linear(width, dim)
        self.out_object = Linear(width, dim)
        self.gamma_image = nn.Parameter(torch.full((dim,), 1e-4))
        self.gamma_object = nn.Parameter(torch.full((dim,), 1e-4))
        # A "none of these" key for the objects and a score for the image tokens; neither adds a value.
        self.sink_key = nn.Parameter(torch.zeros(width)) if sinks else None
        self.sink_score = nn.Parameter(torch.zeros(heads)) if sinks else None

    def forward(
        self, image: Tensor, objects: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Image side [B, N, C] and object side [B, L, C] after fusion.

        `padding` [B, N] is True where an image token is padding, `object_mask` [B, L] where an object token is real.
        """
        image, objects = in_pieces(self.norm_image, image), self.norm_object(objects)
        few = torch.compiler.is_compiling() or objects.shape[1] * self.heads <= _FOLD_COLUMNS
        way = self.folded if few else self.plain
        to_image, to_objects = way(image, objects, padding, object_mask)
        objects = torch.addcmul(objects, self.gamma_object, to_objects)
        if piecewise(image):  # nothing else reads the normalised tokens
            return image.addcmul_(self.gamma_image, to_image), objects
        return torch.addcmul(image, self.gamma_image, to_image), objects

    def plain(
        self, image: Tensor, objects: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both updates, with the maps applied as in the papers."""
        query = self._split(self.query_image(image) * self.scale)
        scores = query @ self._split(self.key_object(objects)).transpose(2, 3)  # [B, H, N, L]
        masked = _masked(scores, object_mask)
        if self.sink_key is not None:
            masked = torch.cat((masked, query @ self.sink_key.view(1, self.heads, -1, 1)), 3)
        to_image = masked.softmax(3)[..., : objects.shape[1]] @ self._split(self.value_object(objects))
        pooling = self._pooled(scores.transpose(1, 2), padding)
        to_objects = pooling.permute(0, 2, 3, 1) @ self._split(self.value_image(image))
        to_image, to_objects = (update.transpose(1, 2).flatten(2) for update in (to_image, to_objects))
        return self.out_image(to_image), self.out_object(to_objects)

    def folded(
        self, image: Tensor, objects: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same with the image-side maps folded onto the object tokens; equal up to rounding."""
        batch, classes, dim = objects.shape
        keys = self._split(self.key_object(objects)) * self.scale  # [B, H, L, E/H]
        query_weight = self.query_image.weight.unflatten(0, (self.heads, -1))  # [H, E/H, C]
        query_bias = self.query_image.bias.unflatten(0, (self.heads, -1))
        columns = torch.einsum("bhle,hec->bhlc", keys, query_weight).reshape(batch, -1, dim)
        shift = torch.einsum("bhle,he->bhl", keys, query_bias).reshape(batch, -1)
        scores = _linear_per_image(image, columns, shift).unflatten(2, (self.heads, classes))  # [B, N, H, L]

        out_weight = self.out_image.weight.unflatten(1, (self.heads, -1))  # [C, H, E/H]
        messages = torch.einsum("bhle,che->bchl", self._split(self.value_object(objects)), out_weight)
        single = not torch.compiler.is_compiling() and classes == 1
        if single and self.sink_key is None:  # the softmax is 1: the same message for every image token
            to_image = messages.sum((2, 3))[:, None] + self.out_image.bias
        else:
            masked = _masked(scores, object_mask)
            if self.sink_key is not None:
                sink_key = self.sink_key.view(self.heads, -1) * self.scale
                column = torch.einsum("he,hec->hc", sink_key, query_weight)
                sink = linear(image, column, (sink_key * query_bias).sum(-1))
                masked = torch.cat((masked, sink[..., None]), 3)
            share = masked.softmax(3)[..., :classes].flatten(2)
            to_image = _linear_per_image(share, messages.flatten(2), self.out_image.bias)

        pooling = self._pooled(scores, padding).flatten(2)
        pooled = (pooling.transpose(1, 2) @ image).view(batch, self.heads, classes, dim)
        value_weight = self.value_image.weight.unflatten(0, (self.heads, -1))
        values = torch.einsum("bhlc,hec->blhe", pooled, value_weight)
        bias = self.value_image.bias.view(self.heads, -1)
        if self.sink_score is not None:  # the shares add up to less than 1, which scales the bias
            bias = pooling.sum(1).view(batch, self.heads, classes).transpose(1, 2)[..., None] * bias
        return to_image, self.out_object((values + bias).flatten(2))

    def _pooled(self, scores: Tensor, padding: Tensor | None) -> Tensor:
        """Shares of the image tokens from scores [B, N, H, L]; with a sink they add up to at most 1."""
        if padding is not None:
            scores = scores.masked_fill(padding[:, :, None, None], float("-inf"))
        if self.sink_score is None:
            return scores.softmax(1)
        sink = self.sink_score[:, None].expand(scores.shape[0], 1, -1, scores.shape[3]).to(scores.dtype)
        return torch.cat((scores, sink), 1).softmax(1)[:, :-1]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _masked(scores: Tensor, object_mask: Tensor | None) -> Tensor:
    """Scores [B, ..., ..., L] with −inf where `object_mask` [B, L] is False."""
    return scores if object_mask is None else scores.masked_fill(~object_mask[:, None, None], float("-inf"))


def _linear_per_image(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[B, N, C] times a weight [B, M, C] of each image, with bias [B, M] or [M]: [B, N, M]."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.baddbmm(bias.unsqueeze(-2), x, weight.transpose(1, 2))
    biases = bias.expand(x.shape[0], -1)
    if x.shape[0] == 1:
        return linear(x, weight[0], biases[0])
    return torch.stack([linear(a, w, b) for a, w, b in zip(x, weight, biases, strict=True)])


class PromptLayer(nn.Module):
    """Updates object tokens: every token attends only to itself, then a feed-forward block (post-norm)."""

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
    """Updates image tokens: deformable self-attention over all levels, then a feed-forward block (post-norm)."""

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
        """Image side [B, N, C] and object side [B, L, C] after the layer; `features` has positions and padding."""
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


class CoarseLayer(Recomputable):
    """Fusion, then each side by itself; the image side attends to all of its tokens."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.fusion = Fusion(config.dim, config.fusion_width, config.fusion_heads, config.sinks)
        self.prompt = PromptLayer(config.dim, config.fusion_heads, config.prompt_ffn)
        self.attention = Attention(config.dim, config.coarse_heads)
        self.norm1 = nn.LayerNorm(config.dim)
        self.ffn = FeedForward(config.dim, config.ffn)
        self.norm2 = nn.LayerNorm(config.dim)

    def forward(
        self, tokens: Tensor, objects: Tensor, positions: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Image side [B, M, C] and object side [B, L, C] after the layer."""
        tokens, objects = self.fusion(tokens, objects, padding, object_mask)
        objects = self.prompt(objects)
        placed = tokens + positions
        keep = None if padding is None else ~padding[:, None, None]
        tokens = self.norm1(tokens + self.attention(placed, placed, tokens, keep))
        return self.norm2(tokens + self.ffn(tokens)), objects


class Join(nn.Module):
    """Adds a coarse map to the next finer one, smooths each channel, then mixes the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)
        self.mix = nn.Conv2d(dim, dim, 1)
        self.norm = nn.GroupNorm(8, dim)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """[B, C, h, w] and [B, C, h', w'] to [B, C, h, w]."""
        joined = fine + F.interpolate(coarse, size=fine.shape[2:], mode="nearest")
        return joined + self.norm(self.mix(F.relu(self.smooth(joined))))


class HybridEncoder(nn.Module):
    """Turns three levels of image features and projected prompts into an encoded scene."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CoarseLayer(config) for _ in range(config.encoder_layers))
        self.joins = nn.ModuleList(Join(config.dim) for _ in range(config.levels - 1))

    def forward(self, features: ImageFeatures, prompts: ProjectedPrompts) -> EncodedScene:
        """Both sides after all layers."""
        geometry = features.geometry
        sizes = [h * w for h, w in geometry.shapes]
        first = sizes[0]
        padding = None if geometry.padding is None else geometry.padding[:, first:]
        tokens, objects = features.tokens[:, first:], prompts.objects
        for layer in self.layers:
            tokens, objects = layer(tokens, objects, features.positions[:, first:], padding, prompts.object_mask)
        rows = (features.tokens[:, :first], *tokens.split(sizes[1:], dim=1))
        levels = [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(rows, geometry.shapes, strict=True)]
        for level in range(len(levels) - 2, -1, -1):
            levels[level] = self.joins[level](levels[level], levels[level + 1])
        joined = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return EncodedScene(joined, objects, prompts, geometry)
