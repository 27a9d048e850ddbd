"""Batch norms of a backbone that nobody trained: their statistics out of the first pictures.

In training they are frozen, as is customary for detectors, since example pictures and small batches would disturb them.
Frozen at what they are before any training (mean 0, deviation 1) they would not norm at all, and nothing could be
learned behind them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from xpose.data.loading.batches import Batch
from xpose.model import XPose
from xpose.training.run.prompt_batches import normalised


@torch.no_grad()
def settle_norms(model: XPose, batches: Iterable[Batch]) -> int:
    """Set the statistics of the backbone's batch norms to those over some batches; how many norms there are.

    Each layer sees what the layers before it give when they norm by the same batch, so one pass is enough.
    """
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return 0
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    device = model.heads.norm.weight.device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        norm.train()
    for batch in batches:
        model.backbone(normalised(batch.images.to(device)))
    for norm, momentum, training in before:
        norm.momentum = momentum
        norm.train(training)
    return len(norms)
