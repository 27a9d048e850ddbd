"""The recipe of a fine-tuning run, chosen by the number of pictures, and what the run changed: docs/finetuning.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from xpose.data.collection.held_out import is_held_out
from xpose.errors import CheckpointError, ConfigError, DataError, counted, quote
from xpose.model.checkpoints.folders import CONFIG_FILE, weight_folder
from xpose.model.checkpoints.known import bundled_weights, default_weights
from xpose.model.checkpoints.pretrained import from_pretrained
from xpose.model.config import XPoseConfig
from xpose.model.presets import CONFIGS
from xpose.training.finetuning.finetune_data import Material, absolute
from xpose.training.recipes import settings_reader
from xpose.training.recipes.assembly import Setup
from xpose.training.recipes.recipe import Recipe, recipe_of
from xpose.training.recipes.session import last_step, made
from xpose.training.run.log import LOG_FILE, read_log, write_validation

FEWEST = 5  # pictures; with fewer, example pictures as prompts work better, without training
LEAST_TESTED = 4  # held-out pictures, or none
FIRST = 0  # the step of the starting weights in the log
_SHARES = (0.1, 0.2, 0.3, 0.4)  # to hold out: the first that gives enough
FULL_RATE = {"mobilenetv2": 4e-4}  # at 16 pictures a step, for an untrained network
OTHER_RATE = 1e-4
TestedOn = Literal["held-out pictures", "a split of its own", "the training pictures"]


@dataclass(frozen=True)
class Size:
    """The settings for up to `most` pictures."""

    name: str
    most: float  # pictures
    steps: int
    batch: int
    rate: float  # share of the full rate
    backbone: float  # share of that rate for the backbone; 0 freezes it
    average: float
    scale: tuple[float, float]
    visual: float  # shares of steps
    combined: float


SIZES = (
    Size("few-shot", 50, 300, 8, 0.5, 0.0, 0.98, (0.7, 1.4), 0.3, 0.2),
    Size("small", 500, 1500, 8, 0.5, 0.1, 0.995, (0.7, 1.4), 0.3, 0.1),
    Size("medium", 5000, 6000, 16, 0.5, 0.1, 0.999, (0.6, 1.5), 0.3, 0.1),
    Size("large", float("inf"), 20000, 16, 1.0, 0.25, 0.9995, (0.6, 1.5), 0.3, 0.1),
)
LONGER = 4  # times as many steps for an untrained network


@dataclass(frozen=True)
class Start:
    """The starting point of a run."""

    network: dict[str, Any]  # the recipe's table
    config: XPoseConfig
    weights: str | None  # None: untrained


@dataclass(frozen=True)
class FinetunePlan:
    """A recipe, and the decisions behind it."""

    recipe: Recipe
    size: str
    tested_on: TestedOn
    tested: int  # pictures


def starting_point(
    weights: str | None,
    *,
    from_scratch: bool = False,
    backbone: Path | None = None,
    clip: Path | None = None,
    changes: Iterable[str] = (),
) -> Start:
    """Choose what to start from: named weights, the bundled ones, or none.

    The `changes` of `choose` can also name the weights (network.start) or the network (network.preset).

    Raises:
        CheckpointError, ConfigError: the weights do not exist, or choices exclude each other.
    """
    network: dict[str, Any] = {}
    for text in changes:
        with suppress(ConfigError):  # `choose` reports all faults
            network = settings_reader.merged(network, settings_reader.assigned(text).get("network", {}))
    weights = weights if weights is not None else network.get("start")
    if from_scratch and weights is not None:
        raise ConfigError(f"--weights {quote(weights)} and --from-scratch exclude each other. Give one of them.")
    if backbone is not None and not from_scratch:
        raise ConfigError(
            f"--backbone {quote(str(backbone))} needs --from-scratch: trained weights have a backbone of their own."
        )
    table = {} if clip is None else {"clip": str(clip)}
    if from_scratch:
        config = CONFIGS.get(network.get("preset", ""), CONFIGS["xpose-nano"])
        return Start(table if backbone is None else {**table, "backbone": str(backbone)}, config, None)
    if weights is None:
        try:
            weights = default_weights()
        except CheckpointError:
            raise CheckpointError(
                "This installation of xpose lacks its trained weights. Name some with --weights: a weight folder, a "
                "file in the released layout, or owner/name on the Hugging Face hub (see xpose models). Or train a "
                "small network from nothing: --from-scratch, with --backbone FILE of a trained backbone if possible."
            ) from None
    config = _config_of(str(weights))
    table["start"] = str(weights)
    return Start({**table, "preset": config.name} if config.name in CONFIGS else table, config, str(weights))


def _config_of(weights: str) -> XPoseConfig:
    path = weight_folder(bundled_weights().get(weights, Path(weights).expanduser()))
    file = (path if path.is_dir() else path.parent) / CONFIG_FILE
    if (path.is_dir() or path.suffix == ".safetensors") and file.is_file():
        return XPoseConfig.from_json(file.read_text(encoding="utf-8"), quote(file))
    return from_pretrained(weights).model.config


def refuse_too_few(material: Material) -> None:
    """Raise DataError for fewer than `FEWEST` pictures, which work better as examples."""
    if material.pictures < FEWEST:
        count = counted(material.pictures, "picture")
        raise DataError(
            f"There {'are' if material.pictures > 1 else 'is'} only {count} with labelled keypoints, and fine-tuning "
            f"needs at least {FEWEST}. Use them as examples instead, without training: xpose detect photo.jpg "
            "--like PICTURE --points FILE.json (docs/prompts.md). Or fine-tune anyway with --force."
        )


def choose(material: Material, start: Start, changes: Iterable[str] = ()) -> FinetunePlan:
    """The recipe for the material; changes of the form `a.b=value` override its choices."""
    size = next(size for size in SIZES if material.pictures <= size.most)
    small, scratch = start.config.backbone == "mobilenetv2", start.weights is None
    held_out = 0.0 if material.validation else share_to_hold_out(material)
    rate, steps = FULL_RATE.get(start.config.backbone, OTHER_RATE), size.steps * (LONGER if scratch else 1)
    by_example = start.config.prompt_encoder == "nano" and material.pictures > 1
    unflipped = {"flip": 0.0} if material.numbered else {}
    prompts = {"visual": size.visual, "combined": size.combined} if by_example else {"visual": 0.0, "combined": 0.0}
    schedule = {"rate": rate, "backbone": 0.25} if scratch else {"rate": rate * size.rate, "backbone": size.backbone}
    table = {
        "about": f"{start.config.name}, fine-tuned on {counted(material.pictures, 'picture')} of {material.place.name}",
        "network": start.network,
        "data": {"places": [str(material.place)], "split": material.split, "held_out": held_out},
        "loading": {"batch": min(size.batch, material.pictures), "threads": 1, "keep_megabytes": 500.0},
        "augmentation": {
            "size": start.config.image_short if small else settings_reader.NONE,
            "scale": list(size.scale),
            **unflipped,
        },
        "prompting": {
            **prompts,
            "absent": [0, 4],
            "examples": {"shots": [1, max(1, min(3, material.pictures - 1))], **unflipped},
        },
        "run": {
            "steps": steps,
            "average": size.average,
            "clip": 0.5 if small else 0.1,
            "log_steps": 10 if steps < 1000 else 20,
            "schedule": {**schedule, "warm_up": min(500, steps // 10)},
        },
        "validation": {
            "every": size.steps // 5,
            "limit": 200,
            "prompts": ["text", "visual"] if start.config.prompt_encoder == "nano" else ["text"],
            "split": material.validation or (settings_reader.NONE if held_out else material.split),
        },
    }
    recipe = _from_anywhere(recipe_of("fine-tuning", table, changes))
    return FinetunePlan(recipe, size.name, *_tested(recipe, material))


def _from_anywhere(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, so that it can be stored and used anywhere."""
    network, data, validation = recipe.network, recipe.data, recipe.validation
    start = network.start if network.start in bundled_weights() else _whole(network.start)
    return replace(
        recipe,
        network=replace(network, start=start, backbone=_whole(network.backbone), clip=_whole(network.clip)),
        data=replace(data, places=tuple(map(absolute, data.places))),
        validation=replace(validation, places=tuple(map(absolute, validation.places))),
    )


