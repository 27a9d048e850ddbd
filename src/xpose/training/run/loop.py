"""The training loop: an explicit, resumable function in plain PyTorch, for one process or many."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from xpose.data.loading.batches import Batch
from xpose.data.loading.loader import Loader
from xpose.errors import CheckpointError, TrainingError, XPoseError, XPoseWarning
from xpose.model import XPose
from xpose.model.device import compile_layers
from xpose.model.profiling import profiled
from xpose.model.prompting import ClipVisualPromptEncoder, TextEncoder
from xpose.training.run import hardware
from xpose.training.run.log import Journal, Progress
from xpose.training.run.processes import Interruptions, grouped, is_first
from xpose.training.run.prompt_batches import Towers
from xpose.training.run.settings import MovingAverage, RunSettings, optimizer_for
from xpose.training.run.state import Keeper
from xpose.training.run.step import StepOutcome, TrainStep, change, gradients

_MOST_FAULTY_STEPS = 20  # in a row, before the run gives up
Check = Callable[[], bool]


def train(
    model: XPose,
    text: TextEncoder,
    loader: Loader,
    run: RunSettings,
    folder: Path,
    *,
    report: Callable[[Progress], None] | None = None,
    watch: Callable[[int, XPose], None] | None = None,
    stop: Check = lambda: False,
    visual: ClipVisualPromptEncoder | None = None,
    profile: Path | None = None,
) -> MovingAverage:
    """Train to the run's last step or until `stop`, and return the moving average of the weights.

    A later call continues from the newest state in `folder`, which also holds the log.

    Args:
        report: called every `log_steps` steps on the first process.
        watch: called on the first process after every step, with its number and the averaged network; with sharded
            weights only after saved steps. If it raises XPoseError or OSError, a warning is issued.
        stop: called in every step; True in any process ends the training after this step.
        visual: CLIP's example encoder, for a network that has none and trains with examples. It and, if
            `schedule.towers` is above 0, `text` become moving averages of the trained encoders.
        profile: file for a PyTorch trace of three steps.

    Raises:
        TrainingError: the loss was not finite for many steps in a row, or memory ran out; the last state is on disk.
        ConfigError, CheckpointError: the state in the folder is from a run with other settings or from another network.
    """
    training = Training(model, text, loader, run, visual)
    keeper = Keeper(folder / "state", minutes=run.save_minutes, keep=run.keep, binding=training.binding(loader))
    if (state := keeper.load()) is not None:
        training.take(state)
    images = training.batch * run.accumulate
    journal = Journal(folder, run, images=images, step=training.step, report=report) if is_first() else None

    due = keeper.due if is_first() else lambda: False  # only the writing process knows the time of the last state
    batches = loader.steps(start=training.step * run.accumulate, stop=run.steps * run.accumulate)
    trace = profiled(profile if is_first() else None, skipped=2, steps=3)
    with trace as traced, Interruptions() as interruptions:
        try:
            while training.step < run.steps:
                outcome = training.one_step(batches, stop, due, interruptions, journal)
                with nullcontext() if journal is None else journal.aside():
                    _after_step(training, keeper, outcome, watch)
                traced()
                if outcome.stop:
                    break
        except BaseException as error:
            if is_first() and training.whole and not training.sharded:  # shards can no longer be gathered
                keeper.save_if_new(training.step, training.state())
            if hardware.is_exhausted(error):
                raise hardware.exhausted(error, keeper.step, run, loader.batch_size) from None
            raise
    return training.answer


class Training:
    """A run in progress: everything that changes between steps."""

    def __init__(
        self, model: XPose, text: TextEncoder, loader: Loader, run: RunSettings, visual: ClipVisualPromptEncoder | None
    ) -> None:
        self.model, self.run, self.step = model, run, 0
        self.towers = Towers(text, visual, whole=run.schedule.towers > 0)
        self.device = model.heads.norm.weight.device
        self.batch = loader.batch_size * loader.ranks  # pictures per batch, over all processes
        self.faulty = 0  # steps in a row
        self.whole = True  # whether weights, average and step number fit together
        self.sharded = run.shard and grouped()
        self.average = MovingAverage(model, run.average).to(self.device)
        self.answer = copy.deepcopy(self.average) if self.sharded else self.average  # as passed to callers
        self.towers_average = self.towers.average(run.average).to(self.device) if len(self.towers.learning) else None
        self.module = self._prepared(text)
        groups = run.schedule.groups(model, self.towers.learning, batch=self.batch * run.accumulate)
        self.optimizer = optimizer_for(groups, self.device, parted=self.sharded)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=run.amp == "fp16")

    def _prepared(self, text: TextEncoder) -> nn.Module:
        model, run = self.model, self.run
        model.train()
        for stage in model.backbone.first_stages(run.frozen_stages) if run.frozen_stages else ():
            stage.requires_grad_(False)
        if run.frozen_norms:
            for module in model.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        if run.channels_last:
            model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if run.checkpointing:
            hardware.recompute(model, without=None if run.frozen_norms else model.backbone)
        if run.compile:
            # A backbone has layers of many shapes; compiling all of them takes longer than it saves.
            compile_layers([model.encoder, model.object_decoder, model.keypoint_decoder], self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        module = TrainStep(model, text, run, self.towers)
        if self.sharded:
            hardware.shard(module, self.device, whole=self.towers.learning.parameters())
            hardware.shard(self.average.module, self.device)
            module.sharded = True
        elif grouped():
            return DistributedDataParallel(module, find_unused_parameters=True, gradient_as_bucket_view=True)
        return module

    def binding(self, loader: Loader) -> dict[str, object]:
        """Settings that must not change on resume: the order of pictures and the loss scale, which "auto" never has."""
        order = {"seed": self.run.seed, "accumulate": self.run.accumulate, "batch": self.batch, "order": loader.seed}
        amp = {} if self.run.amp == "auto" else {"amp": self.run.amp}
        return {**order, "pictures": len(loader.pool), **amp}

    def one_step(
        self, batches: Iterator[Batch], over: Check, due: Check, interruptions: Interruptions, journal: Journal | None
    ) -> StepOutcome:
        """Train on the next batches and log it."""
        outcome = gradients(self.module, batches, self.run, self.scaler, self.device, over, due)
        with interruptions.held():
            terms = self.go(outcome)
        if journal is not None:
            journal.add(terms)
            if self.step % self.run.log_steps == 0 or self.step == self.run.steps:
                rate = max(group["lr"] for group in self.optimizer.param_groups)  # of the network without its backbone
                journal.write(self.step, rate, self.device)
        return outcome

    def go(self, outcome: StepOutcome) -> dict[str, float] | None:
        """End a step: update the weights if all is finite; return the terms and gradient norm, or None."""
        self.whole = False
        self.run.schedule.set_rates(self.optimizer, self.step, self.run.steps)
        length = None
        if outcome.terms is not None:
            length = change(self.optimizer, self.scaler, self.run.clip, sharded=self.sharded)
        if length is not None:
            self.average.update_parameters(self.model)
            if self.towers_average is not None:
                self.towers_average.update_parameters(self.towers.learning)
                self.towers.changed()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.faulty = self.faulty + 1 if length is None else 0
        if self.faulty >= _MOST_FAULTY_STEPS:
            precision = "" if self.run.amp == "none" else f'train without {self.run.amp} (amp = "none"), '
            raise TrainingError(
                f"The loss or its gradient was not a finite number in {self.faulty} steps in a row, up to step "
                f"{self.step}. Lower the rate (schedule.rate = {self.run.schedule.rate / 4:g}), {precision}or look at "
                "what the network sees (xpose train --look). The last state before is on disk."
            )
        self.whole = True
        return None if length is None or outcome.terms is None else {**outcome.terms, "gradient": length}

    def state(self) -> dict[str, Any]:
        """The state to save; if weights are sharded, all processes must call this."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        if self.sharded:
            state = hardware.gathered(state)
            self.answer.load_state_dict(state["average"])
        return state

    def take(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        full = [group["full"] for group in self.optimizer.param_groups]
        try:
            for name, part in self._parts().items():
                values = hardware.parted(state[name], part, self.optimizer) if self.sharded else state[name]
                part.load_state_dict(values)
        except (RuntimeError, ValueError, KeyError) as error:  # raised by PyTorch if names, shapes or groups differ
            raise CheckpointError(
                f"The state of step {state.get('step')} is not of this network ({' '.join(str(error).split())[:200]}). "
                "Train with the settings it was begun with, or in another folder."
            ) from None
        for group, rate in zip(self.optimizer.param_groups, full, strict=True):
            group["full"] = rate  # use the run's setting, not that of the state
        self.step = int(state["step"])
        if self.sharded:
            self.answer.load_state_dict(state["average"])

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "average": self.average, "optimizer": self.optimizer, "scaler": self.scaler}
        if self.towers_average is not None:
            parts |= {"towers": self.towers.learning, "towers average": self.towers_average}
        return parts


def _after_step(
    training: Training, keeper: Keeper, outcome: StepOutcome, watch: Callable[[int, XPose], None] | None
) -> None:
    """Save if due or at the end, then call `watch`."""
    ended = outcome.stop or training.step == training.run.steps
    # A possibly broken state must not replace a good one.
    saving = ended or (outcome.save and not training.faulty)
    state = training.state() if saving and (training.sharded or is_first()) else None
    if not is_first():
        return
    if state is not None:
        (keeper.save if ended else keeper.save_if_possible)(training.step, state)
    if watch is None or (training.sharded and state is None):
        return
    try:
        watch(training.step, training.answer.module)  # type: ignore[arg-type]
    except (XPoseError, OSError) as error:
        warnings.warn(f"After step {training.step}: {error} Training continues.", XPoseWarning, stacklevel=2)
