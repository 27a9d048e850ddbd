"""`xpose train`: train a network with a recipe, continue a run, inspect its batches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console
from xpose.cli._progress import RunBar
from xpose.errors import counted

if TYPE_CHECKING:
    from xpose.training.recipes.assembly import Setup
    from xpose.training.recipes.recipe import Recipe
    from xpose.training.recipes.session import RunOutcome

_instead = partial(typer.Option, rich_help_panel="Instead of training")
_run = partial(typer.Option, rich_help_panel="The run")
RECIPE = typer.Argument(
    help="A shipped recipe (see --list) or your own TOML file.", metavar="RECIPE", show_default=False
)
SET = _run("--set", help="Change a setting, e.g. run.steps=500; may be repeated.", metavar="NAME=VALUE")
MINUTES = _run(min=0, help="Save and stop this many minutes after the command began.", metavar="NUMBER")
DEVICE = _run(help="cpu, cuda, mps, ... Default: the best device available.", metavar="NAME")
DATA = _run("--data", help="Training pictures, instead of the recipe's; may be repeated.", metavar="FOLDER")
OUT = _run(help="Folder of the run; a run in it is continued. Default: runs/RECIPE.")
PROFILE = _run(help="Write a PyTorch trace of a few steps, for ui.perfetto.dev.", metavar="FILE")


def train(
    recipe: Annotated[str | None, RECIPE] = None,
    changes: Annotated[list[str] | None, SET] = None,
    data: Annotated[list[Path] | None, DATA] = None,
    out: Annotated[Path | None, OUT] = None,
    minutes: Annotated[float | None, MINUTES] = None,
    device: Annotated[str | None, DEVICE] = None,
    profile: Annotated[Path | None, PROFILE] = None,
    list_all: Annotated[bool, _instead("--list", help="List the shipped recipes.")] = False,
    show: Annotated[bool, _instead("--show", help="Print the recipe with all its settings, as TOML.")] = False,
    look: Annotated[
        bool, _instead("--look", help="Write OUT/look.html, a page with the first batches of the run.")
    ] = False,
    report: Annotated[
        Path | None, _instead("--report", help="Draw the report of a run again from its log.", metavar="FOLDER")
    ] = None,
) -> None:
    """Train a network with a recipe.

    Ctrl-C saves and stops; the same command continues the run. For several GPUs, see docs/training.md.
    """
    if list_all:
        _list()
        return
    if report is not None:
        from xpose.training.reporting.report import write_report

        _console.show(f"Written: {write_report(report)}")
        return
    if recipe is None:
        raise typer.BadParameter("No recipe was named. List them with: xpose train --list", param_hint="RECIPE")
    deadline = deadline_after(minutes)
    from xpose.training.recipes.recipe import load_recipe

    loaded, folder = load_recipe(recipe, changes or (), data=data or ()), out or Path("runs") / Path(recipe).stem
    if show:
        _console.show(loaded.to_toml().rstrip("\n"))
    elif look:
        _look(loaded, folder)
    else:
        outcome = run_recipe(loaded, folder, deadline, device, profile=profile)
        if outcome.weights is not None:
            report_page = folder / "report.html"
            _console.show(f"Done: {counted(outcome.step, 'step')}. Weights: {outcome.weights}  Report: {report_page}")


def _list() -> None:
    from xpose.training.recipes.recipe import read_table, shipped_recipes

    rows = [[name, read_table(name)["about"]] for name in shipped_recipes()]
    _console.show(_console.table(["recipe", "what it is for"], rows))
    _console.note("All settings of one: xpose train RECIPE --show")


def _look(recipe: Recipe, folder: Path) -> None:
    from xpose.training.recipes.assembly import build_loader, placed
    from xpose.training.recipes.left_out import LeftOut
    from xpose.training.reporting.batch_page import look

    left_out = LeftOut()
    loader = build_loader(recipe, placed(recipe.data, folder), left_out, folder)
    for line in left_out.lines(folder):
        _console.note(line)
    page = look(loader, folder)
    left_out.write(folder)
    _console.show(f"Written: {page}")


def deadline_after(minutes: float | None) -> float | None:
    """The time of `time.monotonic` after so many minutes; None for no limit."""
    return None if minutes is None else time.monotonic() + 60 * minutes


def run_recipe(
    recipe: Recipe,
    folder: Path,
    deadline: float | None,
    device: str | None,
    before: Callable[[Setup], None] | None = None,
    profile: Path | None = None,
    test_at_stop: bool = False,
) -> RunOutcome:
    """Start or continue a run with progress; the first process calls `before` with the setup.

    `xpose.training.recipes.session.run` describes `deadline` and `test_at_stop`.
    """
    from xpose.inference.engines.torch_loading import pick_device
    from xpose.training.recipes.assembly import build
    from xpose.training.recipes.session import check_folder, last_step, run
    from xpose.training.run.processes import Interruptions, processes

    with processes(None if device is None else pick_device(device)) as here:
        say = _console.note if here.first else lambda message: None
        done = check_folder(recipe, folder)
        setup = build(recipe, folder, device=here.device, rank=here.rank, ranks=here.ranks)
        for line in _about(setup, done):
            say(line)
        if before is not None and here.first:
            before(setup)
        bar = RunBar(_console.console(sys.stderr), say=say, quiet=_console.is_quiet() or not here.first)
        try:
            with Interruptions(bar.note) as interruptions, bar:
                outcome = run(
                    setup,
                    bar,
                    deadline=deadline,
                    stop=lambda: interruptions.stopping,
                    profile=profile,
                    test_at_stop=test_at_stop,
                )
        except KeyboardInterrupt:
            say(f"Stopped at once; step {last_step(folder):,} is saved. Continue with the same command.")
            raise
    if outcome.finished:
        return outcome
    why = "Stopped" if interruptions.stopping else "Time limit reached"
    say(f"{why}; step {outcome.step:,} of {recipe.run.steps:,} is saved. Continue with the same command.")
    if interruptions.stopping:
        raise KeyboardInterrupt
    return outcome


def _about(setup: Setup, done: int) -> Iterator[str]:
    recipe, pool = setup.recipe, setup.loader.pool
    parameters = sum(parameter.numel() for parameter in setup.model.parameters())
    yield (
        f"{setup.model.config.name}, {parameters / 1e6:.1f} million parameters; {counted(len(pool), 'picture')} of "
        f"{counted(len(pool.sets), 'set')} to train on; {counted(recipe.run.steps, 'step')} of "
        f"{counted(recipe.loading.batch * recipe.run.accumulate, 'picture')} each"
    )
    yield from setup.left_out.lines(setup.folder)
    if done:
        yield f"Continuing {setup.folder} from step {done:,}"