def _whole(path: str | None) -> str | None:
    """An absolute path; a path that does not exist here can be a hub name and is not changed."""
    return path if path is None or not Path(path).expanduser().exists() else absolute(path)


def share_to_hold_out(material: Material) -> float:
    """The smallest share of the pictures that holds out a few; 0 if that would cost too much.

    Pictures are chosen by name (`xpose.data.collection.held_out`), so the held-out pictures are counted.
    """
    if material.pictures < 4 * LEAST_TESTED:
        return 0.0
    return next((share for share in _SHARES if _held_out(material, share) >= LEAST_TESTED), 0.0)


def _held_out(material: Material, share: float) -> int:
    return sum(is_held_out(record.source, record.picture.file, share) for record, _ in material.usable)


def _tested(recipe: Recipe, material: Material) -> tuple[TestedOn, int]:
    """The test pictures of the recipe, after the user's changes."""
    split, limit = recipe.validation.split, recipe.validation.limit
    if split is None:
        return "held-out pictures", min(limit, _held_out(material, recipe.data.held_out))
    if split == recipe.data.split:
        return "the training pictures", min(limit, material.pictures)
    return "a split of its own", min(limit, material.tested)


@dataclass(frozen=True)
class Comparison:
    """Measures by name, in shares of 1."""

    before: Mapping[str, float]
    after: Mapping[str, float]  # at the last tested step
    best: Mapping[str, float]  # at the best step
    best_step: int  # 0 if no step was better than the start
    last: int

    @property
    def improved(self) -> bool:
        """Whether any step was better than the starting weights, as far as both are known."""
        return self.best_step != FIRST or not self.before


def test_start(setup: Setup) -> Mapping[str, float]:
    """Measure the starting weights, once per run, as step 0; return the measures."""
    if setup.validator is None or last_step(setup.folder):
        return {}
    if (setup.folder / LOG_FILE).is_file() and (values := read_log(setup.folder).validations.get(FIRST)):
        return values
    values = setup.validator(setup.model.eval())
    write_validation(made(setup.folder), FIRST, values)
    return values


def compare(recipe: Recipe, folder: Path) -> Comparison | None:
    """What a run has changed so far; None if it was not tested yet."""
    tested = read_log(folder).validations if (folder / LOG_FILE).is_file() else {}
    steps = [step for step in tested if step != FIRST]
    if not steps:
        return None
    last = max(steps)
    best = recipe.validation.best_step(tested)
    best = min(tested) if best is None else best
    return Comparison(tested.get(FIRST, {}), tested[last], tested[best], best, last)
