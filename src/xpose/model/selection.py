"""Prompt-guided query selection: the image tokens most like a prompted object become object queries.

Shape letters: see `types.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.model.config import XPoseConfig
from xpose.model.layers import MLP, Linear, PromptSimilarity
from xpose.model.positions import token_centres
from xpose.model.types import EncodedScene, LayerReport, LevelGeometry, ObjectQueries, ProjectedPrompts

_NOT_A_PEAK = 100.0  # more than logits differ, but not so much that their order is lost in rounding


class QuerySelection(nn.Module):
    """Scores every image token against the object tokens and keeps the best as queries, each with an initial box."""

    def __init__(self, config: XPoseConfig) -> None:
        super().__init__()
        self.queries = config.queries
        self.by_rank = config.query_content == "rank"
        self.peaks = config.selection == "peaks"
        self.output = Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.box_head = MLP(config.dim, config.dim, 4, 3)
        # One row per rank, or one row that the token's own feature is added to.
        self.content = nn.Embedding(config.queries if self.by_rank else 1, config.dim)
        self.similarity = PromptSimilarity(config)

    def forward(
        self, scene: EncodedScene, tokens: Tensor | None = None, *, with_reports: bool = False
    ) -> ObjectQueries:
        """The best min(Q, N) tokens, best first.

        Args:
            scene: the encoded picture and prompt.
            tokens: [B, Q] token numbers to take instead of the best ones (for comparisons with a reference).
            with_reports: also return the report of every token, if peaks are selected.
        """
        anchors, excluded = anchor_logits(scene.geometry)
        features = self.norm(self.output(scene.tokens.masked_fill(excluded[..., None], 0)))
        scores = self.similarity(features, scene.objects, scene.prompts.object_mask)
        if tokens is None:
            # Graphs for varying sizes are for pictures with at least that many tokens.
            count = self.queries if torch.compiler.is_compiling() else min(self.queries, scores.shape[1])
            answering = scene.prompts.answering(scores)
            if self.peaks:
                answering = at_peaks(answering, scene.geometry.shapes)
            tokens = answering.amax(-1).topk(count, dim=1).indices
        chosen = rows_at(features, tokens)
        anchor = rows_at(anchors.expand(features.shape[0], -1, -1), tokens)
        boxes = (self.box_head(chosen) + anchor).sigmoid()
        if self.by_rank:
            content = self.content.weight[: tokens.shape[1]].expand(features.shape[0], -1, -1)
        else:
            content = chosen + self.content.weight
        every = centres = None
        if with_reports and self.peaks:
            every = LayerReport(scores, (self.box_head(features) + anchors).sigmoid())
            centres = token_centres(scene.geometry).masked_fill(excluded[..., None], -1)
        return ObjectQueries(content, boxes, tokens, rows_at(scores, tokens), every, centres)

    def known(self, classes: Tensor, prompts: ProjectedPrompts) -> Tensor:
        """The content [B, G, C] of queries for known objects of these classes [B, G].

        Networks with a content for each rank have only seen such contents, and get that of the best rank. Ours get the
        class's token, as in training with given queries (`GivenQueries`).
        """
        if self.by_rank:
            return self.content.weight[:1].expand(*classes.shape, -1)
        return rows_at(prompts.objects, classes)


@torch.no_grad()
def at_peaks(scores: Tensor, shapes: tuple[tuple[int, int], ...]) -> Tensor:
    """Scores [B, N, L], lowered so that tokens with a better neighbour of the same level come after all others."""
    levels = []
    for rows, shape in zip(scores.split([h * w for h, w in shapes], dim=1), shapes, strict=True):
        planes = rows.transpose(1, 2).unflatten(2, shape)
        peaks = planes >= F.max_pool2d(planes, 3, 1, 1)
        levels.append(torch.where(peaks, planes, planes - _NOT_A_PEAK).flatten(2).transpose(1, 2))
    return torch.cat(levels, dim=1)


def anchor_logits(geometry: LevelGeometry) -> tuple[Tensor, Tensor]:
    """First guess of every token's box before the sigmoid [B or 1, N, 4], and which tokens have none [B or 1, N].

    Padding, and values near 0 or 1, are excluded: infinite and True.
    """
    centres = token_centres(geometry)
    sizes = torch.cat([centres.new_full((h * w,), 0.05 * 2.0**level) for level, (h, w) in enumerate(geometry.shapes)])
    anchors = torch.cat((centres, sizes[None, :, None].expand(centres.shape[0], -1, 2)), dim=-1)
    excluded = ~((anchors > 0.01) & (anchors < 0.99)).all(-1)
    if geometry.padding is not None:
        excluded = excluded | geometry.padding
    logits = torch.log(anchors / (1 - anchors))
    return logits.masked_fill(excluded[..., None], float("inf")), excluded


def rows_at(x: Tensor, index: Tensor) -> Tensor:
    """Rows of [B, N, C] at indices [B, Q]: [B, Q, C]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
