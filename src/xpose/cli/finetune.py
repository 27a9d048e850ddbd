"""`xpose finetune`: fine-tune weights on a user's own labels, made with any tool."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console
from xpose.cli.train import DEVICE, MINUTES, SET, deadline_after, run_recipe
from xpose.errors import ConfigError, counted, quote

if TYPE_CHECKING:
    from xpose.model.checkpoints.calibration import Calibration
    from xpose.training.finetuning.finetune_data import Material, Request
    from xpose.training.finetuning.plan import Comparison, FinetunePlan, Start
    from xpose.training.recipes.assembly import Setup

DEFAULT_OUT = Path("runs") / "finetune"
_labels, _start, _how = (
    partial(typer.Option, rich_help_panel=panel) for panel in ("Your labels", "What to start from", "The run")
)
DATA = _labels(
    help="COCO json, a project of DeepLabCut, SLEAP, YOLO-pose, CVAT or Label Studio, or a prepared set. Nothing is "
    "written there.",
    metavar="PATH",
)
IMAGES = _labels("--images", "--pictures", help="Folder of the pictures, if they are not beside the labels.")
NAME = _labels("--name", "--category", help="What the objects are, if the labels do not say so.")
SKELETON = _labels(
    help="Skeleton (or skeleton file) that names the keypoints; 'none' keeps the names of the labels. Default: a "
    "skeleton with exactly these points, if there is one."
)
SPLIT = _labels(help="The split to train on, if there are several and none is called train.")
FORMAT = _labels("--format", help="The format, if it is not recognised (list: xpose data formats).")
WEIGHTS = _start(
    "-p",
    "--weights",
    help="Weight folder or file, folder of a run, bundled name, or hub name. Default: xpose's own.",
    metavar="WEIGHTS",
)
CLIP = _start(help="CLIP ViT-B/32, for weight files without it.")
BACKBONE = _start(help="A backbone trained elsewhere, with --from-scratch.")
OUT = _how(help="Folder of the run; a run in it is continued. Default: runs/finetune.")
STEPS = _how(min=1, help="Number of steps, instead of the chosen one.")


def finetune(
    data: Annotated[Path, DATA],
    images: Annotated[Path | None, IMAGES] = None,
    name: Annotated[str | None, NAME] = None,
    skeleton: Annotated[str | None, SKELETON] = None,
    split: Annotated[str | None, SPLIT] = None,
    format_name: Annotated[str | None, FORMAT] = None,
    weights: Annotated[str | None, WEIGHTS] = None,
    clip: Annotated[Path | None, CLIP] = None,
    from_scratch: Annotated[bool, _start("--from-scratch", help="Start from random weights.")] = False,
    backbone: Annotated[Path | None, BACKBONE] = None,
    out: Annotated[Path | None, OUT] = None,
    steps: Annotated[int | None, STEPS] = None,
    minutes: Annotated[float | None, MINUTES] = None,
    changes: Annotated[list[str] | None, SET] = None,
    device: Annotated[str | None, DEVICE] = None,
    force: Annotated[bool, _how("--force", help="Fine-tune even on very few pictures.")] = False,
    show: Annotated[bool, _how("--show", help="Import the labels, print the chosen recipe as TOML, and stop.")] = False,
) -> None:
    """Fine-tune a network on your own labels.

    The format is recognised, and the recipe is chosen by the number of pictures. Ctrl-C and --minutes save and stop;
    the same command continues the run. docs/finetuning.md explains the choices.
    """
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        raise ConfigError(
            "xpose finetune was started by torchrun, but prepares the data in one process. Print its recipe with "
            "--show > mine.toml, and start that on several: torchrun --nproc-per-node N -m xpose train mine.toml"
        )
    deadline = deadline_after(minutes)
    from xpose.cli._progress import Bars
    from xpose.training.finetuning.finetune_data import Request, gather, opened
    from xpose.training.finetuning.plan import choose, refuse_too_few, starting_point

    all_changes = [*(changes or ()), *([] if steps is None else [f"run.steps={steps}"])]
    request = Request.of(data, images, name=name, skeleton=skeleton, split=split, format=format_name)
    folder = out if out is not None else _default_folder(request)
    source = opened(request, folder)
    start = starting_point(weights, from_scratch=from_scratch, backbone=backbone, clip=clip, changes=all_changes)
    with Bars() as bars:
        material = gather(request, folder, source=source, progress=bars.update)
    for line in _found(material):
        _console.note(line)
    if not force:
        refuse_too_few(material)
    plan = choose(material, start, all_changes)
    if show:
        _console.show(plan.recipe.to_toml().rstrip("\n"))
        return
    for line in _planned(plan, start, material, folder):
        _console.note(line)
    _run(plan, material, folder, deadline, device)


def _default_folder(request: Request) -> Path:
    """runs/finetune, or a folder next to the data if runs/finetune would be inside the data folder."""
    data = Path(request.data)
    places = [data if data.is_dir() else data.parent, *([Path(request.images)] if request.images else [])]
    roots = [place.resolve() for place in places]
    folder = roots[0].parent / f"{roots[0].name or 'data'}-finetune"
    if not set(roots) & set(DEFAULT_OUT.resolve().parents) or set(roots) & set(folder.parents):
        return DEFAULT_OUT  # if neither is possible, the import asks for another folder
    _console.note(f"The run goes to {folder}: {DEFAULT_OUT} would lie in the folder of the labels. Other: --out FOLDER")
    return folder


def _found(material: Material) -> Iterator[str]:
    """Describe the labels, and what was omitted."""
    yield (
        f"Found: {material.format}, {counted(material.pictures, 'picture')} (split {material.split}) with "
        f"{counted(sum(material.kinds.values()), 'object')} to learn from; prepared set: {material.place}"
    )
    for category, count in material.kinds.items():
        names = _first(category.keypoints, 40, ", ")
        points = counted(len(category.keypoints), "keypoint")
        yield f"  {category.name}: {counted(count, 'object')} with {points}: {names}"
        partners = _first([f"{a} and {b}" for a, b in material.pairs(category)], 6, "; ") or "none"
        yield f"    skeleton: {category.skeleton}, {counted(len(category.edges), 'edge')}; mirror partners: {partners}"
    if material.skipped:
        total = ", ".join(counted(count, what) for what, count in material.skipped.items())
        yield f"  left out: {total}; all of it, with the reasons: {material.place / 'report.json'}"
        for reason in material.reasons:
            yield f"    {reason}"
    for note in material.notes:
        yield f"  {note}"
    if material.numbered:
        yield "  Some points are only numbered, without any hint of sides: pictures are not mirrored in training."
    if material.from_videos:
        yield "  Many pictures are frames of the same videos: results on held-out frames say little about other videos."


def _first(entries: Sequence[str], most: int, separator: str) -> str:
    rest = [f"and {len(entries) - most} more"] if len(entries) > most else []
    return separator.join([*entries[:most], *rest])


def _planned(plan: FinetunePlan, start: Start, material: Material, folder: Path) -> Iterator[str]:
    recipe = plan.recipe
    begins = quote(start.weights) if start.weights else "nothing"
    rate = recipe.run.schedule.rate_for(recipe.loading.batch * recipe.run.accumulate)
    frozen = ", the backbone frozen" if recipe.run.schedule.backbone == 0 else ""
    yield (
        f"Recipe for {plan.size} data: {counted(recipe.run.steps, 'step')} of "
        f"{counted(recipe.loading.batch, 'picture')} from {begins}, learning rate up to {rate:.2g}{frozen}. "
        f"All of it: --show; change it: --set. The run: {folder}"
    )
    if not start.weights:
        yield (
            "Warning: a network trained from scratch needs tens of thousands of pictures to work on new ones; "
            f"from {material.pictures:,} it mostly memorises these."
        )
    yield (
        "PCK@0.1 is the share of keypoints that are within a tenth of the object's longer side of their label; for "
        "PCK@0.2, it is a fifth."
    )
    if plan.tested_on != "the training pictures":
        yield f"Tested on {counted(plan.tested, 'picture')} ({plan.tested_on}); they are not used for training."
        return
    yield (
        "No pictures are kept back, because there are so few. The numbers describe the training pictures: they show "
        "that something is learned, not how well it works on new pictures. For that, label some more and provide them "
        "as a split val, or check some pictures with xpose detect."
    )


def _run(plan: FinetunePlan, material: Material, folder: Path, deadline: float | None, device: str | None) -> None:
    from xpose.training.finetuning.plan import test_start

    inherited: Calibration | None = None

    def before(setup: Setup) -> None:
        nonlocal inherited
        inherited = setup.calibration if plan.recipe.network.start else None
        if plan.recipe.network.start and (values := test_start(setup)):
            summary = ", ".join(f"{measure} {100 * value:.1f}" for measure, value in values.items())
            _console.note(f"Before: {summary}")

    try:
        outcome = run_recipe(plan.recipe, folder, deadline, device, before, test_at_stop=True)
    except KeyboardInterrupt:
        _show_result(plan, material, folder, inherited)
        raise
    if outcome.finished:
        _console.show(f"Done: {counted(outcome.step, 'step')}.")
    _show_result(plan, material, folder, inherited)


def _show_result(plan: FinetunePlan, material: Material, folder: Path, inherited: Calibration | None) -> None:
    """Show what the run has changed so far, and how to use its best weights."""
    from xpose.model.checkpoints.calibration import read_calibration
    from xpose.model.checkpoints.folders import BEST, weight_folder
    from xpose.training.finetuning.plan import compare
    from xpose.training.recipes.session import last_step

    comparison, recipe = compare(plan.recipe, folder), plan.recipe
    done, steps = last_step(folder), recipe.run.steps
    if done < steps:
        share = f"{100 * done // steps} %"
        _console.show(f"Not finished: step {done:,} of {steps:,} ({share}). The same command continues the run.")
    if comparison is not None:
        if comparison.last < done:
            _console.show(f"The last tested step is {comparison.last:,}; later ones are saved, but not tested yet.")
        _show_comparison(comparison, plan)
    weights = weight_folder(folder)
    if weights == folder:  # none are saved yet
        if comparison is None:
            first = min(recipe.validation.every or recipe.run.steps, recipe.run.steps)
            _console.note(f"There are no weights to use yet: the first ones are tested and saved at step {first:,}.")
        return
    best = "Best weights" if comparison is not None and comparison.improved else "Weights"
    step = f" (step {comparison.best_step:,})" if comparison is not None and weights.name == BEST else ""
    _console.show(f"{best}: {weights}{step}")
    if inherited is not None and read_calibration(weights) == inherited:
        _show_thresholds(plan, material, folder, inherited, done >= steps)
    _console.show(f"Report: {folder / 'report.html'}")
    _console.show("Use them, with your own pictures instead of the last argument:")
    _console.show(f"  {detect_command(material, folder, recipe.network.clip)}")


def _show_thresholds(
    plan: FinetunePlan, material: Material, folder: Path, inherited: Calibration, finished: bool
) -> None:
    """Say that the score thresholds are those of the starting weights, and how to fit them to the trained ones."""
    names = list(dict.fromkeys(category.name for category in material.kinds))
    limits = _first([f"{name} {inherited.threshold(name):.2g}" for name in names], 6, ", ")
    _console.show(f"Detection thresholds, still those of the starting weights: {limits} (others: --threshold NUMBER)")
    if not finished:
        return
    calibrate = ["xpose", "calibrate", "-p", str(folder), "--data"]
    if plan.tested_on == "a split of its own":
        _console.show(f"To fit them to the split {material.validation}:")
        _console.show(f"  {shlex.join([*calibrate, str(material.place)])}")
        return
    _console.show("To fit them to labelled pictures (LABELS) that were not trained on:")
    if material.format != "prepared":
        category = ["--category", names[0]] if len(names) == 1 else []
        imported = ["xpose", "data", "import", material.format, "LABELS", "--out", "sets", *category]
        _console.show(f"  {shlex.join(imported)}")
    _console.show(f"  {shlex.join([*calibrate, 'sets', '--split', material.split])}")


def _show_comparison(comparison: Comparison, plan: FinetunePlan) -> None:
    columns = {"before": comparison.before, f"after {counted(comparison.last, 'step')}": comparison.after}
    if comparison.best_step not in (0, comparison.last):
        columns[f"best (step {comparison.best_step:,})"] = comparison.best
    rows = [
        [measure, *(f"{100 * values[measure]:.1f}" if measure in values else "-" for values in columns.values())]
        for measure in comparison.after
    ]
    title = f"{counted(plan.tested, 'picture')} ({plan.tested_on})"
    _console.show(_console.table([title, *columns], rows, right=list(columns)))
    if not comparison.improved:
        finished = comparison.last == plan.recipe.run.steps
        way_out = " Try more pictures or other settings (docs/finetuning.md), or use the starting weights."
        _console.note(
            f"By {plan.recipe.validation.best}, no step {'was' if finished else 'has been'} better than the starting "
            f"weights.{way_out if finished else ''}"
        )


def detect_command(material: Material, weights: Path, clip: str | None = None) -> str:
    """The command that detects these objects in one of the pictures; the weights know their keypoints."""
    objects = ",".join(dict.fromkeys(category.name for category in material.kinds))
    encoder = ["--clip", clip] if clip else []
    return shlex.join(["xpose", "detect", "-p", str(weights), "-t", objects, *encoder, str(material.usable[0][1])])
