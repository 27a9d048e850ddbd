"""The training loop: one explicit function over plain PyTorch, for one process or many, that never loses work."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from xpose.data.batches import Batch
from xpose.data.loader import Loader
from xpose.errors import ConfigError, TrainingError
from xpose.model import XPose
from xpose.model.prompting import TextEncoder
from xpose.training.asking import Asker, normalised
from xpose.training.denoising import DenoisingSettings, noised_objects
from xpose.training.ema import MovingAverage
from xpose.training.losses import Criterion, LossWeights
from xpose.training.schedule import Schedule
from xpose.training.state import load_state, save_state

_MOST_FAULTY_STEPS = 20  # in a row, before the run gives up
_AMP = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Run:
    """How long and how a network is trained."""

    steps: int
    seed: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    weights: LossWeights = field(default_factory=LossWeights)
    denoising: DenoisingSettings | None = None
    clip: float = 0.1
    average: float = 0.9997
    amp: str = "none"  # "bf16" or "fp16"
    accumulate: int = 1
    channels_last: bool = False
    frozen_norms: bool = True  # batch norms of the backbone keep their statistics
    save_minutes: float = 5.0
    log_steps: int = 20

    def __post_init__(self) -> None:
        faults = []
        if self.steps < 1 or self.accumulate < 1 or self.log_steps < 1:
            faults.append("steps, accumulate and log_steps must be at least 1")
        if self.amp not in _AMP:
            faults.append(f'amp is "{self.amp}", not one of {", ".join(_AMP)}')
        if not self.clip > 0 or not self.save_minutes > 0:
            faults.append("clip and save_minutes must be above 0")
        if faults:
            raise ConfigError("The run does not fit:\n  " + "\n  ".join(faults))


@dataclass(frozen=True)
class Progress:
    """What a report of the loop says."""

    step: int
    steps: int
    terms: dict[str, float]
    rate: float
    images_per_second: float
    seconds: float


class TrainStep(nn.Module):
    """Network and losses as one module, so that distributed training sees every parameter it uses."""

    def __init__(self, model: XPose, text: TextEncoder, run: Run) -> None:
        super().__init__()
        self.model, self.run = model, run
        self.asker = Asker(model, text)
        self.criterion = Criterion(run.weights)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of a batch."""
        question = self.asker(batch, seed=self.run.seed)
        images = normalised(batch.images.to(question.prompts.objects.device))
        if self.run.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        noised = None
        if self.run.denoising is not None:
            generator = torch.Generator().manual_seed(self.run.seed * 1_000_003 + batch.step)
            noised = noised_objects(question.targets, question.prompts, self.run.denoising, generator)
        padding = batch.padding.to(images.device)
        features = self.model.encode_image(images, padding if bool(padding.any()) else None)
        found = self.model.decode(
            features,
            self.asker.project(question),
            with_reports=True,
            given=None if noised is None else noised.queries,
        )
        return self.criterion(found, question.targets, noised)


