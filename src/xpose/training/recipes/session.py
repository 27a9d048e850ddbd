"""Run a whole recipe in its folder: start or continue, validate during training, and report.

docs/training.md lists what the folder holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from xpose.errors import CheckpointError, ConfigError, XPoseError, counted, quote
from xpose.model import XPose
from xpose.model.checkpoints.categories import Key, Quality, read_categories, with_quality
from xpose.model.checkpoints.folders import BEST, LAST
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.pictures.atomic import write_atomically
from xpose.training.recipes.assembly import Setup
from xpose.training.recipes.recipe import Recipe, changed, load_recipe
from xpose.training.reporting.report import RECIPE_FILE, write_pictures, write_report
from xpose.training.run.log import LOG_FILE, Progress, TensorBoard, read_log, write_validation
from xpose.training.run.loop import train
from xpose.training.run.processes import is_first
from xpose.training.run.state import states

STATE = "state"


class Listener(Protocol):
    """Receives the progress of a run, such as a progress bar."""

    def report(self, progress: Progress) -> None:
        """Receive a report of the loop."""

    def note(self, message: str) -> None:
        """Receive a note."""


@dataclass(frozen=True)
class RunOutcome:
    """How a call of `run` ended."""

    step: int
    finished: bool
    weights: Path | None  # of a finished run, in its first process


def check_folder(recipe: Recipe, folder: Path) -> int:
    """The step from which this recipe would continue the run in a folder; 0 if there is none.

    ConfigError if the run has other settings.
    """
    before, done = folder / RECIPE_FILE, last_step(folder)
    if done and before.is_file() and (faults := changed(load_recipe(before), recipe)):
        raise ConfigError(
            f"The folder {quote(folder)} holds a run at step {done} with other settings:\n  "
            + "\n  ".join(faults)
            + "\n"
            "A run must continue with the settings it began with. Repeat them, or name another folder: --out FOLDER"
        )
    return done


def last_step(folder: Path) -> int:
    """The step of the newest state of a run; 0 if there is none."""
    paths = states(folder / STATE)
    return int(paths[-1].stem.rpartition("-")[2]) if paths else 0


def made(folder: Path) -> Path:
    """The folder, created if necessary."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"The folder {quote(folder)} cannot be made ({error.strerror}). Name another one: --out FOLDER"
        raise CheckpointError(message) from None
    return folder


def run(
    setup: Setup,
    listener: Listener,
    *,
    deadline: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    profile: Path | None = None,
    test_at_stop: bool = False,
) -> RunOutcome:
    """Train to the end, to the deadline or until `stop` returns True; a later call continues the run.

    The `deadline` is a time of `time.monotonic`. With `test_at_stop`, a run that stops before its first test is tested
    then, so that it has weights to use; the deadline includes that test if the duration of an earlier one is known.
    `xpose.training.run.loop.train` describes the other options and errors.
    """
    if is_first():
        text = setup.recipe.to_toml()
        write_atomically(made(setup.folder) / RECIPE_FILE, lambda path: path.write_text(text, encoding="utf-8"))
        setup.left_out.write(setup.folder)
    watch = Watch(setup, listener) if is_first() else None

    def over() -> bool:
        left = watch.seconds_of_first_test if watch is not None and test_at_stop else 0.0
        return stop() or (deadline is not None and time.monotonic() + left > deadline)

    try:
        average = train(
            setup.model,
            setup.text,
            setup.loader,
            setup.recipe.run,
            setup.folder,
            report=None if watch is None else watch.report,
            watch=watch,
            stop=over,
            visual=setup.visual,
            profile=profile,
        )
        if watch is not None and test_at_stop and isinstance(average.module, XPose):
            watch.test_first(last_step(setup.folder), average.module)
    finally:
        if watch is not None:
            watch.close()
    step = last_step(setup.folder)
    finished = step >= setup.recipe.run.steps
    if watch is None or not finished:
        return RunOutcome(step, finished, None)
    assert isinstance(average.module, XPose)
    measures = watch.tested[max(watch.tested)] if watch.tested else {}
    return RunOutcome(step, finished, _save(setup, average.module, LAST, step, measures, watch.quality))


