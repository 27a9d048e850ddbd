"""Image tokens and object tokens look at each other (the first step of every encoder layer).

Shape letters: see `types.py`; E = the fusion's own width, H = its heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xpose.model.layers import Linear, linear, linear_per_image

# Folding multiplies image tokens with H · L columns instead of E: it pays up to about this many columns.
_FOLD_COLUMNS = 1024


class Fusion(nn.Module):
    """Bidirectional attention between N image tokens and L object tokens.

    The residual is the *normalised* token on both sides. Two equal ways to compute it: `plain`, as written in the
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
        # A key "none of these" beside the objects and a score beside the image tokens; both add nothing.
        self.sink_key = nn.Parameter(torch.zeros(width)) if sinks else None
        self.sink_score = nn.Parameter(torch.zeros(heads)) if sinks else None

    def forward(
        self, image: Tensor, objects: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both sides after the exchange.

        Args:
            image: [B, N, C].
            objects: [B, L, C].
            padding: [B, N] bool, True = padding, or None.
            object_mask: [B, L] bool, True = real, or None.
        """
        image, objects = self.norm_image(image), self.norm_object(objects)
        way = self.folded if objects.shape[1] * self.heads <= _FOLD_COLUMNS else self.plain
        to_image, to_objects = way(image, objects, padding, object_mask)
        return torch.addcmul(image, self.gamma_image, to_image), torch.addcmul(objects, self.gamma_object, to_objects)

    def plain(
        self, image: Tensor, objects: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both updates with every map where the papers have it."""
        query = self._split(self.query_image(image) * self.scale)
        scores = query @ self._split(self.key_object(objects)).transpose(2, 3)  # [B, H, N, L]
        shares = _masked(scores, object_mask, 3)
        if self.sink_key is not None:
            nothing = query @ self.sink_key.view(1, self.heads, -1, 1)
            shares = torch.cat((shares, nothing), 3).softmax(3)[..., :-1]
        else:
            shares = shares.softmax(3)
        to_image = shares @ self._split(self.value_object(objects))
        pooling = self._pooled(_masked(scores, None if padding is None else ~padding, 2), 2)
        to_objects = pooling.transpose(2, 3) @ self._split(self.value_image(image))
        return self.out_image(to_image.transpose(1, 2).flatten(2)), self.out_object(
            to_objects.transpose(1, 2).flatten(2)
        )

    def folded(
        self, image: Tensor, objects: Tensor, padding: Tensor | None, object_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same with the image-side maps folded onto the object tokens: exact in real numbers."""
        batch, classes, dim = objects.shape
        keys = self._split(self.key_object(objects)) * self.scale  # [B, H, L, E/H]
        query_weight = self.query_image.weight.unflatten(0, (self.heads, -1))  # [H, E/H, C]
        query_bias = self.query_image.bias.unflatten(0, (self.heads, -1))
        columns = torch.einsum("bhle,hec->bhlc", keys, query_weight).reshape(batch, -1, dim)
        shift = torch.einsum("bhle,he->bhl", keys, query_bias).reshape(batch, -1)
        scores = linear_per_image(image, columns, shift).unflatten(2, (self.heads, classes))  # [B, N, H, L]

        out_weight = self.out_image.weight.unflatten(1, (self.heads, -1))  # [C, H, E/H]
        messages = torch.einsum("bhle,che->bchl", self._split(self.value_object(objects)), out_weight)
        if self.sink_key is not None:
            nothing_key = self.sink_key.view(self.heads, -1) * self.scale
            column = torch.einsum("he,hec->hc", nothing_key, query_weight)
            nothing = linear(image, column, (nothing_key * query_bias).sum(-1))
            share = torch.cat((_masked(scores, object_mask, 3), nothing[..., None]), 3).softmax(3)[..., :-1].flatten(2)
            to_image = linear_per_image(share, messages.flatten(2), self.out_image.bias)
        elif classes == 1:  # the softmax over one class is 1: the same message for every image token
            to_image = messages.sum((2, 3))[:, None] + self.out_image.bias
        else:
            share = _masked(scores, object_mask, 3).softmax(3).flatten(2)
            to_image = linear_per_image(share, messages.flatten(2), self.out_image.bias)

        pooling = self._pooled(_masked(scores, None if padding is None else ~padding, 1), 1).flatten(2)
        pooled = (pooling.transpose(1, 2) @ image).view(batch, self.heads, classes, dim)
        value_weight = self.value_image.weight.unflatten(0, (self.heads, -1))
        values = torch.einsum("bhlc,hec->blhe", pooled, value_weight)
        bias = self.value_image.bias.view(self.heads, -1)
        if self.sink_score is not None:  # the shares add up to less than 1, and so does what they bring
            bias = pooling.sum(1).view(batch, self.heads, classes).transpose(1, 2)[..., None] * bias
        return to_image, self.out_object((values + bias).flatten(2))

    def _pooled(self, scores: Tensor, axis: int) -> Tensor:
        """Shares of the image tokens along `axis`; with a sink they add up to at most 1."""
        if self.sink_score is None:
            return scores.softmax(axis)
        heads = [1, 1, 1, 1]
        heads[3 - axis] = self.heads
        shape = list(scores.shape)
        shape[axis] = 1
        nothing = self.sink_score.view(heads).expand(shape).to(scores.dtype)
        return torch.cat((scores, nothing), axis).softmax(axis).narrow(axis, 0, scores.shape[axis])

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _masked(scores: Tensor, keep: Tensor | None, axis: int) -> Tensor:
    """Scores with −inf where `keep` [B, size of `axis`] is False."""
    if keep is None:
        return scores
    shape = [scores.shape[0], 1, 1, 1]
    shape[axis] = -1
    return scores.masked_fill(~keep.view(shape), float("-inf"))