def train(
    model: XPose,
    text: TextEncoder,
    loader: Loader,
    run: Run,
    folder: Path,
    *,
    minutes: float | None = None,
    report: Callable[[Progress], None] | None = None,
    watch: Callable[[int, XPose], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> MovingAverage:
    """Train until the run's last step, or until the minutes are over; called again it goes on where it stopped.

    Args:
        model: the network, on its device; its weights are replaced by the newest state's where there is one.
        text: the encoder of words.
        loader: of the training pictures, for this process.
        run: how.
        folder: of the state (`state/`) and the log (`log.jsonl`).
        minutes: stop after so long, with the state saved.
        report: called every `log_steps` steps on the first process.
        watch: called after every step on the first process with its number and the averaged network (validation).
        stop: asked after every step; True is as if the minutes were over.

    Returns:
        The moving average of the weights.

    Raises:
        TrainingError: the loss stays infinite or not a number, or memory ran out; the last state is on disk.
    """
    device = model.heads.norm.weight.device
    if run.channels_last:
        model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step_module: nn.Module = TrainStep(model, text, run)
    optimizer = torch.optim.AdamW(run.schedule.groups(model, batch=loader.batch_size * loader.ranks * run.accumulate))
    scheduler = run.schedule.scheduler(optimizer, run.steps)
    scaler = torch.amp.GradScaler(device.type, enabled=run.amp == "fp16")
    average = MovingAverage(model, run.average).to(device)
    parts = {"model": model, "average": average, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    step = _resume(folder / "state", parts, run)
    if distributed.is_initialized():
        step_module = DistributedDataParallel(step_module, find_unused_parameters=True)
    _set_mode(model, run)
    started = saved = logged = time.monotonic()
    sums: dict[str, float] = {}
    counted = faulty = 0
    batches = loader.steps(start=step * run.accumulate, stop=run.steps * run.accumulate)
    try:
        while step < run.steps:
            terms = _one_step(step_module, batches, optimizer, scaler, run, device)
            if terms is None:
                faulty += 1
                if faulty >= _MOST_FAULTY_STEPS:
                    raise TrainingError(
                        f"The loss was not a finite number in {faulty} steps in a row, up to step {step}. Lower the "
                        "rate, or train without amp; the last state before is on disk."
                    )
            else:
                faulty = 0
                average.update_parameters(model)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + value
                counted += 1
            scheduler.step()
            step += 1
            now = time.monotonic()
            if step % run.log_steps == 0 or step == run.steps:
                images = run.log_steps * run.accumulate * loader.batch_size * loader.ranks
                means = {name: value / max(1, counted) for name, value in sums.items()}
                rate = optimizer.param_groups[0]["lr"]
                _log(
                    folder,
                    Progress(step, run.steps, means, rate, images / (now - logged), now - started),
                    report,
                    loader,
                )
                sums, counted, logged = {}, 0, now
            over = (minutes is not None and now - started > 60 * minutes) or (stop is not None and stop())
            if over or step == run.steps or now - saved > 60 * run.save_minutes:
                _save(folder / "state", step, parts, run)
                saved = time.monotonic()
            if watch is not None and _first_process():
                before = time.monotonic()
                watch(step, average.module)
                logged += time.monotonic() - before  # the rate is that of training alone
            if over:
                break
    except KeyboardInterrupt:
        _save(folder / "state", step, parts, run)
        raise
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"Memory ran out at step {step} ({str(error).splitlines()[0]}). Use a smaller batch with accumulate, or "
            "smaller pictures; the last state is on disk."
        ) from None
    return average


def _one_step(
    module: nn.Module,
    batches: Iterator[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    run: Run,
    device: torch.device,
) -> dict[str, float] | None:
    """One step of the optimiser; None where the loss or the gradient was not finite and nothing was changed."""
    optimizer.zero_grad(set_to_none=True)
    found: dict[str, float] = {}
    for part in range(run.accumulate):
        batch = next(batches)
        last = part == run.accumulate - 1
        quiet: AbstractContextManager[Any] = nullcontext()
        if not last and isinstance(module, DistributedDataParallel):
            quiet = module.no_sync()
        with quiet:
            with torch.autocast(device.type, _AMP[run.amp], enabled=run.amp != "none"):
                try:
                    terms = module(batch)
                except TrainingError as error:
                    if "finite" not in str(error):
                        raise
                    return None
            scaler.scale(terms["total"] / run.accumulate).backward()
        for name, value in terms.items():
            if "@" not in name:
                found[name] = found.get(name, 0.0) + float(value.detach()) / run.accumulate
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, run.clip)
    if not math.isfinite(found["total"]) or not bool(norm.isfinite()):
        scaler.update()
        return None
    scaler.step(optimizer)
    scaler.update()
    return {**found, "gradient": float(norm)}


def _set_mode(model: XPose, run: Run) -> None:
    model.train()
    if run.frozen_norms:
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _first_process() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


def _save(folder: Path, step: int, parts: dict[str, Any], run: Run) -> None:
    if _first_process():
        state = {name: part.state_dict() for name, part in parts.items()}
        save_state(folder, step, {**state, "step": step, "steps": run.steps})


def _resume(folder: Path, parts: dict[str, Any], run: Run) -> int:
    """Take over the newest state; the step to go on with."""
    state = load_state(folder)
    if state is None:
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _log(folder: Path, progress: Progress, report: Callable[[Progress], None] | None, loader: Loader) -> None:
    if not _first_process():
        return
    folder.mkdir(parents=True, exist_ok=True)
    row = {"step": progress.step, "rate": progress.rate, "images_per_second": round(progress.images_per_second, 2)}
    row |= {"seconds": round(progress.seconds, 1), **{k: round(v, 5) for k, v in progress.terms.items()}}
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    if report is not None:
        report(progress)
