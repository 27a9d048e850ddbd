"""What fine-tuning changed: the measures of the starting weights beside those of the tuned ones, from the run's log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xpose.training.recipes.assembly import Setup
from xpose.training.recipes.recipe import Recipe
from xpose.training.recipes.session import BEST, WEIGHTS, last_step, made
from xpose.training.run.log import LOG_FILE, read_log, write_validation

START = 0  # the step of the starting weights in the log


@dataclass(frozen=True)
class Comparison:
    """Measures by name, in shares of 1."""

    before: Mapping[str, float]
    after: Mapping[str, float]  # at the last step
    best: Mapping[str, float]  # at the best step
    best_step: int  # 0 where no step was better than the start
    last: int
    weights: Path  # the folder to use

    @property
    def improved(self) -> bool:
        """Whether some step was better than the starting weights, as far as both are known."""
        return self.best_step != START or not self.before


def test_start(setup: Setup) -> Mapping[str, float]:
    """Measure the starting weights, once in a run, and write that down as its step 0; what was measured."""
    if setup.validator is None or last_step(setup.folder):
        return {}
    if (setup.folder / LOG_FILE).is_file():
        known = read_log(setup.folder).validations.get(START)
        if known:
            return known
    values = setup.validator(setup.model.eval())
    write_validation(made(setup.folder), START, values)
    return values


def compare(recipe: Recipe, folder: Path) -> Comparison | None:
    """What a finished run changed; None where nothing was tested."""
    tested = read_log(folder).validations
    steps = [step for step in tested if step != START]
    if not steps:
        return None
    last = max(steps)
    best = recipe.validation.best_step(tested)
    best = min(tested) if best is None else best
    use_best = best not in (START, last) and (folder / BEST).is_dir()
    return Comparison(
        tested.get(START, {}), tested[last], tested[best], best, last, folder / (BEST if use_best else WEIGHTS)
    )