class Watch:
    """What happens besides the training itself: validation, best weights, TensorBoard, the report."""

    def __init__(self, setup: Setup, listener: Listener) -> None:
        self.setup, self.listener = setup, listener
        start = last_step(setup.folder)
        self.tested: dict[int, Mapping[str, float]] = {}  # what each validation measured, by step
        self.quality = _stored_quality(setup.folder / LAST)
        self._reported = time.monotonic()
        self._with_report, self._news = True, False
        if (setup.folder / LOG_FILE).is_file():
            log = read_log(setup.folder)
            self.tested = {step: measures for step, measures in log.validations.items() if step <= start}
        self._board = TensorBoard(setup.folder, start) if setup.recipe.output.tensorboard else None

    def report(self, progress: Progress) -> None:
        """Pass on a report of the loop."""
        self._news = True
        self.listener.report(progress)
        if self._board is not None:
            self._board.report(progress)

    def __call__(self, step: int, average: XPose) -> None:
        """Validate and report when due."""
        recipe = self.setup.recipe
        last, every = step == recipe.run.steps, recipe.validation.every
        due = last or (every > 0 and step % every == 0)
        if due and self.setup.validator is not None:
            self._validate(step, average)
        minutes = recipe.output.report_minutes
        if last or due or (minutes and time.monotonic() - self._reported > 60 * minutes):
            self._write_report()

    def test_first(self, step: int, average: XPose) -> None:
        """Test a run that has not been tested yet."""
        if step and self._untested:
            self._validate(step, average)

    @property
    def seconds_of_first_test(self) -> float:
        """How long `test_first` will take, with its drawings and the report, as far as it is known."""
        return 1.5 * self.setup.validator.seconds if self.setup.validator is not None and self._untested else 0.0

    @property
    def _untested(self) -> bool:
        return not any(self.tested) and self.setup.validator is not None  # step 0 is the start

    def close(self) -> None:
        """Write the remaining output, also after an interruption or error."""
        if self._board is not None:
            self._board.close()
        if self._news and (self.setup.folder / LOG_FILE).is_file():
            self._write_report()

    def _validate(self, step: int, average: XPose) -> None:
        setup, validator = self.setup, self.setup.validator
        assert validator is not None
        self.tested[step] = values = validator(average)
        self.quality = values.quality
        drawings = validator.drawings(average, setup.recipe.validation.pictures)
        summary = ", ".join(f"{name} {100 * value:.1f}" for name, value in values.items())
        if setup.recipe.validation.best_step(self.tested) == step:
            _save(setup, average, BEST, step, values, self.quality)
            summary += " (the best so far)"
        write_validation(setup.folder, step, values)
        write_pictures(setup.folder, drawings)
        if self._board is not None:
            self._board.measures(step, values)
        self.listener.note(f"step {step}: {summary}")

    def _write_report(self) -> None:
        self._reported, self._news = time.monotonic(), False
        if not self._with_report:
            return
        try:
            write_report(self.setup.folder)
        except XPoseError as error:  # does not stop the run
            self._with_report = False
            self.listener.note(f"No report from here on: {error}")


def _stored_quality(folder: Path) -> Mapping[Key, Quality]:
    """What a finished run has measured for its weights, which is not measured again."""
    return {category.key: category.quality for category in read_categories(folder) if category.quality}


def _save(
    setup: Setup, model: XPose, name: str, step: int, measures: Mapping[str, float], quality: Mapping[Key, Quality]
) -> Path:
    return save_pretrained(
        model,
        setup.folder / name,
        encoders=setup.kept(),
        calibration=setup.calibration,
        categories=with_quality(setup.categories, quality),
        card=_card(setup, step, measures),
        dtype=getattr(torch, setup.recipe.output.weights),
    )


def _card(setup: Setup, step: int, measures: Mapping[str, float]) -> str:
    recipe, pool = setup.recipe, setup.loader.pool
    config = setup.model.config
    tested = ", ".join(f"{name} {100 * value:.1f}" for name, value in measures.items()) or "not tested"
    return (
        f"---\nlibrary_name: xpose\ntags: [keypoint-detection, pose-estimation]\n---\n# {config.name}\n\n"
        f"{(recipe.about or 'Trained with xpose').rstrip('.')}. "
        'Load the weights with `xpose.load("<this folder>")`.\n\n'
        f"- trained on: {', '.join(pool.sets)} ({counted(len(pool), 'picture')})\n"
        f"- trained for: {step:,} of {recipe.run.steps:,} steps, "
        f"{counted(recipe.loading.batch * recipe.run.accumulate, 'picture')} each\n"
        f"- validation while training (averaged weights, no flip): {tested}\n\n"
        "The licences of the sets it was trained on decide what these weights may be used for; look them up before "
        "passing the weights on.\n"
    )
