"""One training step: the loss of a batch, gradients over all its parts and processes, and the weight update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from xpose.data.loading.batches import Batch
from xpose.model import Predictions, XPose
from xpose.model.prompting import TextEncoder
from xpose.training.objective.denoising import noised_objects
from xpose.training.objective.losses import Criterion
from xpose.training.objective.matcher import OpenedGroups
from xpose.training.run import hardware
from xpose.training.run.processes import added, everywhere, grouped
from xpose.training.run.prompt_batches import PromptMaker, Towers, normalised
from xpose.training.run.settings import RunSettings


class TrainStep(nn.Module):
    """Network and losses as one module, so that distributed training sees every parameter it uses."""

    def __init__(self, model: XPose, text: TextEncoder, run: RunSettings, towers: Towers | None = None) -> None:
        super().__init__()
        self.model, self.run = model, run
        self.towers = None if towers is None else towers.learning
        self.sharded = False
        text, visual = (text, None) if towers is None else (towers.text, towers.visual)
        self.prompts = PromptMaker(model, text, visual)
        self.criterion = Criterion(run.weights)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of a batch; empty if the network's output in any process is not finite."""
        asked = self.prompts(batch, seed=self.run.seed)
        images = normalised(batch.images.to(asked.prompts.objects.device))
        if self.run.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        noised = None
        if self.run.denoising is not None:
            generator = torch.Generator().manual_seed(self.run.seed * 1_000_003 + batch.step)
            noised = noised_objects(asked.targets, asked.prompts, self.run.denoising, generator)
        padding = batch.padding.to(images.device) if bool(batch.padding.any()) else None
        features = self.model.encode_image(images, padding)
        opened = None
        if self.model.config.pose_map:
            most = self.run.groups or self.model.config.instances
            if self.run.point_queries is not None:
                most = min(most, max(1, self.run.point_queries // max(1, asked.targets.real.shape[2])))
            opened = OpenedGroups(self.criterion.matcher, asked.targets, most, self.run.seed + batch.step)
        predictions = self.model.decode(
            features,
            self.prompts.project(asked),
            with_reports=True,
            given=None if noised is None else noised.queries,
            instances=self.run.groups,
            choose=opened,
        )
        if not everywhere(is_finite(predictions), images.device):
            return {}
        terms = self.criterion(predictions, asked.targets, noised, opened)
        if self.sharded:
            terms["total"] = hardware.touched(self, terms["total"])
        return terms


def is_finite(predictions: Predictions) -> bool:
    """Whether every layer's outputs are finite; the logits of empty slots are −inf and are ignored."""
    assert predictions.trace is not None
    proposals = predictions.trace.proposals
    reports = (*predictions.reports, *predictions.trace.given)
    scores = [proposals.scores, *(report.logits for report in reports)]
    values = [proposals.boxes, *(value.detach().float().clamp(min=-1e30) for value in scores)]
    for report in reports:
        values += [value for value in (report.boxes, report.keypoints, report.visibility) if value is not None]
    # The largest magnitude shows any infinity or NaN; one transfer from the device covers all layers.
    largest = [value.detach().float().abs().amax() for value in values if value.numel()]
    return bool(torch.stack(largest).isfinite().all())


@dataclass(frozen=True)
class StepOutcome:
    """The result of a step, over all processes."""

    terms: dict[str, float] | None  # None if something was not finite: change nothing
    stop: bool  # whether any process stops after this step
    save: bool  # whether the first process is due to save


def gradients(
    module: nn.Module,
    batches: Iterator[Batch],
    run: RunSettings,
    scaler: torch.amp.GradScaler,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
    save: Callable[[], bool] = lambda: False,
) -> StepOutcome:
    """Compute gradients of the next `run.accumulate` batches, averaged over batches and processes.

    `module` is the `TrainStep` or its distributed wrapper. `stop` and `save` are called once the gradients are
    computed: processes have their own clocks, but must stop and save after the same step.
    """
    sums: dict[str, Tensor] = {}
    sound, dtype = True, hardware.precision(run.amp, device)
    for part in range(run.accumulate):
        batch = next(batches)  # also after a fault: the order of the batches stays that of the steps
        if not sound:
            continue
        # Gradients are exchanged once a step, with the last batch.
        last = part == run.accumulate - 1
        with module.no_sync() if isinstance(module, DistributedDataParallel) and not last else nullcontext():
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                terms = module(batch)
            sound = bool(terms)
            if sound:
                scaler.scale(terms["total"] / run.accumulate).backward()
        for name, value in terms.items():
            if "@" not in name:  # the last layer's; the others are in the total
                share = value.detach().float() / run.accumulate
                sums[name] = sums[name] + share if name in sums else share
    wishes = torch.tensor([float(stop()), float(save())], device=device)
    stops, saves, *numbers = added(torch.cat([wishes, *(value.view(1) for value in sums.values())])).tolist()
    count = distributed.get_world_size() if grouped() else 1
    means = {name: value / count for name, value in zip(sums, numbers, strict=True)}
    sound = sound and math.isfinite(means["total"])
    return StepOutcome(means if sound else None, stops > 0, saves > 0)


def change(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float, *, sharded: bool = False
) -> float | None:
    """Update the weights; return the norm of the gradient, or None if it is infinite or NaN."""
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if sharded:
        hardware.share_whole(parameters)
        length = hardware.clip(parameters, clip)
    else:
        length = float(nn.utils.clip_grad_norm_(parameters, clip))
    finite = length < float("inf")  # False for NaN
    if finite:
        scaler.step(optimizer)
    scaler.update()
    return length if finite else None
